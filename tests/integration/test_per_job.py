# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs as the unit of freshness, retention and holds: the modules with the real restic against the stand-in."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.maintenance import LockedRepository
from tests.support.repositories import Bed
from tests.support.running import Ansible

JOBS: list[dict[str, Any]] = [{"name": "system", "paths": ["/etc"]}, {"name": "postgresql", "paths": ["/all.sql"]}]


class Histories(LockedRepository):
    """A locked repository with the snapshots of several jobs, each as old as a test says."""

    ages: dict[str, str]

    def made(self, job: str, *hours: float, path: str = "now", host: str = "web1") -> None:
        """Back up for a job so many hours ago, each time; snapshots are called by job and hours."""
        folder = self.files / job / path
        folder.mkdir(parents=True, exist_ok=True)
        for age in hours:
            (folder / "file").write_text(f"{job} {age}\n")
            moment = datetime.now(timezone.utc) - timedelta(hours=age)
            name = self.bed.backup(folder, f"--tag=job:{job}", f"--time={moment:%Y-%m-%d %H:%M:%S}", host=host)
            stored = f"{moment + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"
            self.bed.stand_in.set_upload_time(self.bed.bucket, f"snapshots/{name}", stored)
            self.ages[name] = f"{job} {age:g}"

    def jobs(self, **more: dict[str, Any]) -> dict[str, Any]:
        """The options that tell modules of the jobs; more, by the name of a job."""
        return {"jobs": [{**job, **more.get(job["name"], {})} for job in JOBS], "expected_hosts": ["web1"]}

    def left(self) -> list[str]:
        return sorted(self.ages[name] for name in self.snapshots())

    def verified(self, **arguments: Any) -> dict[str, Any]:
        options = {"record_dir": str(self.bed.record_dir), "access_key_id": self.bed.stand_in.token_id}
        return self.bed.module("restic_verify", **{**options, **self.jobs(), **arguments})

    def maintained(self, **arguments: Any) -> dict[str, Any]:
        result = self.prune(**{**self.jobs(), "max_remove": "100%", **arguments})
        assert "failed" not in result, result["msg"]
        return result


@pytest.fixture(name="here")
def fixture_here(stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path) -> Histories:
    bed = Bed(stand_in, ansible, restic_path, tmp_path)
    bed.initialise()
    assert "failed" not in bed.repository()
    bed.lock()
    found = Histories(bed, tmp_path / "files")
    found.ages = {}
    return found


def codes(result: dict[str, Any]) -> list[str]:
    return sorted(one["code"] for one in result["findings"])


@pytest.mark.long
def test_a_dead_job_is_told_while_another_is_alive(here: Histories) -> None:
    here.made("system", 2)
    here.made("postgresql", 30)
    here.made("gone", 900, 800)
    here.made("system", 1, host="web0")
    # Without the jobs, one young snapshot is enough.
    assert here.verified(jobs=[])["findings"] == []
    told = here.verified()
    assert told["findings"] == ["The newest snapshot of job postgresql was uploaded 30.0 hours ago, more than 26."]
    assert [(one["name"], one["snapshots"], one["age_hours"]) for one in told["jobs"]] == [
        ("system", 1, 2.0), ("postgresql", 1, 30.0),
    ]  # fmt: skip
    assert [(one["host"], one["job"], one["snapshots"], one["age_hours"]) for one in told["retired"]] == [
        ("web0", "system", 1, 1.0), ("web1", "gone", 2, 800.0),
    ]  # fmt: skip
    assert all(one["bytes"] > 0 for one in told["retired"])

    # A weekly job; and one that must run more often.
    assert here.verified(**here.jobs(postgresql={"max_age": 170}))["findings"] == []
    both = here.verified(**here.jobs(postgresql={"max_age": 170}, system={"max_age": 1}))["findings"]
    assert both == ["The newest snapshot of job system was uploaded 2.0 hours ago, more than 1."]
    never = here.verified(jobs=[*JOBS, {"name": "home", "paths": ["/home"]}], max_age=48)["findings"]
    assert never == ["Job home has no snapshot."]
    audited = here.audit(**here.jobs(), max_age=26, baseline="update")
    assert [one["evidence"] for one in audited["findings"] if one["code"] == "stale"] == told["findings"]


@pytest.mark.sample(of="stories")
def test_the_retention_goes_by_job_and_what_is_of_no_job_stays(here: Histories) -> None:
    here.made("system", 300, 200, path="old")
    here.made("system", 100, 1)
    here.made("postgresql", 300, 200, 100, 1)
    here.made("gone", 900, 800)
    here.made("system", 700, host="web0")
    done = here.maintained(**here.jobs(postgresql={"retention": {"keep_last": 3}}))
    assert here.left() == [
        "gone 800",
        "gone 900",
        "postgresql 1",
        "postgresql 100",
        "postgresql 200",
        "system 1",
        "system 700",
    ]
    assert {one["job"] for one in done["removed"]} == {"system", "postgresql"}
    assert ["belongs to no job"] in [one["reasons"] for one in done["kept"]]
    assert here.maintained(**here.jobs(postgresql={"retention": {"keep_last": 3}}))["changed"] is False

    # Not as long as the job that it may have become has no snapshot.
    renamed = [*JOBS, {"name": "new", "paths": ["/new"]}]
    assert here.maintained(jobs=renamed, keep_last=9, retired_keep="30d")["removed"] == []
    here.maintained(keep_last=9, retired_keep="30d")
    assert here.left() == ["postgresql 1", "postgresql 100", "postgresql 200", "system 1", "system 700"]
    here.bed.restic.succeed(["check", "--read-data"])


@pytest.mark.long
def test_a_hold_keeps_everything_is_told_and_once_more_when_it_has_ended(here: Histories) -> None:
    here.made("system", 300, 200, 100, 1)
    here.made("postgresql", 300, 1)
    here.add("data/cd/cd" + "0" * 62, b"left by a backup that was cut")
    hold = {"until": f"{datetime.now(timezone.utc) + timedelta(days=30):%Y-%m-%d}", "reason": "we investigate"}
    before = here.bed.keys()
    for check_mode in (True, False, False):
        held = here.maintained(hold=hold, check_mode=check_mode)
        assert (held["changed"], held["removed"], held["windows"]) == (False, [], [])
        (told,) = [one for one in held["findings"] if one["code"] == "hold"]
        assert [(one["name"], one["reason"], one["snapshots"]) for one in held["holds"]] == [("", "we investigate", 6)]
        assert "Nothing of the repository is removed until" in told["evidence"] and "we investigate" in told["evidence"]
    assert here.bed.keys() == before

    over = {**hold, "until": "2026-01-31"}
    for check_mode in (True, False):
        done = here.maintained(**here.jobs(system={"hold": hold}, postgresql={"hold": over}), check_mode=check_mode)
        assert {"hold", "hold_ended"} <= set(codes(done))
        assert [(one["name"], one["snapshots"]) for one in done["holds"]] == [("system", 4)]
    assert here.left() == ["postgresql 1", "system 1", "system 100", "system 200", "system 300"]
    again = here.maintained(**here.jobs(system={"hold": hold}, postgresql={"hold": over}))
    assert "hold" in codes(again) and "hold_ended" not in codes(again)


@pytest.mark.long
def test_protected_snapshots_stay_and_one_that_is_not_there_stops_it(here: Histories) -> None:
    here.made("system", 300, 200, 1)
    here.made("postgresql", 1)
    oldest = next(name for name, called in here.ages.items() if called == "system 300")
    wrong = here.prune(**here.jobs(), protected_snapshots=[oldest[:8], "0123abcd"])
    assert wrong["failed"] and "no snapshot 0123abcd" in wrong["msg"] and wrong["windows"] == []
    here.maintained(protected_snapshots=[oldest[:8]])
    assert here.left() == ["postgresql 1", "system 1", "system 300"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"hold": {"until": "soon", "reason": "x"}}, "hold has no date"),
        ({"retired_keep": "0d"}, "retired_keep is no time at all"),
        ({"protected_snapshots": ["latest"]}, "no id of a snapshot"),
        ({"jobs": [{**JOBS[0], "retention": {"keep_lots": 1}}]}, "retention of job system has 'keep_lots'"),
        ({"jobs": [{**JOBS[0], "retention": {"keep_last": "one"}}]}, "no whole number"),
        ({"jobs": [{**JOBS[0], "max_age": -1}]}, "max_age of job system is -1"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_asked(
    stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path, arguments: dict[str, Any], told: str
) -> None:
    bed = Bed(stand_in, ansible, restic_path, tmp_path)
    since = stand_in.last_request()
    failed = bed.module("restic_prune", keep_last=1, **arguments)
    assert failed["failed"] and told in failed["msg"]
    assert stand_in.requests(since) == []


@pytest.mark.proof
def test_the_playbooks_hand_on_what_jobs_and_hosts_set(
    stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path
) -> None:
    fleet = Fleet(tmp_path / "fleet", stand_in, restic_path)
    home = fleet.home("web1")
    files = {"name": "data", "paths": [f"{home}/data"], "retention": {"keep_last": 2}}
    fleet.common.update(backup_jobs=[files, {"name": "dump", "command": ["date"]}], holdfast_retention={"keep_last": 1})

    said: list[str] = []

    def line(name: str) -> str:
        run = ansible.playbook(f"holdfast.restic_r2.{name}", fleet.inventory)
        said.append(run.output)
        rows = run.of(task="Show the table")[-1].result["msg"] if run.of(task="Show the table") else [run.output]
        return next((row for row in rows if row.startswith("web1")), run.output)

    assert ansible.playbook("holdfast.restic_r2.site", fleet.inventory).exit_code == 0
    (on_host,) = [path for path in home.rglob("*.json") if '"dump"' in path.read_text(encoding="utf-8")]
    assert "keep_last" not in on_host.read_text(encoding="utf-8")
    for job in ("data", "data", "data"):
        assert fleet.backup("web1", "--backup", job).returncode == 0
    assert "FAILED" in (told := line("verify")) and "Job dump has no snapshot." in told
    for _time in range(3):
        assert fleet.backup("web1", "--backup", "dump").returncode == 0
    fleet.common["holdfast_hold"] = {"until": "2099-12-31", "reason": "we investigate"}
    held = line("maintenance")
    assert (
        "removed 0 of 6 snapshots" in held and "until 2100-01-01T00:00:00Z: we investigate" in held and " ok " in held
    )
    del fleet.common["holdfast_hold"]
    # Two of the files, the last dump.
    assert "removed 3 of 6 snapshots" in line("maintenance")
    fleet.common["backup_jobs"][1]["name"] = "renamed"
    assert fleet.backup("web1", "--backup", "dump").returncode == 0
    fleet.common["holdfast_max_age"] = 1
    fleet.common["backup_jobs"][1:] = []
    assert "Kept, and of no job of this host: dump of web1 (2 snapshots" in line("verify")
    fleet.common["holdfast_protected_snapshots"] = ["0123abcd"]
    # The table leads to the task that failed, which says it once.
    assert line("maintenance").split()[1] == "FAILED"
    assert "no snapshot 0123abcd, which is to be protected" in said[-1]
