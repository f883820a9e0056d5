# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which job a snapshot belongs to, also when the host lies."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.restore import RestoreError, newest_of_each
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.jobs import (
    TAG,
    Group,
    Jobs,
    named_by,
    paths_in_snapshots,
)
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._setting_rules import job_name
from hypothesis import given
from hypothesis import strategies as st

SYSTEM = {"name": "system", "paths": ["/etc", "/home/"]}
POSTGRESQL = {"name": "postgresql", "command": ["pg_dumpall"], "filename": "all.sql"}
JOBS = Jobs([SYSTEM, POSTGRESQL], ["web1"])


def snapshot(*tags: str, paths: tuple[str, ...] = ("/etc", "/home"), host: str = "web1") -> dict[str, Any]:
    return {"id": "0" * 64, "hostname": host, "paths": list(paths), "tags": list(tags)}


def test_the_tag_says_which_job_whatever_the_paths_are() -> None:
    assert JOBS.of(snapshot("job:postgresql", "nightly", paths=("/all.sql",))) == "postgresql"
    assert JOBS.of(snapshot("job:system", paths=("/etc", "/srv"))) == "system"
    assert JOBS.group(snapshot("job:system", paths=("/etc", "/srv"))) == JOBS.group(snapshot("job:system"))


def test_snapshots_from_before_are_told_by_paths_and_file_name() -> None:
    assert JOBS.of(snapshot(paths=("/home", "/etc/"))) == "system"
    assert JOBS.of(snapshot("nightly", paths=("/all.sql",))) == "postgresql"
    assert JOBS.of({"id": "0" * 64, "hostname": "web1", "paths": ["/all.sql"]}) == "postgresql"
    assert JOBS.group(snapshot()) == JOBS.group(snapshot("job:system"))
    assert JOBS.of(snapshot(paths=("/etc",))) is None
    assert JOBS.of(snapshot(paths=())) is None


def test_the_file_of_a_command_is_called_like_its_job_by_default() -> None:
    assert paths_in_snapshots({"name": "dump", "command": ["true"]}) == ["/dump"]


def test_two_jobs_with_the_same_paths_are_told_apart_by_tags_alone() -> None:
    jobs = Jobs([SYSTEM, {**SYSTEM, "name": "again"}, {**SYSTEM, "name": "third"}])
    assert jobs.of(snapshot()) is None
    assert jobs.of(snapshot("job:again")) == "again"


def test_a_job_that_is_gone_is_a_group_of_its_own_and_no_job_of_the_host() -> None:
    gone = snapshot("job:gone")
    assert JOBS.of(gone) is None
    assert JOBS.group(gone) == Group("web1", "gone")
    assert not JOBS.has(JOBS.group(gone))


def test_another_host_name_is_no_job_of_this_host() -> None:
    for other in (snapshot("job:system", host="web2"), snapshot(host="web2"), snapshot(host="")):
        assert JOBS.of(other) is None
    assert JOBS.group(snapshot(host="web2")) == Group("web2", "", ("/etc", "/home"))
    assert Jobs([SYSTEM]).of(snapshot(host="web2")) == "system"


@pytest.mark.parametrize(
    "tags",
    [
        ("job:system", "job:postgresql"),
        ("job:system", "job:"),
        ("job:",),
        ("job:system ",),
        (" job:system",),
        ("job:system\n",),
        ("job:sys/tem",),
        ("job:-system",),
        ("job:sÿstem",),
        ("job:" + "a" * 201,),
        ("job:job:system",),
    ],
)
def test_tags_that_no_job_writes_make_a_snapshot_that_of_no_job(tags: tuple[str, ...]) -> None:
    """Else garbage could make a dead job look alive, or push genuine snapshots out of its history."""
    assert named_by(snapshot(*tags)) is None
    assert JOBS.of(snapshot(*tags)) is None
    assert JOBS.group(snapshot(*tags)) == Group("web1", "", ("/etc", "/home"))


@given(st.text(max_size=220))
def test_every_name_that_a_job_can_have_comes_back_from_its_tag(name: str) -> None:
    try:
        job_name(name)
    except ValueError:
        return
    assert named_by(snapshot(TAG + name)) == name
    assert Jobs([{"name": name, "paths": ["/"]}]).of(snapshot(TAG + name)) == name


def test_a_job_is_restored_by_its_tag_and_by_its_paths_where_it_has_none() -> None:
    def made(name: str, day: int, *tags: str, **more: Any) -> dict[str, Any]:
        return {**snapshot(*tags, **more), "id": name, "time": f"2026-07-{day:02d}T03:00:00Z"}

    found = [
        made("before", 1),
        made("dump", 1, "job:postgresql", paths=("/old.sql",)),
        made("tagged", 2, "job:system", paths=("/etc",)),
        made("two jobs", 3, "job:system", "job:postgresql"),
        made("gone", 4, "job:gone"),
    ]
    known = [{"name": "system", "paths": ["/etc", "/home"]}, {"name": "postgresql", "paths": ["/all.sql"]}]
    assert [one["id"] for one in newest_of_each(found, known, "r")] == ["tagged", "dump"]
    assert [one["id"] for one in newest_of_each(found[:1], known[:1], "r")] == ["before"]
    with pytest.raises(RestoreError, match=r"no snapshot of the job postgresql.* snapshots of: job system.$"):
        newest_of_each(found[:1], known, "r")
    with pytest.raises(RestoreError, match="There are snapshots of: /etc, /home; job gone; job postgresql; job system"):
        newest_of_each(found, [], "r")
    assert [one["id"] for one in newest_of_each(found[2:3], [], "r")] == ["tagged"]


WORDS = st.sampled_from(
    ["job:system", "job:postgresql", "job:", "job:gone", "job:x y", "job: system", "nightly", "", "Job:system"]
)


@given(
    st.lists(st.one_of(WORDS, st.text(max_size=30), st.text(max_size=30).map(TAG.__add__)), max_size=4),
    st.lists(st.sampled_from(["/etc", "/home", "/all.sql", "relative", "/../etc"]), max_size=3),
    st.sampled_from(["web1", "web2", ""]),
)
def test_a_snapshot_is_of_a_job_only_with_its_one_tag_or_with_no_tag_and_its_paths(
    tags: list[str], paths: list[str], host: str
) -> None:
    one = snapshot(*tags, paths=tuple(paths), host=host)
    job = JOBS.of(one)
    of_jobs = {tag for tag in tags if tag.strip().startswith("job:")}
    if job is not None:
        assert host == "web1"
        assert of_jobs == {TAG + job} or (not of_jobs and job in ("system", "postgresql"))
    if len(of_jobs) > 1:
        assert job is None
        assert JOBS.group(one).job == ""
