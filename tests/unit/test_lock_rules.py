# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pure part of lock documents: reading, recognising, opening, closing."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils import _lock_rules as lock
from ansible_collections.holdfast.restic_r2.plugins.module_utils._dates import format_date, parse_date
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=timezone.utc)
SOON = NOW + timedelta(minutes=10)
HOLDER, OTHER = "a" * 16, "b" * 16

prefixes = st.sampled_from(["", "web1/", "web2/", "a/b/", "new/x/", "é/"])
conditions = st.one_of(
    st.just({"type": "Indefinite"}),
    st.builds(lambda age: {"type": "Age", "maxAgeSeconds": age}, st.integers(1, 2**31 - 1)),
    st.sampled_from(["2027-01-01T00:00:00Z", "2027-01-01T01:00:00.000+01:00", "2027-01-01"]).map(
        lambda date: {"type": "Date", "date": date}
    ),
    st.just({"type": "Unheard", "of": [1, {"x": None}]}),
)
foreign_rules = st.lists(
    st.fixed_dictionaries(
        {"id": st.text(min_size=1, max_size=8).map(lambda text: "x" + text)},
        optional={
            "enabled": st.booleans(),
            "prefix": st.sampled_from(["", "logs/", "web1/exports/"]),
            "condition": conditions,
            "unknown": st.dictionaries(st.text(max_size=3), st.integers()),
        },
    ),
    max_size=5,
    unique_by=lambda rule: rule["id"],
)
parts_lists = st.lists(st.sampled_from(lock.PARTS), min_size=1, unique=True)


@st.composite
def documents(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[str]]:
    """A document in any order with whole lock sets, and the prefixes of their repositories."""
    held = draw(st.lists(prefixes, min_size=1, max_size=4, unique=True))
    rules = [rule for prefix in held for rule in lock.lock_set(prefix)] + draw(foreign_rules)
    return draw(st.permutations(rules)), held


def foreign(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule for rule in rules if not rule["id"].startswith("holdfast/")]


def opened(rules: list[dict[str, Any]], prefix: str = "", *parts: str, holder: str = HOLDER) -> list[dict[str, Any]]:
    return lock.open_window(rules, prefix, parts or ["data"], lease=SOON, holder=holder)


# --- spelling


@pytest.mark.parametrize(
    ("given_", "expected"), [("", ""), ("web1", "web1/"), ("web1/", "web1/"), ("a/b", "a/b/"), ("..a/", "..a/")]
)
def test_prefix_is_normalised(given_: str, expected: str) -> None:
    assert lock.normalise_prefix(given_) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        *("/", "/a", "a//", "a//b", "..", "a/../b", "./a", "a\n", "a\x7f", "x" * 901),
        # restic would work below a1/, a/ and a/, where the locks are not.
        *("a%31", "a?b", "a#b"),
    ],
)
def test_prefix_that_makes_no_sense_is_refused(wrong: str) -> None:
    with pytest.raises(lock.LockRulesError):
        lock.normalise_prefix(wrong)


def test_lock_set_holds_five_prefixes_and_never_the_locks() -> None:
    rules = lock.lock_set("web1")
    assert {rule["id"]: rule["prefix"] for rule in rules} == {
        "holdfast/web1/config": "web1/config",
        "holdfast/web1/data": "web1/data/",
        "holdfast/web1/index": "web1/index/",
        "holdfast/web1/keys": "web1/keys/",
        "holdfast/web1/snapshots": "web1/snapshots/",
    }
    assert all(rule["enabled"] and rule["condition"] == {"type": "Indefinite"} for rule in rules)
    assert not any("web1/locks/".startswith(rule["prefix"]) for rule in rules)


@pytest.mark.parametrize(
    "spelling",
    [
        "2027-01-01",
        "2027-01-01T00:00:00Z",
        "2027-01-01T00:00:00.000Z",
        "2027-01-01T01:30:00+01:30",
        "2026-12-31 23:00:00-0100",
    ],
)
def test_dates_are_compared_as_instants(spelling: str) -> None:
    moment = parse_date(spelling)
    assert moment is not None
    assert format_date(moment) == "2027-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "wrong",
    [None, 5, "", "soon", "2027-02-30", "2027-01-01T25:00:00Z", "2027-01-01T00:00:00", "0001-01-01T00:00:00+01:00"],
)
def test_what_is_no_date_is_none(wrong: Any) -> None:
    assert parse_date(wrong) is None


def test_spelling_and_order_make_no_difference() -> None:
    one = [
        {"id": "a", "enabled": True, "prefix": "", "condition": {"type": "Date", "date": "2027-01-01"}},
        {"id": "b", "enabled": True, "prefix": "x", "condition": {"type": "Indefinite"}, "extra": 1},
    ]
    two = [
        {"id": "b", "enabled": True, "prefix": "x", "condition": {"type": "Indefinite"}},
        {"id": "a", "enabled": True, "condition": {"type": "Date", "date": "2027-01-01T00:00:00.000Z"}},
    ]
    assert lock.same(one, two)


@pytest.mark.parametrize(
    ("field", "value"),
    [("enabled", False), ("prefix", "y"), ("condition", {"type": "Age", "maxAgeSeconds": 5}), ("id", "c")],
)
def test_every_field_that_counts_makes_a_difference(field: str, value: Any) -> None:
    rule = {"id": "b", "enabled": True, "prefix": "x", "condition": {"type": "Indefinite"}}
    assert not lock.same([rule], [{**rule, field: value}])
    assert not lock.same([rule], [rule, rule])


# --- reading


@pytest.mark.parametrize("result", [{}, {"rules": []}])
def test_bucket_that_never_had_rules(result: Any) -> None:
    assert lock.rules_of(result, "b") == []


@pytest.mark.parametrize(
    "result",
    [None, [], "x", {"rules": None}, {"rules": {}}, {"rules": ["x"]}, {"rules": [{}]}, {"rules": [{"id": ""}]}],
)
def test_nonsense_is_an_error_and_never_an_empty_document(result: Any) -> None:
    with pytest.raises(lock.LockRulesError, match="backup-web1"):
        lock.rules_of(result, "backup-web1")


# --- windows


@given(documents(), parts_lists)
def test_open_then_close_is_identity(document: tuple[list[dict[str, Any]], list[str]], parts: list[str]) -> None:
    rules, held = document
    before = copy.deepcopy(rules)
    window = opened(rules, held[0], *parts)
    assert not lock.same(window, rules)
    assert lock.close_window(window, held[0]) == before
    assert lock.close_window(window, held[0], HOLDER) == before
    assert rules == before, "the argument must not be changed"


@given(documents(), parts_lists)
def test_foreign_rules_and_other_repositories_are_never_changed(
    document: tuple[list[dict[str, Any]], list[str]], parts: list[str]
) -> None:
    rules, held = document
    others = [rule for rule in rules if (lock.identify(rule) or ("", ""))[0] != held[0] or rule in foreign(rules)]
    window = opened(rules, held[0], *parts)
    extended = lock.extend_window(window, held[0], HOLDER, SOON + timedelta(hours=1))
    for after in (window, extended, lock.close_window(extended, held[0])):
        assert foreign(after) == foreign(rules)
        assert [rule for rule in after if rule in others] == others


@given(documents(), parts_lists)
def test_the_document_alone_tells_what_is_open(
    document: tuple[list[dict[str, Any]], list[str]], parts: list[str]
) -> None:
    rules, held = document
    assert lock.windows(rules) == []
    (found,) = lock.windows(opened(rules, held[0], *parts))
    assert (found.prefix, set(found.parts), found.lease, found.holder) == (held[0], set(parts), SOON, HOLDER)
    assert found.live(NOW)
    assert not found.overdue(NOW)
    assert found.overdue(SOON)


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
    overdue = lock.open_window(lock.lock_set(""), "", ["data"], lease=NOW, holder=OTHER)
    with pytest.raises(lock.LockRulesError):
        opened(overdue)


def test_own_window_can_be_widened() -> None:
    rules = opened(opened(lock.lock_set(""), "", "snapshots"), "", "data")
    assert lock.windows(rules)[0].parts == ("data", "snapshots")
    assert sum(rule["id"] == "holdfast/window" for rule in rules) == 1


def test_window_needs_a_whole_lock_set() -> None:
    with pytest.raises(lock.LockRulesError, match="index missing"):
        opened([rule for rule in lock.lock_set("") if rule["id"] != "holdfast/index"])


@pytest.mark.parametrize(("parts", "holder"), [([], HOLDER), (["locks"], HOLDER), (["data"], ""), (["data"], "x/../y")])
def test_window_of_nonsense_is_refused(parts: list[str], holder: str) -> None:
    with pytest.raises(lock.LockRulesError):
        lock.open_window(lock.lock_set(""), "", parts, lease=SOON, holder=holder)


def test_window_needs_room_for_its_lease() -> None:
    filler = [
        {"id": str(n), "enabled": True, "prefix": f"{n}/", "condition": {"type": "Indefinite"}} for n in range(995)
    ]
    with pytest.raises(lock.LockRulesError, match="no room"):
        opened(filler + lock.lock_set(""))


def test_extending_moves_the_lease_forward_only_and_only_for_its_holder() -> None:
    rules = opened(lock.lock_set(""))
    assert lock.windows(lock.extend_window(rules, "", HOLDER, SOON + timedelta(hours=1)))[0].lease == SOON + timedelta(
        hours=1
    )
    assert lock.same(lock.extend_window(rules, "", HOLDER, NOW), rules)
    for wrong in (lock.lock_set(""), opened(lock.lock_set(""), holder=OTHER)):
        with pytest.raises(lock.LockRulesError, match="not extended"):
            lock.extend_window(wrong, "", HOLDER, SOON)


def test_closing_leaves_anothers_window_and_takes_an_orphan() -> None:
    anothers = opened(lock.lock_set(""), holder=OTHER)
    assert lock.close_window(anothers, "", HOLDER) == anothers
    orphan = [rule for rule in anothers if rule["id"] != "holdfast/window"]
    assert lock.windows(orphan)[0].orphaned
    assert lock.close_window(orphan, "", HOLDER) == lock.lock_set("")


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
    (window,) = lock.windows(rules)
    assert window.problem
    assert not (window.live(NOW) or window.overdue(NOW + timedelta(days=999)) or window.orphaned)
    for attempt in (
        lambda: lock.close_window(rules, ""),
        lambda: opened(rules),
        lambda: lock.extend_window(rules, "", HOLDER, SOON),
    ):
        with pytest.raises(lock.LockRulesError):
            attempt()


@pytest.mark.parametrize("case", [case for case in NONSENSE if case not in ("twice", "no enabled")])
def test_whoever_opened_a_window_can_close_it_beside_nonsense(case: str) -> None:
    after = lock.close_window(NONSENSE[case], "", HOLDER)
    assert {rule["id"]: rule["enabled"] for rule in after} == dict.fromkeys(
        (rule["id"] for rule in lock.lock_set("")), True
    )
    strange = [rule for rule in NONSENSE[case] if rule["id"] in ("holdfast/keys", "holdfast/index")]
    assert [rule for rule in after if rule["id"] in ("holdfast/keys", "holdfast/index")] == strange


def test_closing_does_not_enable_what_somebody_edited_into_nonsense() -> None:
    rules = edited("data", prefix="elsewhere/")
    after = lock.close_window(rules, "", HOLDER)
    assert [rule for rule in after if rule["enabled"] is not True] == [
        rule for rule in rules if rule["id"] == "holdfast/data"
    ]


def test_nonsense_of_one_repository_does_not_stop_another() -> None:
    rules = NONSENSE["lease unreadable"] + lock.lock_set("web1")
    assert lock.close_window(opened(rules, "web1"), "web1") == rules


def test_unknown_id_in_our_name_space_is_reported_but_blocks_nothing() -> None:
    rules = [*lock.lock_set(""), {"id": "holdfast/web1data", "enabled": False}]
    assert [problem.prefix for problem in lock.problems(rules)] == [None]
    assert lock.windows(rules) == []
    assert lock.windows(opened(rules))[0].live(NOW)
