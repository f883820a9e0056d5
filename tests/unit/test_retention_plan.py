# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of the snapshots of each job, of what belongs to none, and of what a person wants to stay."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.durations import parse_duration
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.jobs import Jobs
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.retention import (
    NO_TIME,
    Policy,
    RetentionError,
    policy_from,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.retention_plan import (
    Hold,
    Plan,
    Times,
    decide,
    hold_from,
    protected_from,
    retired_keep_from,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 7, 1, 13, tzinfo=timezone.utc)
JOBS = Jobs([{"name": "files", "paths": ["/srv"]}, {"name": "sql", "command": ["dump"]}], ["web1"])
LAST = policy_from({"keep_last": 1})


def made(name: str, age: float, *tags: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "age": age, "hostname": "web1", "paths": ["/srv"], "tags": list(tags), **more}


def kept(snapshots: list[dict[str, Any]], plan: Plan, **more: Any) -> dict[str, tuple[str, ...]]:
    """The snapshots that stay, with the reasons."""
    stored = {one["id"]: NOW - timedelta(days=one["age"]) for one in snapshots}
    times = Times(lambda one: stored[one["id"]], stored, NOW, **more)
    return {one.id: one.reasons for one in decide(snapshots, plan, times) if one.keep}


def plan(policy: Policy = LAST, **more: Any) -> Plan:
    return Plan(policy, **{"jobs": JOBS, **more})


FRESH = [made("files-new", 0, "job:files"), made("sql-new", 0, "job:sql", paths=["/sql"])]


def test_a_job_stays_one_history_when_its_paths_change() -> None:
    ours = [*FRESH, made("tagged", 1, "job:files", paths=["/old"]), made("before", 2)]
    assert kept(ours, plan()).keys() == {"files-new", "sql-new"}


def test_each_job_has_its_own_policy_or_that_of_the_host() -> None:
    ours = [*FRESH, made("files-old", 1, "job:files"), made("sql-old", 1, "job:sql")]
    assert kept(ours, plan(policies={"sql": policy_from({"keep_last": 2})})).keys() == {
        "files-new",
        "sql-new",
        "sql-old",
    }


RETIRED = [
    made("gone", 100, "job:gone"),
    made("paths", 100, paths=["/elsewhere"]),
    made("renamed", 100, "job:files", hostname="web0"),
    made("both", 100, "job:files", "job:sql"),
    made("newer", 80, "job:gone"),
]


def test_what_belongs_to_no_job_stays_for_ever() -> None:
    assert kept([*FRESH, *RETIRED], plan()).keys() == {one["id"] for one in [*FRESH, *RETIRED]}
    assert kept(RETIRED, plan())["gone"] == ("belongs to no job",)


def test_with_retired_keep_a_history_goes_as_a_whole_after_its_newest_snapshot() -> None:
    assert kept([*FRESH, *RETIRED], plan(retired_keep=parse_duration("90d"))).keys() == {
        *(one["id"] for one in FRESH), "gone", "newer",
    }  # fmt: skip
    assert kept([*FRESH, *RETIRED], plan(retired_keep=parse_duration("70d"))).keys() == {one["id"] for one in FRESH}


def test_nothing_of_no_job_goes_before_every_job_has_a_snapshot() -> None:
    """A job that was renamed and does not run under its new name: the old one is all that there is of it."""
    renamed = [FRESH[0], made("postgresql", 300, "job:postgresql")]
    assert "postgresql" in kept(renamed, plan(retired_keep=parse_duration("90d")))


def test_the_grace_holds_for_what_belongs_to_no_job() -> None:
    policy = policy_from({"keep_last": 1, "grace": "200d"})
    assert len(kept([*FRESH, *RETIRED], plan(policy, retired_keep=parse_duration("1h")))) == len(FRESH) + len(RETIRED)


def test_without_known_jobs_the_policy_is_that_of_every_history() -> None:
    ours = [*FRESH, made("old", 1, "job:files", paths=["/x"]), made("older", 9), made("oldest", 10)]
    unknown = Plan(LAST, retired_keep=parse_duration("1h"))
    assert kept(ours, unknown).keys() == {"files-new", "sql-new", "older"}


def test_a_hold_keeps_everything_of_the_repository_or_of_one_job_until_it_ends() -> None:
    ours = [*FRESH, made("files-old", 1, "job:files"), made("sql-old", 1, "job:sql"), *RETIRED]
    hold, over = Hold(NOW + timedelta(hours=1), "audit"), Hold(NOW, "audit")
    retired = {"retired_keep": parse_duration("70d")}
    assert len(kept(ours, plan(holds={"": hold}, **retired))) == len(ours)
    # One of the same job on another host, which was perhaps this one.
    assert kept(ours, plan(holds={"sql": hold}, **retired)).keys() == {"files-new", "sql-new", "sql-old"}
    assert kept(ours, plan(holds={"files": hold}, **retired)).keys() == {"files-new", "sql-new", "files-old", "renamed"}
    assert kept(ours, plan(holds={"": over, "sql": over}, **retired)).keys() == {"files-new", "sql-new"}
    assert kept(ours, plan(holds={"sql": hold}))["sql-old"] == ("hold",)


def test_protected_snapshots_stay_and_those_that_are_not_there_are_known() -> None:
    ours = [*FRESH, made("a" * 64, 1, "job:files"), made("b" * 64, 100, "job:gone")]
    protecting = plan(protected=("a" * 8, "b" * 64, "c" * 8), retired_keep=parse_duration("1d"))
    assert kept(ours, protecting).keys() == {one["id"] for one in ours}
    assert protecting.unknown(ours) == ["c" * 8]


def test_nothing_stored_before_what_has_to_be_accepted_goes() -> None:
    ours = [
        *FRESH,
        *(made(f"{job}-{age}", age, f"job:{job}") for job in ("files", "sql") for age in (2, 4, 6)),
        *RETIRED,
    ]
    since = NOW - timedelta(days=3)
    held = kept(ours, plan(retired_keep=parse_duration("1d")), keep_before={"files": since})
    assert held.keys() == {"files-new", "sql-new", "files-4", "files-6", "renamed"}
    assert held["files-4"] == ("stored before what has to be accepted",)
    everything = kept(ours, plan(retired_keep=parse_duration("1d")), keep_before={"": since})
    assert everything.keys() == {one["id"] for one in ours if one["age"] > 3} | {"files-new", "sql-new"}


def test_a_policy_that_empties_a_job_is_refused() -> None:
    with pytest.raises(RetentionError, match="every snapshot of job sql of host web1"):
        kept(FRESH, plan(policies={"sql": policy_from({"keep_tags": ["x"]})}))
    with pytest.raises(RetentionError, match="set at least one keep_ option"):
        kept(FRESH, plan(Policy()))


# What an owned host can make up: any tags, names and paths, stored from now on.
GARBAGE = st.lists(
    st.builds(
        lambda age, tags, host, paths: {"age": age, "tags": tags, "hostname": host, "paths": paths},
        st.floats(0, 3),
        st.lists(st.sampled_from(["job:files", "job:sql", "job:gone", "job:", "job:x,y", "other"]), max_size=3),
        st.sampled_from(["web1", "web2", ""]),
        st.lists(st.sampled_from(["/srv", "/sql", "/x"]), max_size=2),
    ),
    max_size=60,
)
POLICIES = st.fixed_dictionaries(
    {"keep_last": st.integers(1, 3), "grace": st.sampled_from(["0", "2d"])},
    optional={"keep_daily": st.integers(1, 9), "keep_weekly": st.integers(1, 5), "keep_within": st.just("5d")},
)


@given(GARBAGE, POLICIES, st.sampled_from([NO_TIME, parse_duration("20d")]))
def test_no_tag_shortens_the_life_of_another_jobs_snapshots(garbage: Any, params: Any, keep: Any) -> None:
    """Garbage takes the places of its own history at most, and there no other ones than with the paths of before."""
    genuine = [
        made(f"{job}-{age}", age, *tags, paths=paths)
        for job, paths in (("files", ["/srv"]), ("sql", ["/sql"]))
        for age, tags in ((3.5, ["job:" + job]), (4, ["job:" + job]), (9, ["job:" + job]), (30, []), (31, []), (60, []))
    ]
    planted = [{"id": f"planted{number}", **one} for number, one in enumerate(garbage)]
    want = plan(policy_from(params), retired_keep=keep if any(keep) else None)
    alone, together = kept(genuine, want), kept([*genuine, *planted], want)
    touched = {JOBS.of(one) for one in planted}
    for one in genuine:
        if JOBS.of(one) not in touched:
            assert together.get(one["id"]) == alone.get(one["id"])
    # The same garbage as a host could always write it: with the paths of the job and no tag.
    as_before = [
        {**one, "tags": [], "paths": ["/srv"] if JOBS.of(one) == "files" else ["/sql"]}
        for one in planted
        if JOBS.of(one)
    ]
    before = kept([*genuine, *as_before], want)
    assert {name for name in before if "planted" not in name} == {name for name in together if "planted" not in name}


def test_the_day_of_a_hold_is_held_to_its_end() -> None:
    assert hold_from({"until": "2026-12-24", "reason": "audit"}).until == datetime(2026, 12, 25, tzinfo=timezone.utc)
    at_noon = hold_from({"until": "2026-12-24T12:00:00+02:00", "reason": " audit "})
    assert at_noon == Hold(datetime(2026, 12, 24, 10, tzinfo=timezone.utc), "audit")


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        ({}, "no date"),
        ({"until": "soon", "reason": "x"}, "no date"),
        ({"until": "2026-02-30", "reason": "x"}, "no date"),
        ({"until": "2026-12-24"}, "no reason"),
        ({"until": "2026-12-24", "reason": " "}, "no reason"),
    ],
)
def test_a_hold_needs_a_date_and_a_reason(said: dict[str, Any], missing: str) -> None:
    with pytest.raises(RetentionError, match=missing):
        hold_from(said)


def test_no_time_at_all_is_no_length_of_time_to_keep_what_belongs_to_no_job() -> None:
    assert retired_keep_from("") is None and retired_keep_from(None) is None
    for text in ("0d", "soon"):
        with pytest.raises(HoldfastError):
            retired_keep_from(text)


def test_ids_of_protected_snapshots_are_checked() -> None:
    assert protected_from(["0123abcd"]) == ("0123abcd",)
    for wrong in ("0123abc", "latest", "0123ABCD", "0" * 65):
        with pytest.raises(RetentionError, match="no id of a snapshot"):
            protected_from([wrong])
