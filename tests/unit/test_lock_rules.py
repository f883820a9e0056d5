# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pure part of lock documents: reading and recognising."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.dates import format_date, parse_date
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks import rules as lock
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
