# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No programs in Jinja."""

from __future__ import annotations

import re

from tests.support.running import ROOT

PROGRAM = re.compile(r"\{%|\bnamespace\(")


def programs(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if PROGRAM.search(line)]


def test_no_yaml_of_a_role_or_playbook_holds_a_program() -> None:
    """Loops, assignments and branches are filters and lookups in Python; templates (*.j2) are texts with blanks to fill."""
    files = [path for part in ("roles", "playbooks", "meta") for path in (ROOT / part).rglob("*.yml")]
    assert len(files) > 50
    found = {str(path.relative_to(ROOT)): programs(path.read_text(encoding="utf-8")) for path in files}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_program_is_found() -> None:
    text = "a: >-\n  {%- set x = 1 -%}\n  {{ namespace(x=1) }}\n  {{ x | map(attribute='y') }}"
    assert programs(text) == ["{%- set x = 1 -%}", "{{ namespace(x=1) }}"]
