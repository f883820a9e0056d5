# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What restic itself cannot be asked: policies that make no sense, and times that are not the claimed ones."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.durations import (
    Duration,
    DurationError,
    parse_duration,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.retention import (
    Decision,
    Policy,
    RetentionError,
    claimed_time,
    policy_from,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.retention_plan import Plan, Times, decide

NOON = datetime(2026, 7, 1, 12, tzinfo=timezone.utc)
NOW = NOON + timedelta(hours=1)


def snapshot(name: str, moment: datetime, **more: Any) -> dict[str, Any]:
    return {"id": name, "time": moment.isoformat(), "hostname": "web1", "paths": ["/srv"], **more}


def days(number: int) -> list[dict[str, Any]]:
    """One snapshot a day, the newest first."""
    return [snapshot(f"day{back}", NOON - timedelta(days=back)) for back in range(number)]


def by_claim(snapshots: list[dict[str, Any]], **params: Any) -> list[Decision]:
    return decided(snapshots, policy_from(params))


def decided(snapshots: list[dict[str, Any]], policy: Policy, **more: Any) -> list[Decision]:
    stored = {one["id"]: claimed_time(one) for one in snapshots} if "stored" not in more and snapshots else {}
    return decide(snapshots, Plan(policy), Times(**{"counts": claimed_time, "stored": stored, "now": NOW, **more}))


def kept(decisions: list[Decision]) -> list[str]:
    return [decision.id for decision in decisions if decision.keep]


def test_reasons_are_those_of_restic() -> None:
    decisions = by_claim(days(4), keep_daily=2, keep_within="1d1h")
    assert decisions == [
        Decision("day0", True, ("within 1d1h", "daily snapshot")),
        Decision("day1", True, ("within 1d1h", "daily snapshot")),
        Decision("day2", False, ()),
        Decision("day3", False, ()),
    ]


def test_what_was_stored_within_the_grace_is_kept_whatever_the_counts_say() -> None:
    # The last genuine snapshot of a day, and one that an intruder made later on that day.
    ours = [
        snapshot("genuine", NOON - timedelta(hours=6)),
        snapshot("planted", NOON),
        snapshot("old", NOON - timedelta(days=8)),
    ]
    without = by_claim(ours, keep_daily=1)
    assert kept(without) == ["planted"]
    assert by_claim(ours, keep_daily=1, grace="7d") == [
        Decision("planted", True, ("daily snapshot", "grace")),
        Decision("genuine", True, ("grace",)),
        Decision("old", False, ()),
    ]
    assert by_claim(ours, keep_daily=1, grace="0") == by_claim(ours, keep_daily=1, grace="") == without


def test_the_grace_goes_by_the_time_of_storage_whatever_is_claimed() -> None:
    ours = [snapshot("new", NOON), snapshot("claims to be old", NOON - timedelta(days=300)), snapshot("old", NOON)]
    stored = {"new": NOON, "claims to be old": NOON, "old": NOON - timedelta(days=7, hours=1)}
    policy = policy_from({"keep_last": 1, "grace": "7d"})
    decisions = decided(ours, policy, stored=stored)
    assert kept(decisions) == ["old", "new", "claims to be old"]
    assert {decision.id: decision.reasons for decision in decisions}["old"] == ("last snapshot",)


def test_the_grace_is_no_policy_and_must_be_a_duration() -> None:
    with pytest.raises(RetentionError, match="No snapshots are to be kept"):
        by_claim(days(3), grace="7d")
    with pytest.raises(DurationError, match="grace is 'a week'"):
        by_claim(days(3), keep_last=1, grace="a week")


def test_the_oldest_is_kept_while_counts_are_left() -> None:
    hours = [snapshot(f"hour{back}", NOON - timedelta(hours=back)) for back in range(4)]
    assert by_claim(hours, keep_daily=7)[-1] == Decision("hour3", True, ("oldest daily snapshot",))


def test_invented_times_do_not_push_genuine_snapshots_out() -> None:
    genuine = days(30)
    bogus = [snapshot(f"bogus{ahead}", NOON + timedelta(days=ahead)) for ahead in range(1, 400)]
    uploaded = {**{one["id"]: claimed_time(one) for one in genuine}, **{one["id"]: NOON for one in bogus}}
    policy = policy_from({"keep_daily": 7, "keep_weekly": 5})

    claimed = decided(genuine + bogus, policy)
    assert not [name for name in kept(claimed) if name.startswith("day")]

    served = decided(genuine + bogus, policy, counts=lambda one: uploaded[one["id"]], stored=uploaded)
    alone = decided(genuine, policy)
    # The bogus ones share the day of their upload, and take no other day.
    assert set(kept(alone)) - set(kept(served)) <= {"day0"}


def test_zones_do_not_matter_for_upload_times() -> None:
    """A host that writes every snapshot in another zone gets no more days out of one day."""
    zones = [timezone(timedelta(hours=hours)) for hours in range(-12, 13)]
    same_day = [
        snapshot(f"zone{number}", (NOON - timedelta(minutes=number)).astimezone(zone))
        for number, zone in enumerate(zones)
    ]
    uploaded = {one["id"]: claimed_time(one).astimezone(timezone.utc) for one in same_day}
    older = days(3)[1:]
    uploaded.update({one["id"]: claimed_time(one) for one in older})
    policy = policy_from({"keep_daily": 3})
    decisions = decided(same_day + older, policy, counts=lambda one: uploaded[one["id"]], stored=uploaded)
    assert kept(decisions) == ["zone0", "day1", "day2"]


@pytest.mark.parametrize(
    "params", [{}, {"keep_last": 0}, {"keep_within": ""}, {"keep_within": "0d"}, {"keep_tags": []}]
)
def test_refuses_a_policy_that_keeps_nothing(params: dict[str, Any]) -> None:
    with pytest.raises(RetentionError, match="set at least one keep_ option"):
        by_claim(days(3), **params)


def test_refuses_to_empty_a_group() -> None:
    other = snapshot("other", NOON, hostname="db1", tags=["x"])
    with pytest.raises(RetentionError, match="every snapshot of /srv of host web1"):
        by_claim([*days(3), other], keep_tags=["x"])


def test_groups_are_decided_apart() -> None:
    """Order of paths does not make a group, hosts and paths do."""
    snapshots = [
        snapshot("a", NOON, paths=["/a", "/b"]),
        snapshot("b", NOON - timedelta(hours=1), paths=["/b", "/a"]),
        snapshot("c", NOON - timedelta(hours=2), paths=["/a"]),
        snapshot("d", NOON - timedelta(hours=3), hostname="db1"),
    ]
    assert kept(by_claim(snapshots, keep_last=1)) == ["d", "c", "a"]


@pytest.mark.parametrize("text", ["7", "d", "1w", "-1d", "1.5d", "1d x", "1234567d"])
def test_refuses_durations_that_restic_does_not_know(text: str) -> None:
    with pytest.raises(DurationError, match="keep_within_daily is"):
        policy_from({"keep_within_daily": text})


def test_refuses_numbers_below_minus_one() -> None:
    with pytest.raises(RetentionError, match="keep_last is -2"):
        policy_from({"keep_last": -2})


@pytest.mark.parametrize("claim", [None, "yesterday", "2026-07-01T12:00:00", "0000-01-01T00:00:00Z", 5])
def test_a_claimed_time_that_cannot_be_read_stops_it(claim: Any) -> None:
    with pytest.raises(RetentionError, match="The time of snapshot bad cannot be read"):
        by_claim([{**snapshot("bad", NOON), "time": claim}], keep_last=1)


def test_durations() -> None:
    length = parse_duration("1y2m3d4h")
    assert length == Duration(1, 2, 3, 4) and str(length) == "1y2m3d4h"
    assert str(parse_duration("0y3d")) == "3d"
    # Runs over into the next month, as 31 February does in restic.
    assert Duration(0, 1, 0, 0).before(datetime(2026, 3, 31, tzinfo=timezone.utc)) == datetime(
        2026, 3, 3, tzinfo=timezone.utc
    )
    assert Duration(9999, 0, 0, 0).before(NOON) is None
    assert Duration(0, 0, 999999, 999999).before(NOON) is None


def test_an_empty_policy_is_known_as_such() -> None:
    assert Policy().empty and not policy_from({"keep_last": -1}).empty
