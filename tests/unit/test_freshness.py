# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether every job makes backups, whatever other jobs do and whatever a host says."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.freshness import (
    Expected,
    of_jobs,
    of_no_job,
    stale,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.newest import MOST_OF_JOB, newest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.snapshot_checks import fresh
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.jobs import Jobs

NOW = datetime(2026, 7, 1, 13, tzinfo=timezone.utc)
JOBS = Jobs([{"name": "files", "paths": ["/srv"]}, {"name": "sql", "command": ["dump"]}], ["web1"])
DAY = Expected(max_age=timedelta(hours=26), jobs=JOBS, hosts=frozenset(["web1"]))


def made(name: str, hours: float, *tags: str, **more: Any) -> dict[str, Any]:
    stored = NOW - timedelta(hours=hours)
    return {
        "id": name,
        "stored": stored,
        "time": (stored - timedelta(minutes=1)).isoformat(),
        "hostname": "web1",
        "paths": ["/srv"],
        "tags": list(tags),
        **more,
    }


def times(snapshots: list[dict[str, Any]]) -> dict[str, datetime]:
    return {one["id"]: one["stored"] for one in snapshots}


def told(snapshots: list[dict[str, Any]], want: Expected = DAY) -> list[str]:
    return stale(snapshots, times(snapshots), want, NOW)


def test_every_job_needs_a_fresh_snapshot_of_its_own() -> None:
    files, sql = made("a", 1, "job:files"), made("b", 27, "job:sql", paths=["/sql"])
    late = "The newest snapshot of job sql was uploaded 27.0 hours ago, more than 26."
    assert told([files, sql]) == [late]
    assert told([files, sql, made("c", 20, paths=["/sql"])]) == []
    assert told([files]) == ["Job sql has no snapshot."]
    # Nothing that the host may add under another name, or under two, makes the job look alive.
    others = [made("d", 1, "job:sql", hostname="web2"), made("e", 1, "job:sql", "job:files"), made("f", 1, "job:sql ")]
    assert told([files, sql, *others]) == [late]
    assert [one.evidence for one in fresh([files, sql], times([files, sql]), DAY, NOW)] == [late]


def test_a_snapshot_whose_time_does_not_fit_its_upload_does_not_count() -> None:
    forged = made("a", 1, "job:files", time=(NOW + timedelta(days=1)).isoformat())
    want = Expected(max_age=timedelta(hours=26), jobs=Jobs([{"name": "files", "paths": ["/srv"]}]))
    genuine = made("b", 90, "job:files")
    found = [one.evidence for one in fresh([forged, genuine], times([forged, genuine]), want, NOW)]
    assert found == ["The newest snapshot of job files was uploaded 90.0 hours ago, more than 26."]


def test_a_job_has_its_own_age_or_that_of_the_host_or_none() -> None:
    both = [made("a", 27, "job:files"), made("b", 27, "job:sql")]
    weekly = Expected(max_age=timedelta(hours=26), jobs=JOBS, ages={"sql": timedelta(days=8)})
    assert told(both, weekly) == ["The newest snapshot of job files was uploaded 27.0 hours ago, more than 26."]
    only = Expected(jobs=JOBS, ages={"sql": timedelta(hours=1)})
    assert told(both, only) == ["The newest snapshot of job sql was uploaded 27.0 hours ago, more than 1."]
    assert told([], Expected(jobs=JOBS)) == []


def test_without_known_jobs_the_newest_of_all_counts() -> None:
    want = Expected(max_age=timedelta(hours=26))
    assert told([made("a", 1), made("b", 90)], want) == []
    assert told([made("b", 90)], want) == ["The newest snapshot was uploaded 90.0 hours ago, more than 26."]
    assert of_no_job([made("a", 1)], times([made("a", 1)]), want.jobs, NOW) == []


def test_what_there_is_of_each_job_and_of_none() -> None:
    ours = [
        made("a", 1, "job:files", summary={"total_bytes_processed": 7}),
        made("b", 2, "job:files"),
        made("c", 49, "job:files"),
        *(made(f"gone{number}", 100 + number, f"job:gone{number}") for number in range(60)),
    ]
    files, sql = of_jobs(ours, times(ours), DAY, NOW)
    assert files == {
        "name": "files", "max_age": 26, "snapshots": 3, "newest": "2026-07-01T12:00:00Z", "age_hours": 1.0, "bytes": 7,
        "oldest": "2026-06-29T12:00:00Z", "days": 2, "calendar": "5",
    }  # fmt: skip
    assert (sql["name"], sql["snapshots"], sql["newest"], sql["calendar"]) == ("sql", 0, None, "0")
    named = newest([*ours, made("vanished", 0, "job:files")], times(ours), JOBS)
    assert [one["id"] for one in named[:4]] == ["a", "b", "c", "gone0"] and len(named) == 3 + MOST_OF_JOB
    assert (
        named[0] == {"id": "a", "job": "files", "stored": "2026-07-01T12:00:00Z", "bytes": 7} and named[3]["job"] == ""
    )
    for size in (1 << 64, -1, "7", None):
        forged = {**made("a", 1, "job:files"), "summary": {"total_bytes_processed": size}}
        assert newest([forged], times([forged]), JOBS)[0]["bytes"] is None
    retired = of_no_job(ours, times(ours), JOBS, NOW)
    assert len(retired) == 50 and [one["job"] for one in retired[:2]] == ["gone0", "gone1"]
