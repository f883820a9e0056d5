# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of argument specs as cells of Markdown tables."""

from __future__ import annotations

import re
from typing import Any

import yaml

# Ansible's markup; what stands in the parentheses may hold escaped closing ones.
MARKUP = re.compile(r"\b(O|V|C|E|RV|M|P|B|I|U|L)\(((?:[^)\\]|\\.)*)\)")


def markdown(text: str) -> str:
    """A description with Ansible's markup as the cell of a Markdown table."""

    def replace(match: re.Match[str]) -> str:
        letter, body = match[1], re.sub(r"\\(.)", r"\1", match[2])
        if letter == "L":
            words, link = body.rsplit(",", 1)
            return f"[{words.strip()}]({link.strip()})"
        around = {"B": "**", "I": "*", "U": ""}.get(letter, "`")
        return f"{around}{body}{around}"

    return re.sub(r"\s+", " ", MARKUP.sub(replace, text)).replace("|", "\\|").strip()


def plain(value: Any) -> str:
    """A description, which is one string or a list of them, as one text."""
    return re.sub(r"\s+", " ", " ".join(value) if isinstance(value, list) else str(value or "")).strip()


def cell(option: dict[str, Any]) -> str:
    """The meaning of an option, and its choices."""
    text = markdown(plain(option.get("description")))
    if option.get("choices"):
        text += " One of " + ", ".join(code(choice) for choice in option["choices"]) + "."
    return text


def kind(option: dict[str, Any]) -> str:
    """The type of an option."""
    name = str(option.get("type", "str"))
    return f"{name} of {option['elements']}" if option.get("elements") else name


def shown(value: Any) -> str:
    """A default as a reader would write it in YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    if value == "" or value is None:
        return "''"
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def code(value: Any) -> str:
    return f"`{shown(value)}`"
