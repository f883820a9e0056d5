# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks, run as a user runs them, with the real restic, against the stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.running import Ansible, Run

SITE, MAINTENANCE, VERIFY, RELOCK, RESTORE = (
    f"holdfast.restic_r2.{name}" for name in ("site", "maintenance", "verify", "relock", "restore")
)


@pytest.fixture(name="fleet")
def fixture_fleet(tmp_path: Path, stand_in: StandIn, restic_path: str) -> Fleet:
    return Fleet(tmp_path / "fleet", stand_in, restic_path, ("web1", "web2"))


def site(ansible: Ansible, fleet: Fleet, *arguments: str) -> Run:
    run = ansible.playbook(SITE, fleet.inventory, *arguments)
    assert run.exit_code == 0, run.output
    return run


def rest_calls(fleet: Fleet, since: int = 0) -> list[tuple[str, str]]:
    requests = fleet.stand_in.requests(since)
    return [(request["method"], request["path"]) for request in requests if request["kind"] == "rest"]


def test_site_from_nothing_to_a_backup_and_again(ansible: Ansible, fleet: Fleet) -> None:
    first = site(ansible, fleet)
    assert first.changed
    for name in ("web1", "web2"):
        assert {rule["prefix"] for rule in fleet.stand_in.rules(f"backup-{name}")} == {
            "config", "data/", "index/", "keys/", "snapshots/"
        }  # fmt: skip
        done = fleet.backup(name)
        assert done.returncode == 0, done.stderr

    since = fleet.stand_in.last_request()
    second = site(ansible, fleet)
    assert second.changed == []
    calls = rest_calls(fleet, since)
    assert {method for method, _ in calls} == {"GET"}
    for name in ("web1", "web2"):
        assert len([path for _, path in calls if f"/backup-{name}/" in path]) == 2, calls
    assert len(calls) == 2 * 2 + 2, calls
