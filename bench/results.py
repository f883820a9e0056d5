# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one file that all measurements are written to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("results.json")


def read() -> dict[str, Any]:
    """All results so far."""
    return json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}


def write(name: str, figures: dict[str, Any]) -> None:
    """Replace the results of one measurement and keep those of the others."""
    part = PATH.with_suffix(".part")
    part.write_text(json.dumps({**read(), name: figures}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(part, PATH)


def table(name: str, figures: Any) -> str:
    """The figures of one measurement, a line each."""
    if isinstance(figures, dict):
        return "\n".join(table(f"{name}.{key}", figure) for key, figure in figures.items())
    return f"{name:<48} {figures}"
