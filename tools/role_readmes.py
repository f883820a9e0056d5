# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write docs/variables.md and the variables of the roles' README files from the argument specs, or check them with --check.

What stands between the two marker lines is generated; a README without them gets them at its end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tools import variables
from tools.markdown import cell, code, kind

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "variables.md"
START = "<!-- variables: generated from meta/argument_specs.yml by `make format` -->"
END = "<!-- end of variables -->"
LINK = "../../docs/variables.md"


def default_cell(name: str, option: dict[str, Any], defaults: dict[str, Any]) -> str:
    """What holds when the variable is not set; an expression of defaults/main.yml is told by the description."""
    if option.get("required"):
        return "**required**"
    if "default" in option:
        return code(option["default"])
    value = defaults.get(name)
    if value is None or "{{" in str(value):
        return ""
    return code(value)


def rows(options: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """The name of each option and the cells of its line of the table, suboptions behind their option."""
    for name, option in options.items():
        top = name if not prefix else ""
        cells = [
            f"`{prefix}{name}`",
            kind(option),
            default_cell(name, option, {} if prefix else defaults),
            cell(option),
        ]
        yield top, cells
        inner = "[]." if option.get("type") == "list" else "."
        yield from rows(option.get("options") or {}, {}, f"{prefix}{name}{inner}")


def table(options: dict[str, Any], defaults: dict[str, Any], entries: dict[str, list[str]]) -> str:
    """The table; where there are several entry points, with those that read each variable."""
    several = {name for names in entries.values() for name in names}
    head = ["Variable", "Type", "Default", *(["Entry points"] if len(several) > 1 else []), "Meaning"]
    lines = [head, ["---"] * len(head)]
    for name, cells in rows(options, defaults):
        if len(several) > 1:
            where = entries.get(name, [])
            told = "all" if set(where) == several else ", ".join(f"`{one}`" for one in where)
            cells.insert(3, told)
        lines.append(cells)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def block(role: Path) -> str:
    """The generated part of a role's README."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    file = role / "defaults" / "main.yml"
    defaults = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.exists() else {}
    options: dict[str, Any] = {}
    entries: dict[str, list[str]] = {}
    for entry, spec in specs.items():
        for name, option in (spec.get("options") or {}).items():
            options.setdefault(name, option)
            entries.setdefault(name, []).append(entry)
    parts = []
    if len(specs) > 1:
        lines = [
            f"| `{entry}` | {cell({'description': spec['short_description']})} |\n" for entry, spec in specs.items()
        ]
        parts.append("| Entry point | What it does |\n| --- | --- |\n" + "".join(lines))
    shared = {name: variables.source(str(defaults.get(name, ""))) for name in options}
    own = {name: option for name, option in options.items() if not shared[name]}
    if own:
        parts.append(table(own, defaults, entries))
    taken = [f"`{name}` from `{shared[name]}`" for name in options if shared[name]]
    if taken:
        parts.append(f"From [variables of the whole collection]({LINK}): {', '.join(taken)}.\n")
    return f"{START}\n\n" + ("\n".join(parts) or "No variables.\n") + f"\n{END}\n"


def current(role: Path) -> tuple[str, str]:
    """A role's README as it is and as it should be."""
    file = role / "README.md"
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    text = before or f"# {role.name}\n"
    if START not in text or END not in text:
        return before, f"{text.rstrip()}\n\n## Variables\n\n{block(role)}"
    head, rest = text.split(START, 1)
    return before, head + block(role) + rest.split(END, 1)[1].removeprefix("\n")


def main() -> int:
    files = {PAGE: (PAGE.read_text(encoding="utf-8") if PAGE.exists() else "", variables.page())}
    for spec in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        files[spec.parents[1] / "README.md"] = current(spec.parents[1])
    stale = [path for path, (before, after) in files.items() if before != after]
    if "--check" not in sys.argv[1:]:
        for path in stale:
            path.write_text(files[path][1], encoding="utf-8")
    elif stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        print(f"Not in step with the argument specs: {names}. Run `make format`.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
