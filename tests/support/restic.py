# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find the restic that tests run: recent enough for maintenance, or none."""

from __future__ import annotations

import os
import shutil

from tools.get_restic import MINIMUM, TARGET, version


def find() -> str | None:
    """The first of RESTIC, .cache/restic/restic and restic on PATH that is recent enough."""
    candidates = [os.environ.get("RESTIC"), str(TARGET), shutil.which("restic")]
    return next((path for path in candidates if path and version(path) >= MINIMUM), None)


def required() -> str:
    """The restic to work with; an error where there is none."""
    found = find()
    assert found, "There is no restic 0.19 or newer: run `make restic`, or set RESTIC to one."
    return found
