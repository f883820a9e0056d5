# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the tables of variables in the roles' README files from their argument specs, or check them with --check.

What stands between the two marker lines is generated; a README without them gets them at its end.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
START = "<!-- variables: generated from meta/argument_specs.yml by `make format` -->"
END = "<!-- end of variables -->"
HEADER = "| Variable | Type | Default | Meaning |\n| --- | --- | --- | --- |\n"
# Ansible's markup; what stands in the parentheses may hold escaped closing ones.
MARKUP = re.compile(r"\b(O|V|C|E|RV|M|P|B|I|U|L)\(((?:[^)\\]|\\.)*)\)")


def markdown(text: str) -> str:
    """A description with Ansible's markup as the cell of a Markdown table."""

    def replace(match: re.Match[str]) -> str:
        kind, body = match[1], re.sub(r"\\(.)", r"\1", match[2])
        if kind == "L":
            words, link = body.rsplit(",", 1)
            return f"[{words.strip()}]({link.strip()})"
        around = {"B": "**", "I": "*", "U": ""}.get(kind, "`")
        return f"{around}{body}{around}"

    return re.sub(r"\s+", " ", MARKUP.sub(replace, text)).replace("|", "\\|").strip()


def paragraphs(value: Any) -> str:
    """A description, which is one string or a list of them."""
    return markdown(" ".join(value) if isinstance(value, list) else str(value or ""))


def shown(value: Any) -> str:
    """A default as a reader would write it in YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    if value == "" or value is None:
        return "''"
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def default_cell(name: str, option: dict[str, Any], defaults: dict[str, Any]) -> str:
    """What holds when the variable is not set; an expression of defaults/main.yml is told by the description."""
    if option.get("required"):
        return "**required**"
    if "default" in option:
        return f"`{shown(option['default'])}`"
    value = defaults.get(name)
    if value is None or "{{" in str(value):
        return ""
    return f"`{shown(value)}`"


def rows(options: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """One line of the table for each option, suboptions behind their option."""
    for name, option in options.items():
        kind = option.get("type", "str")
        if option.get("elements"):
            kind = f"{kind} of {option['elements']}"
        text = paragraphs(option.get("description"))
        if option.get("choices"):
            text += " One of " + ", ".join(f"`{shown(choice)}`" for choice in option["choices"]) + "."
        yield f"| `{prefix}{name}` | {kind} | {default_cell(name, option, {} if prefix else defaults)} | {text} |\n"
        inner = "[]." if kind.startswith("list") else "."
        yield from rows(option.get("options") or {}, {}, f"{prefix}{name}{inner}")


def block(role: Path) -> str:
    """The generated part of a role's README."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    file = role / "defaults" / "main.yml"
    defaults = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.exists() else {}
    parts = []
    for name, spec in specs.items():
        heading = "" if len(specs) == 1 else f"### Entry point `{name}`\n\n{markdown(spec['short_description'])}.\n\n"
        table = "".join(rows(spec.get("options") or {}, defaults))
        parts.append(heading + (HEADER + table if table else "No variables.\n"))
    return f"{START}\n\n" + "\n".join(parts) + f"\n{END}\n"


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
    stale = []
    for spec in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        role = spec.parents[1]
        before, after = current(role)
        if before == after:
            continue
        stale.append(str((role / "README.md").relative_to(ROOT)))
        if "--check" not in sys.argv[1:]:
            (role / "README.md").write_text(after, encoding="utf-8")
    if stale and "--check" in sys.argv[1:]:
        print(f"Not in step with meta/argument_specs.yml: {', '.join(stale)}. Run `make format`.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
