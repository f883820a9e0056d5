# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of a run, in files where others look for them."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.support.running import ROOT

FOLDER = ROOT / ".results"


def write_result(name: str, result: dict[str, Any]) -> None:
    """Write the figures to .results/NAME.json, and print them."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result), flush=True)


def fail(problems: list[str]) -> None:
    """End with a true status."""
    for problem in problems:
        print(f"FAILED {problem}", flush=True)
    sys.exit(1 if problems else 0)
