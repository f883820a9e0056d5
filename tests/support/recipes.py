# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recipes for drills as their page has them, so that what is tested is what people copy."""

from __future__ import annotations

from typing import Any

import yaml

from tests.support.running import ROOT


def recipe(heading: str) -> dict[str, Any]:
    """What docs/drills.md says below a heading."""
    text = (ROOT / "docs" / "drills.md").read_text(encoding="utf-8").partition(f"### {heading}\n")[2]
    return dict(yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])["drill"])
