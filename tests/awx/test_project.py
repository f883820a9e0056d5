# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The project that AWX syncs: its playbooks, its inventory as AWX imports it, the built collection on a clean path."""

from __future__ import annotations

import json
import re
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import open_window

from tests.awx.fake.rules import playbooks
from tests.awx.job import PROJECT, Job, install_collection
from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.receiver import receiver
from tests.support.running import ROOT


def test_the_project_wants_this_version_of_the_collection() -> None:
    wanted = yaml.safe_load((PROJECT / "collections" / "requirements.yml").read_text(encoding="utf-8"))
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    assert wanted == {"collections": [{"name": "holdfast.restic_r2", "version": galaxy["version"]}]}


def test_every_playbook_of_the_collection_can_be_chosen_in_a_job_template() -> None:
    """All but preflight, which others import."""
    ours = {path.name for path in (ROOT / "playbooks").glob("*.yml")} - {"preflight.yml"}
    # It takes the inventory for one too.
    assert not ours - set(playbooks(PROJECT)), "copy one of the others in examples/awx, and change the name in it"
    assert set(playbooks(PROJECT)) == ours | {"alarm.yml", "configure.yml", "inventory/hosts.yml"}
    for name in sorted(ours):
        plays = yaml.safe_load((PROJECT / name).read_text(encoding="utf-8"))
        assert [play["import_playbook"] for play in plays] == [f"holdfast.restic_r2.{name[:-4]}"]


def test_a_playbook_is_not_listed_by_the_full_name_of_import_playbook(tmp_path: Path) -> None:
    """Why the playbooks above do without: AWX looks at the text."""
    (tmp_path / "site.yml").write_text("- ansible.builtin.import_playbook: holdfast.restic_r2.site\n", encoding="utf-8")
    assert playbooks(tmp_path) == []


@pytest.fixture(name="job", scope="module")
def fixture_job(tmp_path_factory: pytest.TempPathFactory, shared_stand_in: StandIn, restic_path: str) -> Job:
    folder = tmp_path_factory.mktemp("awx")
    shutil.copytree(PROJECT, folder / "project")
    return Job(
        folder,
        Fleet(folder / "fleet", shared_stand_in, restic_path, ("awx1", "awx2")),
        install_collection(folder / "collections"),
    )


def test_the_imported_inventory_holds_templates_and_no_secrets(job: Job) -> None:
    imported = job.import_inventory()
    group = json.loads(imported)["holdfast"]["vars"]
    assert group["holdfast_password"] == "{{ holdfast_secrets[inventory_hostname].password }}"
    assert [secret for secret in job.fleet.secrets if secret in imported] == []


@pytest.mark.proof
def test_from_provisioning_to_a_restore_with_what_each_template_holds(job: Job, tmp_path: Path) -> None:
    """Each playbook with the credentials of its job template, and no others."""
    job.run("site")
    for name in ("awx1", "awx2"):
        assert job.fleet.backup(name).returncode == 0
    assert job.run("site").changed == []
    assert {row.split()[1] for row in job.table(job.run("verify"))} == {"ok"}
    assert {row.split()[1] for row in job.table(job.run("maintenance"))} == {"ok"}
    assert job.run("guard").changed == []
    survey = {"host": "awx1", "to": "awx1", "target": str(tmp_path / "back"), "snapshot": "latest"}

    def restore(*, fails: bool = True, **answers: Any) -> str:
        named = {f"holdfast_restore_{name}": value for name, value in {**survey, **answers}.items()}
        return job.run("restore", named, fails=fails).output

    assert "restored on this host or on the maintenance node" in restore(to="awx2")
    assert "is in none of the roots" in restore()
    restore(fails=False, roots=[str(tmp_path)])
    data = job.fleet.home("awx1") / "data"
    assert (tmp_path / "back" / data.relative_to("/") / "hello").read_text() == "This is awx1.\n"


def test_after_maintenance_the_lock_waits_for_a_lease_to_end(job: Job) -> None:
    """A window whose keeper went with its container, seconds before its lease is over."""
    stand_in = job.fleet.stand_in
    url = f"{stand_in.api_url}/accounts/{stand_in.account_id}/r2/buckets"
    headers = {"Authorization": f"Bearer {stand_in.api_token}"}
    requests.post(url, json={"name": "left-open"}, headers=headers, timeout=30).raise_for_status()
    lease = datetime.now(timezone.utc) + timedelta(seconds=8)
    rules = open_window(lock_set(""), "", ["data"], lease=lease, holder="0" * 16)
    requests.put(f"{url}/left-open/lock", json={"rules": rules}, headers=headers, timeout=30).raise_for_status()
    with receiver() as http:
        job.messages["heartbeat"] = f"http://127.0.0.1:{http.port}/KEY/RUN"
        job.run("relock", {"holdfast_relock_wait": 12})
        job.messages["heartbeat"] = ""
    assert [path.partition("?")[0] for path, _body in http.heard] == ["/KEY/guard/start", "/KEY/guard"]
    assert all(rule["enabled"] for rule in stand_in.rules("left-open"))


def test_the_page_is_made_without_a_credential(job: Job, tmp_path: Path) -> None:
    output = job.run("report", {"holdfast_report_dir": str(tmp_path / "page"), "holdfast_evidence": ""}).output
    # In `make proof`, a test before this one has provisioned and verified them.
    assert re.search(rf"[02] of 2 hosts are protected: {re.escape(str(tmp_path))}/page/index\.html", output), output
    assert "Evidence:" not in output and job.credentials("report") == {}


def test_the_alarm_fails_and_tells_what_maintenance_handed_on(job: Job) -> None:
    records = {"web1": {"done": False, "text": "It is full."}, "web2": {"done": True, "text": "All well."}}
    output = job.run("alarm", {"holdfast_maintenance": records}, fails=True).output
    assert "At 3 a.m." in output and "web1: It is full." in output and "All well." not in output
    assert "At 3 a.m." in job.run("alarm", fails=True).output
