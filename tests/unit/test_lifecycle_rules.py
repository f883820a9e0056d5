# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Planning of lifecycle rules."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2 import lifecycle_rules as lifecycle

ABORT = lifecycle.desired_rules(7, [])


def rule(name: str, prefix: str, **more: Any) -> dict[str, Any]:
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}, "Expiration": {"Days": 1}, **more}


def test_foreign_rules_stay_where_and_as_they_are() -> None:
    odd = {"Status": "Enabled", "Filter": {"And": {"Prefix": "x/", "Tags": []}}, "Transitions": [{"Days": 1}]}
    current = [odd, *lifecycle.desired_rules(3, []), rule("foreign", "logs/")]
    after = lifecycle.plan(current, ABORT, purge=False)
    assert after == [odd, *ABORT, rule("foreign", "logs/")]
    assert lifecycle.plan(after, ABORT, purge=False) == after
    assert lifecycle.plan(current, ABORT, purge=True) == ABORT


@pytest.mark.parametrize("place", [{"Filter": {"Prefix": ""}}, {"Prefix": ""}, {"Filter": {}}, {}])
def test_the_same_rule_in_another_spelling_is_not_touched(place: dict[str, Any]) -> None:
    found = {**{key: value for key, value in ABORT[0].items() if key != "Filter"}, **place}
    assert lifecycle.plan([found], ABORT, purge=False) == [found]


def test_a_filter_by_size_is_another_rule() -> None:
    found = {**ABORT[0], "Filter": {"Prefix": "", "ObjectSizeGreaterThan": 1}}
    assert lifecycle.plan([found], ABORT, purge=False) == ABORT


@pytest.mark.parametrize(
    ("mine", "locked", "hit"),
    [
        ("", "data/", True),
        ("da", "data/", True),
        ("data/", "data/", True),
        ("data/00", "data/", True),
        ("datb", "data/", False),
        ("locks/", "data/", False),
        ("x", "", True),
        ("config.old", "config", True),
    ],
)
def test_overlap_is_by_prefix_in_both_directions(mine: str, locked: str, hit: bool) -> None:
    assert bool(lifecycle.endangered([rule("a", mine)], [locked])) is hit


def test_only_enabled_deletions_are_dangerous() -> None:
    harmless = [{**rule("a", "data/"), "Status": "Disabled"}, *ABORT]
    assert lifecycle.endangered(harmless, ["data/"]) == []
    tagged = rule("a", "", Filter={"And": {"Prefix": "data/", "Tags": [{"Key": "k", "Value": "v"}]}})
    assert [prefix for rule, prefix in lifecycle.endangered([tagged], ["index/", "data/"])] == ["data/"]


def test_no_more_rules_than_the_service_holds() -> None:
    with pytest.raises(lifecycle.LifecycleError, match="at most 1000"):
        lifecycle.plan([rule(str(number), "x/") for number in range(1000)], ABORT, purge=False)
