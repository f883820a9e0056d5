# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit import checks as audit
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import open_window
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.retention import Decision

NOW = datetime(2026, 7, 1, 12, tzinfo=timezone.utc)
FOREIGN: dict[str, Any] = {"id": "theirs", "enabled": True, "condition": {"type": "Indefinite"}}
A, B = "a" * 64, "b" * 64


def codes(findings: list[audit.Finding]) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity) for finding in findings]


def opened(lease: timedelta) -> list[dict[str, Any]]:
    return open_window(lock_set("web1/"), "web1/", ["data"], lease=NOW + lease, holder="0123456789abcdef")


def without_lease() -> list[dict[str, Any]]:
    return [rule for rule in opened(timedelta(hours=1)) if rule["id"] != "holdfast/web1/window"]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (lock_set("web1/"), []),
        (lock_set("web1/") + lock_set("db1/")[1:], []),
        (lock_set("web1/")[1:], [("lock_set", "block")]),
        (lock_set("web1/") * 2, [("lock_document", "block")]),
        (opened(timedelta(minutes=5)), [("window_open", "block")]),
        (opened(timedelta(minutes=-5)), [("window_left_open", "block")]),
        (without_lease(), [("window_left_open", "block")]),
        ([*lock_set("web1/"), FOREIGN], [("foreign_rule", "block")]),
        ([*lock_set("web1/"), {**FOREIGN, "prefix": "web1/data/0"}], [("foreign_rule", "block")]),
        ([*lock_set("web1/"), {**FOREIGN, "prefix": "web1/locks"}], [("foreign_rule", "block")]),
        ([*lock_set("web1/"), {**FOREIGN, "prefix": "web1/keys/"}, {**FOREIGN, "id": "logs", "prefix": "logs/"}], []),
        ([*lock_set("web1/"), {**FOREIGN, "enabled": False}], []),
        ([*lock_set("web1/"), {**FOREIGN, "condition": {"type": "Date", "date": "2026-06-30T00:00:00Z"}}], []),
        (
            [*lock_set("web1/"), {**FOREIGN, "condition": {"type": "Date", "date": "2026-07-30T00:00:00Z"}}],
            [("foreign_rule", "block")],
        ),
        (lock_set("web1/", {"type": "Age", "maxAgeSeconds": 60}), [("lock_not_indefinite", "warn")]),
    ],
)
def test_locks(rules: list[dict[str, Any]], expected: list[tuple[str, str]]) -> None:
    assert codes(audit.locks(rules, "web1/", NOW)) == expected


def test_enforcement() -> None:
    assert audit.enforcement({"data/": "locked", "keys/": "locked"}) == []
    assert codes(audit.enforcement({"data/": "open", "keys/": "locked"})) == [("not_enforced", "block")]
    assert codes(audit.enforcement({"data/": "missing"})) == [("not_enforced", "block")]


def test_identity() -> None:
    assert audit.identity(A, [None, A, None]) == []
    assert codes(audit.identity(A, [B, A])) == [("repository_id", "block")]


def test_recorded() -> None:
    assert audit.recorded([A], [A], []) == []
    found = audit.recorded([A], [B], ["config"])
    assert codes(found) == [("foreign_key", "block"), ("key_gone", "block"), ("content_changed", "block")]


def test_unused() -> None:
    assert codes(audit.unused([])) == [("unused", "warn")]
    assert audit.unused([A]) == []


def test_duplicates() -> None:
    assert audit.duplicates(0) == []
    assert codes(audit.duplicates(3)) == [("duplicates", "warn")]


@pytest.mark.parametrize(("limit", "stops"), [("3", False), ("2", True), ("75%", False), ("74%", True), ("0", True)])
def test_removals(limit: str, stops: bool) -> None:
    decisions = [Decision(str(number), number == 0, ()) for number in range(4)]
    assert codes(audit.removals(decisions, limit)) == ([("too_many_removals", "block")] if stops else [])


@pytest.mark.parametrize("limit", ["", "many", "-1", "101%", "1.5"])
def test_limits_that_make_no_sense(limit: str) -> None:
    with pytest.raises(HoldfastError, match="max_remove is"):
        audit.parse_limit(limit, 10)


def test_what_vanished_must_have_been_planned() -> None:
    before = {"data/1": 1, "data/2": 2, "config": 3}
    assert audit.vanished(before, {"data/2": 2, "config": 3, "data/3": 9}, ["data/1"]) == []
    assert codes(audit.vanished(before, {"data/2": 2, "config": 3}, [])) == [("lost", "block")]
    assert codes(audit.vanished(before, {**before, "config": 4}, [])) == [("replaced", "block")]


def test_leftovers() -> None:
    assert audit.leftovers([]) == []
    assert codes(audit.leftovers(["data/2", "data/1"])) == [("leftovers", "warn")]


def test_nothing_may_be_otherwise_than_it_was_judged() -> None:
    assert audit.otherwise({}) == []
    found = audit.otherwise({"data/1": "changed", "index/1": "missing", "data/2": "changed"})
    assert codes(found) == [("lost", "block"), ("replaced", "block")]
    assert [one.objects for one in found] == [("index/1",), ("data/1", "data/2")]


KNOWN = {"config", f"keys/{A}", f"snapshots/{A}", f"snapshots/{B}", f"index/{A}", f"data/aa/{A}"}


@pytest.mark.parametrize(
    ("deletes", "wrong"),
    [
        ([f"snapshots/{A}"], ()),
        ([f"snapshots/{A}", f"index/{A}", f"data/aa/{A}"], ()),
        ([f"index/{A}"], (f"snapshots/{A}",)),
        ([f"snapshots/{A}", f"snapshots/{B}"], (f"snapshots/{B}",)),
        ([f"snapshots/{A}", f"data/bb/{B}"], (f"data/bb/{B}",)),
        ([f"snapshots/{A}", f"keys/{A}", "config"], ("config", f"keys/{A}")),
    ],
)
def test_only_what_was_asked_for_may_be_deleted(deletes: list[str], wrong: tuple[str, ...]) -> None:
    found = audit.unplanned(deletes, KNOWN, {A})
    assert codes(found) == ([("unplanned_deletes", "block")] if wrong else [])
    assert [one.objects for one in found] == ([wrong] if wrong else [])


def test_nothing_goes_that_the_new_index_names() -> None:
    assert audit.still_named([A], [f"data/bb/{B}", f"index/{A}"]) == []
    assert codes(audit.still_named([A, B], [f"data/bb/{B}"])) == [("unplanned_deletes", "block")]


def test_blocking_findings_are_told_in_one_line() -> None:
    warning = audit.duplicates(1)
    audit.stop_if_blocked(warning, "No window")
    with pytest.raises(audit.AuditError, match=r"^No window: The recorded key .* \(1 more findings like this\.\)$"):
        audit.stop_if_blocked([*warning, *audit.recorded([], [A], ["config"])], "No window")
