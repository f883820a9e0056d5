# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find the restic that tests run: recent enough for maintenance, or none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MINIMUM = (0, 19, 0)


def version(program: str) -> tuple[int, ...]:
    """The version that a restic program reports, empty when it does not run."""
    try:
        answer = subprocess.run([program, "version"], capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return ()
    match = re.match(r"restic (\d+)\.(\d+)\.(\d+)", answer.stdout)
    return tuple(int(part) for part in match.groups()) if match else ()


def find() -> str | None:
    """The first of RESTIC, .cache/restic/restic and restic on PATH that is recent enough."""
    candidates = [os.environ.get("RESTIC"), str(ROOT / ".cache" / "restic" / "restic"), shutil.which("restic")]
    return next((path for path in candidates if path and version(path) >= MINIMUM), None)
