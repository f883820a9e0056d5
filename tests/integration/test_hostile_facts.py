# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that answers every module with facts for every variable decides nothing: neither where secrets go, nor what happens.

There are two lines. The second refuses hosts with such facts. Most tests here take the second away, in a copy of the collection,
because the first has to hold by itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._without_facts import TAKEN

from tests.attacks.host import Host
from tests.integration.test_signals import text as words
from tests.stand_in.client import StandIn
from tests.stand_in.others import cloudflare_client
from tests.support.fleet import Fleet
from tests.support.hostile import Owner
from tests.support.running import ROOT, Ansible, Run

REFUSED = "take the host for compromised"
PARTS = ("meta", "playbooks", "plugins", "roles")


@dataclass
class OwnedHost:
    """One host, what its owner has, and what Ansible works with."""

    fleet: Fleet
    owner: Owner
    ansible: Ansible
    plays: list[tuple[str, Run]]

    def play(self, name: str, *arguments: str, before: bool = False, **variables: Any) -> Run:
        """Run a playbook of the collection; `before`: after a play of the user's that learns facts in the same run."""
        gather = {"hosts": "holdfast", "gather_facts": False, "tasks": [{"ansible.builtin.ping": {}}]}
        playbook: Any = f"holdfast.restic_r2.{name}"
        if before:
            playbook = [gather, {"import_playbook": playbook}]
        run = self.ansible.playbook(playbook, self.fleet.inventory, *arguments, variables=variables, timeout=1200)
        self.plays.append((name, run))
        return run

    def unharmed(self) -> None:
        """Nobody asked the owner's server, nothing lies in his folder, and he got nothing of the node's."""
        assert self.owner.requests == []
        assert list(self.owner.trap.iterdir()) == []
        received = self.owner.received()
        assert self.owner.node_secret.read_bytes() not in received
        assert self.fleet.stand_in.api_token.encode() not in received


@pytest.fixture(scope="module", name="first_line")
def fixture_first_line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the collection that refuses no host for its facts, except for the few names that only this line holds."""
    folder = tmp_path_factory.mktemp("collections")
    copy = folder / "ansible_collections" / "holdfast" / "restic_r2"
    for part in PARTS:
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "galaxy.yml", copy)
    path = copy / "plugins" / "plugin_utils" / "_without_facts.py"
    text, count = re.subn(
        r"(def is_pretender\(.*\n.*\n)    return .*\n",
        r"\1    return name in TAKEN\n",
        path.read_text(encoding="utf-8"),
    )
    assert count == 1
    path.write_text(text, encoding="utf-8")
    return folder


def world(home: Path, stand_in: StandIn, restic_path: str, collections: Path | None = None) -> OwnedHost:
    """A host with managed tokens that is provisioned by its owner's interpreter, which says nothing yet."""
    fleet = Fleet(home / "fleet", stand_in, restic_path)
    # A host has no other keys than those that are made for it; a fence is for all that reach its bucket.
    made = fleet.host("web1").pop("holdfast_access_key_id")
    del fleet.host("web1")["holdfast_secret_access_key"]
    cloudflare_client(stand_in).accounts.tokens.delete(made, account_id=stand_in.account_id)
    fleet.common["holdfast_retention"] = {"keep_last": 3}
    owner = Owner(home / "owner")
    fleet.host("web1")["ansible_python_interpreter"] = str(owner.interpreter)
    cache = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(home / "facts")}
    return OwnedHost(fleet, owner, Ansible(home / "ansible", cache, collections), [])


def untaken(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in TAKEN}


def back_up(fleet: Fleet, times: int) -> None:
    for number in range(times):
        fleet.fill("web1", number)
        done = fleet.backup("web1")
        assert done.returncode == 0, done.stderr


def kept(run: Run) -> tuple[int, int]:
    result = run.of(action="holdfast.restic_r2.restic_prune")[0].result
    return len(result["removed"]), len(result["kept"])


@pytest.mark.sample(of="stories")
def test_a_host_with_facts_of_ours_is_refused_and_called_compromised(
    tmp_path: Path, stand_in: StandIn, restic_path: str
) -> None:
    here = world(tmp_path, stand_in, restic_path)
    here.owner.say({"holdfast_api_url": here.owner.url, "a harmless fact": 1})
    since = stand_in.last_request()
    site = here.play("site", before=True)
    assert site.exit_code == 2
    assert REFUSED in site.failed[0].result["msg"] and "holdfast_api_url" in site.failed[0].result["msg"]
    assert [one for one in stand_in.requests(since) if one["kind"] == "rest"] == []
    # The next runs know it from the cache, and contact nobody.
    for name in ("maintenance", "verify", "unlock", "rotate"):
        run = here.play(name)
        assert run.exit_code == 2 and REFUSED in run.output, name
    # What makes the host less dangerous goes on, and takes nothing from its facts.
    freeze = here.play("recover", holdfast_recover="freeze", repository_freeze_token=False)
    assert REFUSED in freeze.output
    assert freeze.of(task="Remember that the host is frozen")[0].changed
    here.unharmed()


@pytest.mark.proof
def test_without_that_refusal_no_fact_is_a_setting_either(
    tmp_path: Path, stand_in: StandIn, restic_path: str, first_line: Path
) -> None:
    here = world(tmp_path, stand_in, restic_path, first_line)
    assert here.play("site").exit_code == 0, here.plays[-1][1].output
    back_up(here.fleet, 5)
    here.owner.say(untaken(here.owner.facts()))
    run = here.play("maintenance", before=True)
    assert run.exit_code == 0, run.output
    assert kept(run) == (2, 3)
    assert here.play("rotate").exit_code == 0, here.plays[-1][1].output
    here.unharmed()


@pytest.mark.sample(of="stories")
def test_a_host_that_is_restored_to_is_refused_for_its_facts_too(tmp_path: Path, ansible: Ansible) -> None:
    """The host is none of the play's."""
    inventory = tmp_path / "hosts.yml"
    hosts = {"web1": {"repository_restore_to": "web2"}, "web2": {}}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts}}), encoding="utf-8")
    options = {"repository_restore_to": {"type": "str"}}
    task = {"holdfast.restic_r2.settings": {"options": options, "reaches": ["repository_restore_to"]}}
    play = {"hosts": "web1", "gather_facts": False, "tasks": [task]}
    assert ansible.playbook([play], inventory).exit_code == 0
    # As a module of that host returns them.
    facts = {"ansible.builtin.set_fact": {"restic_path": "/tmp/mine", "cacheable": True}}
    run = ansible.playbook([{"hosts": "web2", "gather_facts": False, "tasks": [facts]}, play], inventory)
    assert run.exit_code == 2 and "The facts of web2 hold restic_path" in run.output and REFUSED in run.output


@pytest.mark.sample(of="stories")
def test_no_backed_up_host_is_drilled_on(tmp_path: Path, ansible: Ansible) -> None:
    """Neither the host itself nor another one, whatever the run is limited to."""
    inventory = {"all": {"hosts": {"drills": {}}, "children": {"holdfast": {"hosts": {"web1": {}, "web2": {}}}}}}
    (task, *_rest) = yaml.safe_load((ROOT / "roles/repository/tasks/drill.yml").read_text(encoding="utf-8"))
    settings = task["holdfast.restic_r2.settings"]
    del settings["entry_point"]
    settings.update(variables=[], options={"repository_drill_on": {"type": "str"}})
    known = yaml.safe_load((ROOT / "roles/repository/vars/main.yml").read_text(encoding="utf-8"))
    play = {"hosts": "web1", "gather_facts": False, "tasks": [task]}
    play["vars"] = {settings["backed_up"]: known[settings["backed_up"]]}

    def drilled_on(name: str, **more: str) -> Run:
        return ansible.playbook([play], inventory, "-l", "web1", variables={"repository_drill_on": name, **more})

    assert drilled_on("drills").exit_code == 0 and drilled_on("").exit_code == 0
    for name, more in (("web1", {}), ("web2", {}), ("web2", {"holdfast_hosts": "web1"})):
        run = drilled_on(name, **more)
        assert run.exit_code == 2 and f"holdfast_drill_on is {name}, a host that is backed up" in run.output, run.output


def test_restore_looks_at_the_facts_of_the_host_that_it_goes_to() -> None:
    tasks = yaml.safe_load((ROOT / "roles/repository/tasks/restore.yml").read_text(encoding="utf-8"))
    assert tasks[0]["holdfast.restic_r2.settings"]["reaches"] == ["repository_restore_to"]


@pytest.mark.sample(of="stories")
def test_a_host_that_never_answers_holds_up_nothing(tmp_path: Path, ansible: Ansible) -> None:
    owner = Owner(tmp_path / "owner")
    owner.answer_nothing_more()
    variables = {
        "holdfast_contact_timeout": 3,
        "holdfast_state": "absent",
        "ansible_connection": "local",
        "credentials_directory": str(tmp_path / "credentials"),
        "ansible_python_interpreter": str(owner.interpreter),
    }
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {"web1": variables}}}), encoding="utf-8")
    roles = [f"holdfast.restic_r2.{name}" for name in ("restic", "credentials", "backup")]
    prove = {"ansible.builtin.include_role": {"name": "holdfast.restic_r2.backup", "tasks_from": "prove"}}
    plays: list[dict[str, Any]] = [
        {"hosts": "web1", "gather_facts": False, "ignore_errors": True, **work}
        for work in (*({"roles": [role]} for role in roles), {"tasks": [prove]})
    ]
    required = {
        "credentials_access_key_id": "a",
        "credentials_secret_access_key": "b",
        "credentials_password": "c",
        "backup_jobs": [{"name": "etc", "paths": ["/etc"]}],
    }
    try:
        for play in plays:
            run = ansible.playbook([play], inventory, variables=required)
            assert re.search(r"Timed out after 3 second|expected time frame \(3\)", run.output), run.output
    finally:
        owner.close()


def everything(here: OwnedHost, hostile: bool) -> None:
    """All playbooks, in an order in which each has something to do."""
    if hostile:
        here.owner.say(untaken(here.owner.facts()))
    here.fleet.common["holdfast_report_dir"] = str(here.fleet.folder / "page")
    here.fleet.common["holdfast_drill_dir"] = str(here.fleet.folder / "drills")
    here.play("site", before=True)
    for number in range(60):
        (here.fleet.home("web1") / "data" / f"{number}.txt").write_bytes(words(number))
    back_up(here.fleet, 5)
    here.play("maintenance", before=True)
    for name in ("verify", "check", "drill", "list", "report"):
        here.play(name, before=True)
    here.play("rotate", before=True)
    host = here.fleet.host("web1")
    host["holdfast_new_password"] = "another staple, quite as correct"
    here.play("password", before=True, holdfast_password_step="add")
    host["holdfast_password"] = host.pop("holdfast_new_password")
    here.play("password", before=True, holdfast_password_step="remove")
    home = here.fleet.home("web1")
    here.fleet.common["holdfast_restore_roots"] = [str(home)]
    target = str(home / "restored")
    here.play("restore", holdfast_restore_host="web1", holdfast_restore_target=target, holdfast_restore_to="web1")
    here.play("unlock", holdfast_unlock_parts=["keys"], holdfast_unlock_reason="To see it close")
    common = {name: value for name, value in here.fleet.common.items() if name.startswith("holdfast_")}
    here.play("relock", **common, holdfast_buckets=["backup-web1"], holdfast_relock_force=True)
    recovered(here)
    host["holdfast_temporary_credentials"] = True
    host["holdfast_manage_tokens"] = False
    here.play("site")
    here.play("refresh")


def recovered(here: OwnedHost) -> None:
    """All steps of `recover`, after a change that looks like ransomware, and with something that was planted."""
    for path in (here.fleet.home("web1") / "data").glob("*.txt"):
        path.write_bytes(os.urandom(path.stat().st_size))
    back_up(here.fleet, 1)
    (audit,) = here.play("verify").of(action="holdfast.restic_r2.restic_audit")
    (signal,) = audit.result["signals"]
    keys = json.loads((here.fleet.folder / "records" / "backup-web1" / "host_keys.json").read_text(encoding="utf-8"))
    pair = (keys["access_key_id"], keys["secret_access_key"])
    Host(here.fleet.stand_in.s3_endpoint, "backup-web1", pair, "", "", here.owner.home).put("snapshots/readme", b"x")
    listed = here.fleet.folder / "listed.json"
    listed.write_text(json.dumps(["snapshots/readme"]), encoding="utf-8")
    said: dict[str, dict[str, Any]] = {
        "accept": {
            "holdfast_accept_findings": [signal["id"]],
            "holdfast_accept_by": "Ada",
            "holdfast_accept_reason": "made anew",
        },
        "judge": {},
        "freeze": {},
        "remove": {"holdfast_remove_keys_file": str(listed), "holdfast_remove_stored_since": "2020-01-01T00:00:00Z"},
        "thaw": {},
    }
    assert {f"recover_{step}" for step in said} == {
        path.stem for path in (ROOT / "roles" / "repository" / "tasks").glob("recover_*.yml")
    }
    for step, variables in said.items():
        here.play("recover", "--limit", "web1", before=True, holdfast_recover=step, **variables)


def decisions(here: OwnedHost) -> list[Any]:
    """What was done, task by task, without what differs between any two runs."""
    found: list[Any] = []
    for name, run in here.plays:
        found += [(name, run.exit_code), [(one.task, one.host, one.status, one.changed) for one in run.results]]
        for action in ("restic_prune", "r2_object", "restic_restore"):
            for one in run.of(action=f"holdfast.restic_r2.{action}"):
                found.append(
                    {
                        key: len(value)
                        for key, value in one.result.items()
                        if key in ("removed", "kept", "windows", "fences")
                    }
                )
    return found


def buckets(stand_in: StandIn) -> dict[str, set[str]]:
    names = {one["bucket"] for one in stand_in.requests(0) if one.get("bucket")}
    return {name: {key.split("/")[0] for key in stand_in.objects(name)} for name in names}


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_all_playbooks_decide_as_with_an_honest_host(tmp_path: Path, restic_path: str, first_line: Path) -> None:
    seen = []
    for name in ("honest", "hostile"):
        with StandIn.start() as stand_in:
            stand_in.settings(rate_limit=10.0**6)
            here = world(tmp_path / name, stand_in, restic_path, first_line)
            everything(here, name == "hostile")
            here.unharmed()
            seen.append((decisions(here), buckets(stand_in), here.owner.modules()))
            here.owner.close()
    honest, hostile = seen
    every = {path.stem for path in (ROOT / "playbooks").glob("*.yml")} - {"preflight"}
    assert {name for name, _run in here.plays} == every
    # That one was to tell of what looks like ransomware.
    assert [line for line in honest[0] if isinstance(line, tuple) and line[1] != 0] == [("verify", 2)]
    assert hostile == honest
