# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Windows in a lock document: opening, extending, closing, and what counts as open."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks import rules as lock
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks import windows as leases
from hypothesis import given

from tests.unit.test_lock_rules import HOLDER, NOW, documents, foreign, parts_lists

SOON = NOW + timedelta(minutes=10)
OTHER = "b" * 16


def opened(rules: list[dict[str, Any]], prefix: str = "", *parts: str, holder: str = HOLDER) -> list[dict[str, Any]]:
    return leases.open_window(rules, prefix, parts or ["data"], lease=SOON, holder=holder)


@given(documents(), parts_lists)
def test_open_then_close_is_identity(document: tuple[list[dict[str, Any]], list[str]], parts: list[str]) -> None:
    rules, held = document
    before = copy.deepcopy(rules)
    window = opened(rules, held[0], *parts)
    assert not lock.same(window, rules)
    assert leases.close_window(window, held[0]) == before
    assert leases.close_window(window, held[0], HOLDER) == before
    assert rules == before, "the argument must not be changed"


@given(documents(), parts_lists)
def test_foreign_rules_and_other_repositories_are_never_changed(
    document: tuple[list[dict[str, Any]], list[str]], parts: list[str]
) -> None:
    rules, held = document
    others = [rule for rule in rules if (lock.identify(rule) or ("", ""))[0] != held[0] or rule in foreign(rules)]
    window = opened(rules, held[0], *parts)
    extended = leases.extend_window(window, held[0], HOLDER, SOON + timedelta(hours=1))
    for after in (window, extended, leases.close_window(extended, held[0])):
        assert foreign(after) == foreign(rules)
        assert [rule for rule in after if rule in others] == others


@given(documents(), parts_lists)
def test_the_document_alone_tells_what_is_open(
    document: tuple[list[dict[str, Any]], list[str]], parts: list[str]
) -> None:
    rules, held = document
    assert leases.windows(rules) == []
    (found,) = leases.windows(opened(rules, held[0], *parts))
    assert (found.prefix, set(found.parts), found.lease, found.holder) == (held[0], set(parts), SOON, HOLDER)
    assert found.live(NOW)
    assert not found.overdue(NOW)
    assert found.overdue(SOON)


def test_lease_beyond_any_that_we_write_counts_as_overdue_and_is_set_right() -> None:
    longest = NOW + leases.LONGEST_LEASE
    never = datetime(9999, 12, 31, tzinfo=timezone.utc)
    for lease, live in ((longest, True), (longest + timedelta(minutes=2), False), (never, False)):
        rules = leases.open_window(lock.lock_set(""), "", ["data"], lease=lease, holder=HOLDER)
        (window,) = leases.windows(rules)
        assert (window.live(NOW), window.overdue(NOW), window.implausible(NOW)) == (live, not live, not live)
    assert leases.windows(leases.extend_window(rules, "", HOLDER, SOON))[0].lease == SOON


def test_lease_rule_is_disabled_and_matches_no_object() -> None:
    lease = opened(lock.lock_set("web1"), "web1")[-1]
    assert lease == {
        "id": "holdfast/web1/window",
        "enabled": False,
        "prefix": f"web1/window/{HOLDER}",
        "condition": {"type": "Date", "date": "2026-11-23T04:10:00Z"},
    }


def test_window_is_not_opened_beside_anothers() -> None:
    with pytest.raises(lock.LockRulesError, match="held by"):
        opened(opened(lock.lock_set("")), holder=OTHER)
    overdue = leases.open_window(lock.lock_set(""), "", ["data"], lease=NOW, holder=OTHER)
    with pytest.raises(lock.LockRulesError):
        opened(overdue)


def test_own_window_can_be_widened() -> None:
    rules = opened(opened(lock.lock_set(""), "", "snapshots"), "", "data")
    assert leases.windows(rules)[0].parts == ("data", "snapshots")
    assert sum(rule["id"] == "holdfast/window" for rule in rules) == 1


def test_window_needs_a_whole_lock_set() -> None:
    with pytest.raises(lock.LockRulesError, match="index missing"):
        opened([rule for rule in lock.lock_set("") if rule["id"] != "holdfast/index"])


@pytest.mark.parametrize(("parts", "holder"), [([], HOLDER), (["locks"], HOLDER), (["data"], ""), (["data"], "x/../y")])
def test_window_of_nonsense_is_refused(parts: list[str], holder: str) -> None:
    with pytest.raises(lock.LockRulesError):
        leases.open_window(lock.lock_set(""), "", parts, lease=SOON, holder=holder)


def test_window_needs_room_for_its_lease() -> None:
    filler = [
        {"id": str(n), "enabled": True, "prefix": f"{n}/", "condition": {"type": "Indefinite"}} for n in range(995)
    ]
    with pytest.raises(lock.LockRulesError, match="no room"):
        opened(filler + lock.lock_set(""))


def test_extending_moves_the_lease_forward_only_and_only_for_its_holder() -> None:
    rules = opened(lock.lock_set(""))
    assert leases.windows(leases.extend_window(rules, "", HOLDER, SOON + timedelta(hours=1)))[
        0
    ].lease == SOON + timedelta(hours=1)
    assert lock.same(leases.extend_window(rules, "", HOLDER, NOW), rules)
    for wrong in (lock.lock_set(""), opened(lock.lock_set(""), holder=OTHER)):
        with pytest.raises(lock.LockRulesError, match="not extended"):
            leases.extend_window(wrong, "", HOLDER, SOON)


def test_closing_leaves_anothers_window_and_takes_an_orphan() -> None:
    anothers = opened(lock.lock_set(""), holder=OTHER)
    assert leases.close_window(anothers, "", HOLDER) == anothers
    orphan = [rule for rule in anothers if rule["id"] != "holdfast/window"]
    assert leases.windows(orphan)[0].orphaned
    assert leases.close_window(orphan, "", HOLDER) == lock.lock_set("")


def edited(part: str, **changes: Any) -> list[dict[str, Any]]:
    return [{**rule, **changes} if rule["id"] == f"holdfast/{part}" else rule for rule in opened(lock.lock_set(""))]


NONSENSE = {
    "prefix not ours": edited("keys", prefix="elsewhere/"),
    "no enabled": edited("data", enabled=None),
    "age of nothing": edited("index", condition={"type": "Age", "maxAgeSeconds": 0}),
    "unknown condition": edited("index", condition={"type": "Sometimes"}),
    "lease unreadable": edited("window", condition={"type": "Date", "date": "tomorrow"}),
    "lease not a date": edited("window", condition={"type": "Indefinite"}),
    "lease enabled": edited("window", enabled=True),
    "holder unreadable": edited("window", prefix="window/"),
    "twice": [*edited("data"), lock.lock_set("")[1]],
}


@pytest.mark.parametrize("rules", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_reported_and_left_alone(rules: list[dict[str, Any]]) -> None:
    assert len(lock.problems(rules)) == 1
    (window,) = leases.windows(rules)
    assert window.problem
    assert not (window.live(NOW) or window.overdue(NOW + timedelta(days=999)) or window.orphaned)
    for attempt in (
        lambda: leases.close_window(rules, ""),
        lambda: opened(rules),
        lambda: leases.extend_window(rules, "", HOLDER, SOON),
    ):
        with pytest.raises(lock.LockRulesError):
            attempt()


@pytest.mark.parametrize("case", [case for case in NONSENSE if case not in ("twice", "no enabled")])
def test_whoever_opened_a_window_can_close_it_beside_nonsense(case: str) -> None:
    after = leases.close_window(NONSENSE[case], "", HOLDER)
    assert {rule["id"]: rule["enabled"] for rule in after} == dict.fromkeys(
        (rule["id"] for rule in lock.lock_set("")), True
    )
    strange = [rule for rule in NONSENSE[case] if rule["id"] in ("holdfast/keys", "holdfast/index")]
    assert [rule for rule in after if rule["id"] in ("holdfast/keys", "holdfast/index")] == strange


def test_closing_does_not_enable_what_somebody_edited_into_nonsense() -> None:
    rules = edited("data", prefix="elsewhere/")
    after = leases.close_window(rules, "", HOLDER)
    assert [rule for rule in after if rule["enabled"] is not True] == [
        rule for rule in rules if rule["id"] == "holdfast/data"
    ]


def test_nonsense_of_one_repository_does_not_stop_another() -> None:
    rules = NONSENSE["lease unreadable"] + lock.lock_set("web1")
    assert leases.close_window(opened(rules, "web1"), "web1") == rules


def test_unknown_id_in_our_name_space_is_reported_but_blocks_nothing() -> None:
    rules = [*lock.lock_set(""), {"id": "holdfast/web1data", "enabled": False}]
    assert [problem.prefix for problem in lock.problems(rules)] == [None]
    assert leases.windows(rules) == []
    assert leases.windows(opened(rules))[0].live(NOW)
