# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that come, that go first, and that are gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_journal_of_runs import lines
from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.receiver import receiver
from tests.support.running import Ansible

SITE, VERIFY = "holdfast.restic_r2.site", "holdfast.restic_r2.verify"


@pytest.mark.proof
def test_canary_then_the_others_then_a_new_host_then_one_is_gone(
    ansible: Ansible, stand_in: StandIn, restic_path: str, tmp_path: Path
) -> None:
    fleet = Fleet(tmp_path / "fleet", stand_in, restic_path, ("web1", "web2", "web3"))
    hosts = fleet.inventory["holdfast"]["hosts"]
    later = {"web3": hosts.pop("web3")}
    batches: dict[str, Any] = {"holdfast_serial": [1, "100%"], "holdfast_max_fail_percentage": 0}

    canary_fails_then_all_are_done(ansible, fleet, batches)
    hosts.update(later)
    joined = ansible.playbook(SITE, fleet.inventory)
    assert joined.exit_code == 0, joined.output
    assert {one.host for one in joined.changed} == {"web3"}

    # web2 has left: what is left of it is told, only when all hosts are looked at, and stays.
    del hosts["web2"]
    account = {"account_id": stand_in.account_id, "api_token": stand_in.api_token, "api_url": stand_in.api_url}
    ansible.module("r2_bucket", name="somebody-elses", **account)
    stand_in.create_token("holdfast/backup-web2", "backup-web2")
    for name in hosts:
        assert fleet.backup(name).returncode == 0
    since = stand_in.last_request()
    run = ansible.playbook(VERIFY, fleet.inventory)
    assert run.exit_code == 0, run.output
    rows = run.of(task="Show the table")[-1].result["msg"][1:]
    told = [row.split(maxsplit=2)[2] for row in rows if row.split()[1] == "note"]
    assert told == [
        f"{what} belongs to no host of the inventory; nothing was done to it."
        for what in ("Bucket backup-web2", "Token holdfast/backup-web2")
    ]
    assert not [one for one in stand_in.requests(since) if one["kind"] == "rest" and one["method"] != "GET"]
    run = ansible.playbook(VERIFY, fleet.inventory, "--limit", "web1")
    assert run.exit_code == 0, run.output
    assert "belongs to no host" not in run.output


def canary_fails_then_all_are_done(ansible: Ansible, fleet: Fleet, batches: dict[str, Any]) -> None:
    """The begin of a run and its end are told once, in spite of the batches; and each host has one line of the journal."""
    path = fleet.common["restic_file"]
    fleet.host("web1")["restic_file"] = str(fleet.folder / "nothing")
    with receiver() as service:
        batches["holdfast_heartbeat"] = f"http://127.0.0.1:{service.port}/RUN"
        failed = ansible.playbook(SITE, fleet.inventory, variables=batches)
        assert failed.exit_code == 2, failed.output
        assert not [one for one in fleet.stand_in.requests() if "backup-web2" in one["path"]]
        assert not [one for one in failed.results if one.host == "web2"]

        fleet.host("web1")["restic_file"] = path
        done = ansible.playbook(SITE, fleet.inventory, variables=batches)
        assert done.exit_code == 0, done.output
        first = next(number for number, one in enumerate(done.results) if one.host == "web2")
        assert not [one for one in done.results[first:] if one.host == "web1"], "the batches were mixed"
    told = [path.partition("?")[0] for path, _body in service.heard]
    assert told == ["/site/start", "/site/fail", "/site/start", "/site"]
    written = lines(fleet.folder / "records")
    assert [(one["host"], one["result"]) for one in written] == [("web1", "failed"), ("web1", "ok"), ("web2", "ok")]
    assert written[0]["id"] != written[1]["id"] == written[2]["id"]
