# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts that an owned host has left in its bucket, in all that playbooks which read the bucket show, write and hand on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.attacks.host import Host
from tests.attacks.test_node import OBEYED
from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.running import ROOT, Ansible, Run

FAKE = "web1 ok all is well"
# All that read the bucket or the journal on the node, and what they are run with.
PLAYBOOKS: dict[str, dict[str, Any]] = {
    "verify": {},
    "maintenance": {},
    "check": {},
    "drill": {},
    "list": {},
    "recover": {"holdfast_recover": "judge"},
    "report": {},
}


def bad(canary: Path) -> str:
    return (
        "{{ lookup('ansible.builtin.pipe', 'touch " + str(canary) + "') }}\x1b[2J\u202e\r\n" + FAKE + "\n<script>$(id)"
    )


def planted(fleet: Fleet, home: Path, restic_path: str) -> Path:
    """Leave the text wherever there is room for one; the file that it would make."""
    given = fleet.host("web1")
    pair = (given["holdfast_access_key_id"], given["holdfast_secret_access_key"])
    endpoint, password = fleet.stand_in.s3_endpoint, given["holdfast_password"]
    host = Host(endpoint, "backup-web1", pair, password, restic_path, home)
    text = bad(home / "ran")
    (name,) = host.sizes("snapshots/")
    document = host.ask_restic("cat", "snapshot", name.partition("/")[2])
    for more in (
        {"hostname": text, "username": text, "program_version": text, "paths": [f"/{text}"], "tags": [text]},
        {"tags": ["job:data", text]},
        {"tags": [f"job:{text}"]},
    ):
        host.put_many("snapshots", [host.master.seal_json({**document, **more})])
    for key in (text, f"snapshots/{text}", f"locks/{text}", f"data/00/{text}/{'ab' * 32}"):
        # No key has these characters, by XML's rules.
        host.put(key.replace("\x1b", "\u009b").replace("\r", ""), b"x")
    return home / "ran"


def harmless(run: Run) -> None:
    shown = run.output + json.dumps([one.result for one in run.results], ensure_ascii=False)
    found = OBEYED.search(shown)
    assert found is None, repr(shown[max(0, found.start() - 200) : found.end() + 50])
    assert not re.search(f"^{FAKE}", run.output, re.MULTILINE)


def handed_on(runs: dict[str, Run], ansible: Ansible) -> list[Run]:
    """What the next nodes of a workflow make of what maintenance said: the alarm, and a play that shows it."""
    (report,) = [one.result["ansible_stats"] for one in runs["maintenance"].results if "ansible_stats" in one.result][
        :1
    ]
    variables = {"holdfast_maintenance": report["data"]["holdfast_maintenance"]}
    show = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.debug": {"var": "holdfast_maintenance"}}],
    }
    alarm = yaml.safe_load((ROOT / "examples" / "awx" / "alarm.yml").read_text(encoding="utf-8"))
    inventory = {"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}
    return [ansible.playbook(play, inventory, variables=variables) for play in ([show], alarm)]


@pytest.mark.sample(of="stories")
def test_no_text_of_a_host_steers_anything_that_playbooks_write(
    stand_in: StandIn, tmp_path: Path, restic_path: str, record_property: Callable[[str, object], None]
) -> None:
    fleet = Fleet(tmp_path / "fleet", stand_in, restic_path)
    page, drills = tmp_path / "page", tmp_path / "drills"
    fleet.common.update(holdfast_report_dir=str(page), holdfast_drill_dir=str(drills), holdfast_fence="never")
    ansible = Ansible(tmp_path / "ansible", {"ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"})
    assert ansible.playbook("holdfast.restic_r2.site", fleet.inventory).exit_code == 0
    assert fleet.backup("web1").returncode == 0
    canary = planted(fleet, tmp_path, restic_path)
    runs = {
        name: ansible.playbook(f"holdfast.restic_r2.{name}", fleet.inventory, "--limit", "web1", variables=variables)
        for name, variables in PLAYBOOKS.items()
    }
    for run in (*runs.values(), *handed_on(runs, ansible)):
        harmless(run)
    assert not canary.exists()
    assert "lookup(" in runs["verify"].output and "lookup(" in runs["recover"].output, "the texts were not shown at all"
    journals, pages = [*(fleet.folder / "records").rglob("journal*")], [*page.rglob("*.html")]
    assert journals and pages
    for path in (*journals, *pages):
        assert OBEYED.search(path.read_text(encoding="utf-8")) is None, path
    assert not [path for path in pages if "<script>$(id)" in path.read_text(encoding="utf-8")]
    record_property("node", json.dumps({"cases": len(runs) + 2, "reached": 0}))
