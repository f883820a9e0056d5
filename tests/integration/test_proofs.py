# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks check and drill on two hosts, one of which cannot be restored, and what verify makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.running import Ansible, Run


def table(run: Run) -> dict[str, tuple[str, str]]:
    """State and text of each host."""
    (lines,) = {tuple(one.result["msg"]) for one in run.of(task="Show the table") if "msg" in one.result}
    rows = [line.split(None, 2) for line in lines[1:]]
    return {row[0]: (row[1], row[2]) for row in rows}


@pytest.mark.proof
def test_restores_are_drilled_read_and_told(
    ansible: Ansible, stand_in: StandIn, tmp_path: Path, restic_path: str
) -> None:
    fleet = Fleet(tmp_path / "fleet", stand_in, restic_path, ("web1", "web2"))
    drills = tmp_path / "drills"
    fleet.common["holdfast_drill_dir"] = str(drills)
    (job,) = fleet.common["backup_jobs"]
    job["drill"] = {"command": ["sh", "-c", 'cat .*/*/*/*/*/*/hello 2>/dev/null; test -n "$(find . -name hello)"']}
    job["drill"]["expect"] = [{"path": "*/data/hello", "size": 5}]

    def play(name: str, **more: Any) -> Run:
        return ansible.playbook(f"holdfast.restic_r2.{name}", fleet.inventory, variables=more)

    assert play("site").exit_code == 0
    assert fleet.backup("web1").returncode == 0

    run = play("drill")
    told = table(run)
    assert run.exit_code == 2
    assert told["web1"][0] == "ok" and "data: restored and proved all of" in told["web1"][1], told
    assert "its command succeeded" in told["web1"][1]
    assert told["web2"][0] == "FAILED" and "has no snapshot of job data" in told["web2"][1], told
    assert list(drills.glob("*")) == []
    remembered = [
        json.loads((tmp_path / "fleet" / "records" / f"backup-{name}" / "drills").read_text())
        for name in ("web1", "web2")
    ]
    assert [one["jobs"]["data"]["ok"] for one in remembered] == [True, False]

    read = play("check")
    assert read.exit_code == 0, read.output
    assert "parts that were due" in table(read)["web1"][1]

    seen = play("verify", holdfast_drilled_within="30d")
    assert "No restore drill" not in table(seen)["web1"][1]
    other = ansible.playbook(
        "holdfast.restic_r2.drill", fleet.inventory, "-l", "web1", variables={"holdfast_drill_job": ["date"]}
    )
    assert "which is no job of this host: write data" in other.output or "There is no job date" in other.output
    itself = ansible.playbook(
        "holdfast.restic_r2.drill", fleet.inventory, "-l", "web1", variables={"holdfast_drill_on": "web1"}
    )
    assert "holdfast_drill_on is web1, a host that is backed up" in itself.output
