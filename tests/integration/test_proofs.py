# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks check and drill on two hosts, one of which cannot be restored, and what verify makes of it."""

from __future__ import annotations

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.progress import all_places

from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.repositories import PASSWORD, Bed, program
from tests.support.running import Ansible, Run
from tests.support.waiting import wait_for


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


def drill_machine(folder: Path, restic_path: str) -> tuple[dict[str, Any], Path]:
    """A machine of an inventory: a Python that writes down what it is to run, and a restic. Its variables, and that file."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "restic").symlink_to(restic_path)
    reached = folder / "reached"
    script = (
        f"""echo "$@" >>'{reached}'; cat "$1" >>'{reached}'; PATH='{folder}/bin':$PATH exec '{sys.executable}' "$@" """
    )
    python = program(folder / "python", script)
    return {"ansible_connection": "local", "ansible_python_interpreter": python, "ansible_pipelining": False}, reached


def drilled_elsewhere(bed: Bed, tmp_path: Path, machine: dict[str, Any]) -> dict[str, Any]:
    """An inventory with a host whose one backup is drilled on that machine."""
    bed.initialise()
    assert "failed" not in bed.repository()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hello").write_text("hello", encoding="utf-8")
    bed.backup(tmp_path / "data", "--tag=job:data")
    job = {"name": "data", "paths": [f"{tmp_path}/data"], "drill": {"expect": [{"path": "*/hello", "size": 5}]}}
    variables = {
        "holdfast_node": "localhost",
        **{f"holdfast_{name}": value for name, value in bed.account.items()},
        "holdfast_prefix": "web1/",
        "holdfast_password": PASSWORD,
        "holdfast_access_key_id": "0" * 32,
        "holdfast_secret_access_key": "only-for-the-host" * 4,
        "holdfast_record_dir": str(bed.record_dir),
        # The node has none, so that it is the machine's that works.
        "holdfast_restic_path": "/nowhere/restic",
        "holdfast_drill_on": "drills",
        "holdfast_drill_dir": str(tmp_path / "drills" / "scratch"),
        "backup_jobs": [job],
    }
    # The backed-up host has no address that anything could reach.
    hosts = {"web1": {"ansible_host": "192.0.2.1"}}
    return {"all": {"hosts": {"drills": machine}}, "holdfast": {"hosts": hosts, "vars": variables}}


@pytest.mark.sample(of="stories")
def test_another_machine_that_is_drilled_on_gets_what_it_needs_and_no_secret_of_the_node(
    ansible: Ansible, stand_in: StandIn, tmp_path: Path, restic_path: str
) -> None:
    bed = Bed(stand_in, ansible, restic_path, tmp_path, prefix="web1/")
    machine, reached = drill_machine(tmp_path / "drills", restic_path)
    inventory = drilled_elsewhere(bed, tmp_path, machine)
    bed.stand_in.clear_log()
    run = ansible.playbook("holdfast.restic_r2.drill", inventory)
    assert run.exit_code == 0 and "data: restored and proved all of" in table(run)["web1"][1], run.output
    assert json.loads((bed.record_dir / bed.bucket / "web1" / "drills").read_text())["jobs"]["data"]["ok"]
    got = reached.read_text(encoding="utf-8")
    started = [line.split()[0].rpartition("/")[2] for line in got.splitlines() if "/AnsiballZ_" in line.split(" ")[0]]
    assert started == ["AnsiballZ_restic_drill.py"]
    # The password is found in there, so that what is not found is not there.
    assert PASSWORD in got
    for secret in (stand_in.api_token, stand_in.secret_access_key, "only-for-the-host", str(bed.record_dir)):
        assert secret not in got
    asked = {entry["method"] for entry in stand_in.requests() if entry["bucket"] == bed.bucket}
    assert asked and asked <= {"GET", "HEAD"}, asked


@pytest.mark.proof
def test_how_far_a_drill_on_another_machine_is_can_be_seen_on_the_node(
    ansible: Ansible, stand_in: StandIn, tmp_path: Path, restic_path: str
) -> None:
    bed = Bed(stand_in, ansible, restic_path, tmp_path, prefix="web1/")
    machine, _reached = drill_machine(tmp_path / "drills", restic_path)
    inventory = drilled_elsewhere(bed, tmp_path, machine)
    restic, seen = tmp_path / "drills" / "bin" / "restic", tmp_path / "seen"
    restic.unlink()
    # It restores once the node has been seen to know that it does.
    wait = f"""case " $* " in *" restore "*) until [ -e '{seen}' ]; do sleep 0.1; done;; esac; exec '{restic_path}' "$@" """
    program(restic, wait)
    steps: list[str] = []

    def look() -> None:
        def known() -> bool:
            steps[:] = [place.step for place in all_places(str(bed.record_dir))]
            return any("restoring snapshot" in step for step in steps)

        try:
            # After the beginning of the playbook, and two looks of the follower.
            wait_for(known, "the node knows how far the drill is", 300.0)
        finally:
            seen.touch()

    with ThreadPoolExecutor(1) as pool:
        looked = pool.submit(look)
        run = ansible.playbook("holdfast.restic_r2.drill", inventory)
        looked.result()
    assert run.exit_code == 0 and "data: restored and proved all of" in table(run)["web1"][1], run.output
    assert re.fullmatch("drilling on drills: restoring snapshot [0-9a-f]{8}", *steps)
    assert list(all_places(str(bed.record_dir))) == []
