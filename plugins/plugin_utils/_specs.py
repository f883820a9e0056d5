# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the argument specs of roles, and those of playbooks, which Ansible does not know.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

# Of the collection, wherever it is installed.
ROOT = Path(__file__).resolve().parents[2]


def role_options(path: str | Path) -> dict[str, dict[str, Any]]:
    """The options of each entry point of a role."""
    for name in ("argument_specs.yml", "argument_specs.yaml"):
        file = Path(path) / "meta" / name
        if file.exists():
            return {entry: spec.get("options") or {} for entry, spec in _load(file)["argument_specs"].items()}
    return {}


def options_of(name: str) -> dict[str, Any]:
    """All options of a role of the collection, whatever the entry point; none where there is no such role."""
    specs = role_options(ROOT / "roles" / name)
    return {option: described for spec in specs.values() for option, described in spec.items()}


def all_options() -> dict[str, Any]:
    """The options of all roles of the collection."""
    roles = sorted(path.name for path in (ROOT / "roles").iterdir())
    return {option: described for role in roles for option, described in options_of(role).items()}


def defaults() -> dict[str, Any]:
    """The defaults of all roles of the collection, as they are written."""
    found: dict[str, Any] = {}
    for path in sorted((ROOT / "roles").glob("*/defaults/main.yml")):
        found.update(_load(path) or {})
    return found


def sources() -> dict[str, str]:
    """The variables of the whole collection that roles take as they are, each with an option that it becomes."""
    found = {}
    for option, default in defaults().items():
        source = re.fullmatch(r"\s*\{\{\s*(holdfast_\w+)\s*(\|\s*default\(.*\)\s*)?\}\}\s*", str(default), re.DOTALL)
        if source:
            found[source[1]] = option
    return found


def playbook_options(name: str) -> dict[str, Any]:
    """The options of a playbook; none where there is no spec. What is `like` an option of a role is that option."""
    options: dict[str, Any] = _load(ROOT / "meta" / "variables.yml").get(name) or {}
    roles = {own["like"].partition("_")[0] for own in options.values() if "like" in own}
    known = {option: described for role in roles for option, described in options_of(role).items()}
    return {option: {**known[own["like"]], **own} if "like" in own else own for option, own in options.items()}


def _load(file: Path) -> Any:
    # Many times quicker than in Python, where there is one.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
