# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an owned host can put into its bucket, or return, to reach the node: its commands, its memory, its settings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Restic

from tests.support.hostile import Owner
from tests.support.maintenance import PREFIX, LockedRepository
from tests.support.repository_format import Key, inflated, name_of
from tests.support.running import Ansible

Record = Callable[[str, object], None]
GIGABYTE = 1 << 30
# Escapes that a terminal obeys, and what turns the direction of writing.
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# What a play shows of an audit.
ALL_OF_IT = "{{ found.findings }} {{ found.snapshots | default([]) }} {{ found.msg | default() }}"


def told(record: Record, reached: dict[str, bool]) -> None:
    """Note the cases, and fail for those that reached the node."""
    record("node", json.dumps({"cases": len(reached), "reached": sum(reached.values())}))
    assert [name for name, there in reached.items() if there] == []


def plant(site: LockedRepository, kind: str, content: bytes) -> str:
    site.add(f"{kind}/{name_of(content)}", content)
    return f"{PREFIX}{kind}/{name_of(content)}"


def snapshot(restic: Restic, site: LockedRepository) -> dict[str, Any]:
    return dict(json.loads(restic.succeed(["cat", "snapshot", site.ids[-1], "--no-lock"]).stdout))


def places_for_text(site: LockedRepository) -> dict[str, Callable[[str], Any]]:
    """Where in a bucket somebody can leave a text."""
    restic = site.bed.restic
    key = Key.from_json(json.loads(restic.succeed(["cat", "masterkey", "--no-lock"]).stdout))
    return {
        "a key": lambda text: site.add(f"snapshots/{text}", b"x"),
        "a key beside the repository": lambda text: site.add(text, b"x"),
        **{
            field: lambda text, field=field: plant(  # type: ignore[misc]
                site, "snapshots", key.seal_json({**snapshot(restic, site), field: text})
            )
            for field in ("hostname", "username", "program_version")
        },
        **{
            field: lambda text, field=field: plant(  # type: ignore[misc]
                site, "snapshots", key.seal_json({**snapshot(restic, site), field: [text]})
            )
            for field in ("tags", "paths")
        },
    }


def test_texts_of_the_bucket_are_no_templates_and_no_commands_of_a_terminal(
    site: LockedRepository, tmp_path: Path, record_property: Record
) -> None:
    """A play shows all that the audit returned, as a user's would."""
    places = places_for_text(site)
    canaries = {name: tmp_path / f"ran-{number}" for number, name in enumerate(places)}
    for name, put in places.items():
        put("{{ lookup('ansible.builtin.pipe', 'touch " + str(canaries[name]) + "') }}\x1b[2J\u202e$(touch x)")
    arguments = {**site.bed.options, "record_dir": str(site.bed.record_dir)}
    tasks = [
        {"holdfast.restic_r2.restic_audit": arguments, "register": "found", "ignore_errors": True},
        {"ansible.builtin.debug": {"msg": ALL_OF_IT}},
        {"ansible.builtin.set_stats": {"data": {"found": "{{ found.findings }}"}}},
    ]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    run = site.bed.ansible.playbook([play], {"all": {"hosts": {"localhost": {}}}})
    assert run.exit_code == 0 and "findings" in json.dumps(run.results[0].result), run.output
    shown = run.output + json.dumps(run.results[0].result, ensure_ascii=False)
    told(
        record_property,
        {
            **{name: canary.exists() for name, canary in canaries.items()},
            "the terminal": OBEYED.search(re.sub(r"\x1b\[[0-9;]*m", "", shown)) is not None,
        },
    )


@pytest.mark.parametrize("kind", ["index", "snapshots", "locks"])
def test_an_object_that_becomes_a_gigabyte_is_never_held_in_memory(
    site: LockedRepository, kind: str, record_property: Record
) -> None:
    restic = site.bed.restic
    key = Key.from_json(json.loads(restic.succeed(["cat", "masterkey", "--no-lock"]).stdout))
    head, tail, fill = b'{"packs":[]', b"}", b" "
    if kind == "snapshots":
        head, tail = json.dumps({**snapshot(restic, site), "hostname": "HERE"}).encode().split(b"HERE")
        fill = b"A"
    planted = plant(site, kind, key.seal(inflated(head, tail, GIGABYTE, fill)))
    result = site.prune()
    named = [finding for finding in result["findings"] if planted in (finding.get("objects") or ())]
    # Only what was seen to be over its bound was not read in full.
    told(record_property, {kind: not named or len(json.dumps(result)) > 100_000})


def test_facts_of_a_host_become_no_settings(tmp_path: Path, ansible: Ansible, record_property: Record) -> None:
    """Every name that the project knows, each as a value that leads to the owner."""
    owner = Owner(tmp_path / "owner")
    facts = owner.facts()
    owner.say(facts)
    host = {"ansible_connection": "local", "ansible_python_interpreter": str(owner.interpreter)}
    read = {"options": {"holdfast_api_url": {"type": "str"}}, "facts": "tell"}
    tasks = [
        {"ansible.builtin.ping": {}},
        {"holdfast.restic_r2.settings": read, "register": "__read"},
        {"ansible.builtin.debug": {"msg": "{{ __read.holdfast_api_url | default('none') }} is the address"}},
        {"holdfast.restic_r2.settings": {}},
    ]
    play = {"hosts": "web1", "gather_facts": False, "vars": {"__read": {}}, "tasks": tasks}
    run = ansible.playbook([play], {"all": {"hosts": {"web1": host}}})
    reached = {
        "a setting": f"{owner.url}/client/v4 is the address" in run.output,
        "a refused run": run.exit_code == 0 or "take the host for compromised" not in run.output,
        "a request": owner.requests != [],
        "a file": list(owner.trap.iterdir()) != [],
    }
    owner.close()
    told(record_property, reached)
