# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The argument specs of playbooks: each is one of a playbook, says what each variable is, and has what the playbook reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._settings import converted
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._specs import playbook_options, role_options

ROOT = Path(__file__).resolve().parents[2]
SPECS = yaml.safe_load((ROOT / "meta" / "variables.yml").read_text(encoding="utf-8"))
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
KEYS = {"description", "type", "elements", "choices", "default", "required", "like", "no_log", "options"}


def settings_of(playbook: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where a playbook registers settings, and what it reads."""
    for play in yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8")):
        left = [task for part in ("pre_tasks", "tasks", "post_tasks") for task in play.get(part, ())]
        while left:
            task = left.pop()
            left += [inner for part in ("block", "rescue", "always") for inner in task.get(part, ())]
            wanted = task.get("holdfast.restic_r2.settings")
            if wanted and "register" in task:
                yield task["register"], wanted


def test_each_spec_is_of_a_playbook() -> None:
    assert sorted(set(SPECS) - {"shared"} - set(PLAYBOOKS)) == []
    assert playbook_options("no such playbook") == {}


@pytest.mark.parametrize("playbook", SPECS)
def test_each_variable_has_a_type_and_a_meaning(playbook: str) -> None:
    options = playbook_options(playbook)
    assert options.keys() == SPECS[playbook].keys()
    for name, option in options.items():
        assert name.startswith("holdfast_") and option["type"] and option["description"], name
        assert option.keys() <= KEYS, name
        own = SPECS[playbook][name]
        assert own.keys() == {"like"} or "like" not in own, f"{name} says twice what it is"


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_every_setting_that_a_playbook_uses_is_read(playbook: str) -> None:
    text = (ROOT / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8")
    read: dict[str, set[str]] = {}
    for register, wanted in settings_of(playbook):
        assert wanted.get("playbook") in (None, playbook)
        # What users set is described for them, too.
        assert [name for name in wanted.get("options", ()) if not name.startswith("__")] == []
        names = {"inventory_hostname", "address", "pretence", "misspelt", *wanted.get("variables", ())}
        names |= {name.removeprefix("__") for name in wanted.get("options", ())}
        read.setdefault(register, set()).update(names | playbook_options(wanted.get("playbook", "")).keys())
    used = {(register, name) for register in read for name in re.findall(rf"\b{register}\.(\w+)", text)}
    assert sorted((register, name) for register, name in used if name not in read[register]) == []


def test_a_variable_that_is_like_an_option_keeps_to_its_rule_and_is_called_by_its_own_name() -> None:
    options = playbook_options("relock")
    assert options["holdfast_api_token"]["no_log"] is True
    _result, problems = converted({"holdfast_proxy": "proxy", "holdfast_no_proxy": "a, b"}, options)
    assert len(problems) == 1 and problems[0].startswith("holdfast_proxy is no address of a proxy: write "), problems


def described(options: Any, place: str) -> Iterator[str]:
    """Options that have another key than an argument spec has, as of a description that was cut at a comma."""
    for name, option in (options or {}).items():
        if not option.keys() <= KEYS or not option.get("description"):
            yield f"{place}.{name}"
        yield from described(option.get("options"), f"{place}.{name}")


@pytest.mark.parametrize("role", sorted(path.name for path in (ROOT / "roles").iterdir()))
def test_each_option_of_a_role_is_described_whole(role: str) -> None:
    found = [one for entry, options in role_options(ROOT / "roles" / role).items() for one in described(options, entry)]
    assert found == []


def test_what_several_entry_points_have_is_written_once() -> None:
    entries = role_options(ROOT / "roles" / "repository")
    assert sorted(entries) == [
        "check", "drill", "keys", "list", "main", "maintenance", "password", "recover", "restore", "unlock", "verify",
    ]  # fmt: skip
    seen: dict[str, Any] = {}
    for options in entries.values():
        for name, option in options.items():
            assert seen.setdefault(name, option) is option, name
