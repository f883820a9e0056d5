# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user asks of a lock document, and what comes of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.desired import (
    MAX_AGE_SECONDS,
    desired_rules,
    parse_age,
    plan,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import LockRulesError, lock_set, same
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import open_window
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_lock_rules import HOLDER, NOW, documents, foreign, parts_lists, prefixes

LATER = NOW + timedelta(minutes=10)


def rule(name: str, prefix: str = "logs/", **changes: Any) -> dict[str, Any]:
    return {"id": name, "enabled": True, "prefix": prefix, "condition": {"type": "Indefinite"}, **changes}


def planned(current: list[dict[str, Any]], desired: list[dict[str, Any]], state: str = "present", **more: Any) -> Any:
    return plan(current, desired, state=state, now=NOW, **more)


def options(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    defaults = {"prefix": "logs/", "enabled": True, "retention": "indefinite", "age": None, "date": None}
    return {
        "rules": [{**defaults, **one} for one in rules],
        "repository": None,
        **more,
    }


# --- options


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1", 1), ("90s", 90), ("36h", 129600), ("90d", 7776000), ("2 w", 1209600), ("24855d", 2147472000)],
)
def test_age(text: str, seconds: int) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0d", "-1d", "1.5d", "d", "3 months", "1m", "24856d", "99999999999", "٣d"])
def test_age_that_makes_no_sense(text: str) -> None:
    with pytest.raises(LockRulesError, match="is no age"):
        parse_age(text)


def test_options_become_rules() -> None:
    params = options(
        {"id": "a"},
        {"id": "b", "retention": "age", "age": "1d", "enabled": False},
        {"id": "c", "retention": "date", "date": "2027-01-01T01:00:00+01:00"},
        repository="web1",
    )
    assert desired_rules(params) == [
        *lock_set("web1/"),
        rule("a"),
        rule("b", enabled=False, condition={"type": "Age", "maxAgeSeconds": 86400}),
        rule("c", condition={"type": "Date", "date": "2027-01-01T00:00:00Z"}),
    ]


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        (options({"id": "holdfast/data"}), "use the option repository"),
        (options({"id": "a", "retention": "age", "age": "soon"}), "Rule 'a': 'soon' is no age"),
        (options({"id": "a", "retention": "date", "date": "soon"}), "Rule 'a': 'soon' is no date"),
        (options({"id": "a", "retention": "date", "date": "2027-01-01T00:00:00"}), "with a time and its zone"),
        (options(repository="../x"), "no prefix of a repository"),
    ],
)
def test_options_that_make_no_sense(params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LockRulesError, match=sentence):
        desired_rules(params)


# --- plans


@given(documents(), prefixes)
def test_present_is_idempotent_and_leaves_others_as_they_were_read(
    document: tuple[list[dict[str, Any]], list[str]], prefix: str
) -> None:
    current, held = document
    current = [one for one in current if one.get("prefix") != "" and "prefix" in one]
    after = planned(current, lock_set(prefix))
    assert foreign(after) == foreign(current)
    assert [one for one in after if one in current] == current
    assert planned(after, lock_set(prefix)) == after
    assert (prefix in held) == (after == current)


@given(documents())
def test_present_then_absent_is_identity(document: tuple[list[dict[str, Any]], list[str]]) -> None:
    current = [one for one in document[0] if "prefix" in one and one["prefix"] != ""]
    added = planned(current, lock_set("new/"))
    assert planned(added, lock_set("new/"), "absent") == current


@given(documents(), parts_lists, st.sampled_from(["present", "absent", "exact"]))
def test_live_window_is_never_cut(
    document: tuple[list[dict[str, Any]], list[str]], parts: list[str], state: str
) -> None:
    current, held = document
    live = open_window(current, held[0], parts, lease=LATER, holder=HOLDER)
    with pytest.raises(LockRulesError, match="is at work"):
        planned(live, lock_set(held[0]), state, purge=True)


@pytest.mark.parametrize("lease", [NOW, None], ids=["overdue", "orphaned"])
@pytest.mark.parametrize("state", ["present", "exact"])
def test_window_that_nobody_holds_any_more_is_closed(lease: datetime | None, state: str) -> None:
    rules = open_window(lock_set(""), "", ["data", "keys"], lease=lease or NOW, holder=HOLDER)
    if lease is None:
        rules = rules[:-1]
    assert planned(rules, lock_set(""), state) == lock_set("")


def test_live_window_of_another_repository_is_no_obstacle_and_stays() -> None:
    rules = open_window(lock_set("web1"), "web1", ["data"], lease=LATER, holder=HOLDER)
    assert planned(rules, lock_set("web2")) == rules + lock_set("web2")
    assert planned(rules, [rule("logs")]) == [*rules, rule("logs")]


def test_rule_that_is_as_wanted_stays_as_it_was_read() -> None:
    read = {"id": "a", "enabled": True, "prefix": "x", "new": 1, "condition": {"type": "Date", "date": "2020-01-01"}}
    desired = rule("a", "x", condition={"type": "Date", "date": "2020-01-01T00:00:00Z"})
    assert planned([read], [desired]) == [read], "a date that has passed since must not fail either"


def test_rule_that_differs_is_changed_in_its_place_and_keeps_unknown_fields() -> None:
    read = [rule("z"), rule("a", enabled=False, new=1), rule("b")]
    assert planned(read, [rule("a")]) == [rule("z"), rule("a", new=1), rule("b")]


def test_exact_needs_purge_to_remove_others() -> None:
    current = [rule("a"), rule("b"), *lock_set("web1")]
    with pytest.raises(LockRulesError, match=r"6 other rules .*'b'.*purge"):
        planned(current, [rule("a")], "exact")
    assert planned(current, [rule("a")], "exact", purge=True) == [rule("a")]
    assert planned(current, [rule("a"), rule("b"), *lock_set("web1")], "exact") == current


def test_purge_does_not_remove_under_a_live_window() -> None:
    rules = open_window(lock_set("web1"), "web1", ["data"], lease=LATER, holder=HOLDER)
    with pytest.raises(LockRulesError, match="is at work"):
        planned([rule("a"), *rules], [rule("a")], "exact", purge=True)


def test_absent_counts_ids_only_and_is_content_when_there_is_nothing() -> None:
    assert planned([rule("a", "x"), rule("b")], [rule("a", "", condition={"type": "Nonsense"})], "absent") == [
        rule("b")
    ]
    assert planned([], lock_set(""), "absent") == []


# --- what is refused


@pytest.mark.parametrize(
    ("desired", "sentence"),
    [
        ([rule("a"), rule("a", "x")], "'a' is given 2 times"),
        ([rule("", "x")], "is no id"),
        ([rule("a\nb", "x")], "is no id"),
        ([rule("a", "")], "allow_whole_bucket"),
        ([rule("a", "/x")], "must not begin with a slash"),
        ([rule("a", "x\x00")], "control characters"),
        ([rule("a", condition={"type": "Age", "maxAgeSeconds": 0})], "above 0"),
        ([rule("a", condition={"type": "Age", "maxAgeSeconds": -5})], "above 0"),
        ([rule("a", condition={"type": "Age", "maxAgeSeconds": True})], "above 0"),
        ([rule("a", condition={"type": "Date", "date": "2026-11-23T03:59:59Z"})], "in the past"),
        ([rule("a", condition={"type": "Date", "date": "2127-01-01"})], "100 years"),
        ([rule("a", condition={"type": "Date", "date": "soon"})], "cannot be read"),
        ([rule("a", condition={})], "none of Indefinite"),
        ([rule(str(n), f"{n}/") for n in range(1001)], "R2 allows 1000"),
    ],
)
def test_nonsense_is_refused(desired: list[dict[str, Any]], sentence: str) -> None:
    for state in ("present", "exact"):
        with pytest.raises(LockRulesError, match=sentence):
            planned([], desired, state)


def test_whole_bucket_is_accepted_by_name() -> None:
    assert planned([], [rule("a", "")], allow_whole_bucket=True) == [rule("a", "")]


@pytest.mark.parametrize("prefix", ["", "w", "web1/", "web1/lo", "web1/locks/", "web1/locks/ab"])
@pytest.mark.parametrize("enabled", [True, False])
def test_no_rule_of_ours_can_ever_hold_the_locks_of_a_repository(prefix: str, enabled: bool) -> None:
    covering = rule("a", prefix, enabled=enabled)
    for current, desired in ([], [*lock_set("web1"), covering]), (lock_set("web1"), [covering]):
        with pytest.raises(LockRulesError, match="'web1/locks/' of a repository"):
            planned(current, desired, allow_whole_bucket=True)


def test_foreign_rule_that_holds_the_locks_stops_a_lock_set_unless_it_is_off() -> None:
    with pytest.raises(LockRulesError, match="own lock files"):
        planned([rule("a", "")], lock_set(""))
    assert planned([rule("a", "", enabled=False)], lock_set("")) == [rule("a", "", enabled=False), *lock_set("")]


def test_repository_whose_files_would_hold_the_locks_of_another_is_refused() -> None:
    for one, other in ("", "data/x"), ("", "config-of-all"), ("a", "a/index"):
        with pytest.raises(LockRulesError, match="locks/"):
            planned(lock_set(one), lock_set(other))


def test_rule_whose_prefix_is_no_text_may_hold_anything() -> None:
    with pytest.raises(LockRulesError, match=r"'a'.*would hold 'locks/'"):
        planned([rule("a", prefix=5)], lock_set(""))


def test_removing_a_rule_that_holds_the_locks_is_possible() -> None:
    assert planned([rule("a", ""), *lock_set("")], [rule("a")], "absent") == lock_set("")


@pytest.mark.parametrize("state", ["present", "absent", "exact"])
def test_document_edited_into_nonsense_is_left_alone(state: str) -> None:
    for rules in (
        [*lock_set(""), rule("a"), rule("a")],
        [{**one, "prefix": "elsewhere/"} if one["id"] == "holdfast/data" else one for one in lock_set("")],
    ):
        with pytest.raises(LockRulesError, match="correct it by hand"):
            planned(rules, lock_set(""), state, purge=True)


def test_age_limit_is_what_a_signed_number_of_32_bits_holds() -> None:
    assert parse_age(str(MAX_AGE_SECONDS)) == MAX_AGE_SECONDS
    assert (
        same(planned([], lock_set("", {"type": "Age", "maxAgeSeconds": MAX_AGE_SECONDS})), planned([], lock_set("")))
        is False
    )


@pytest.mark.parametrize("state", ["present", "absent"])
def test_document_with_an_id_twice_is_left_alone_whatever_is_asked(state: str) -> None:
    with pytest.raises(LockRulesError, match="more than once"):
        planned([rule("a"), rule("a", "x")], [rule("b")], state)
