# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings about the objects of a repository."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit import contents_checks as audit
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.baseline import Baseline, Pack
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.checks import Finding
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.contents import MOST_NEW, Contents
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.contents_checks import Listing, listing
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.index_claims import (
    UNKNOWN,
    PackContents,
    short_id,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.new_packs import LARGEST, PackFile, batches
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3Object
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Repository, Restic

A, B, C = "a" * 64, "b" * 64, "c" * 64
HELD, OTHER = PackContents("1" * 64, short_id(A) + short_id(B)), PackContents("2" * 64, short_id(C))
BASELINE = Baseline(A, A, {A: 1}, frozenset([A]), {A: Pack(10, 1, HELD)})
SAME = Listing({A: 1}, {A}, {A: PackFile(10, 1)})


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def item(key: str) -> S3Object:
    return S3Object(key, 5, datetime(2026, 7, 1, 12, 0, 0, 999_000, tzinfo=timezone.utc), "")


def test_objects_are_sorted_by_kind() -> None:
    keys = ["config", f"data/aa/{A}", f"index/{B}", f"snapshots/{C}", f"keys/{A}"]
    found = listing([item(f"web1/{key}") for key in keys], "web1/")
    stored = 1782907200
    assert found == Listing({C: stored}, {B}, {A: PackFile(5, stored)})
    assert audit.strangers(found, ["config", "data/", "index/", "keys/", "locks/", "snapshots/", "holdfast/"]) == []


@pytest.mark.parametrize(
    "key",
    [f"data/bb/{A}", f"data/{A}", f"data/AA/{A.upper()}", f"index/{A}/x", f"snapshots/x/{A}", f"keys/{A.upper()}"],
)
def test_names_that_restic_takes_for_others(key: str) -> None:
    assert [(one.code, one.severity) for one in audit.strangers(listing([item(key)], ""), [])] == [
        ("misplaced_object", "block")
    ]


@pytest.mark.parametrize("key", ["config.bak", "data/aa/x", "index/", "keys/readme", f"snapshots/{A}.tmp"])
def test_names_that_restic_ignores(key: str) -> None:
    assert [(one.code, one.severity) for one in audit.strangers(listing([item(key)], ""), [])] == [
        ("unexpected_object", "warn")
    ]


def test_folders_of_others() -> None:
    found = audit.strangers(Listing(), ["config", "configs/", "junk/", "x\n"])
    assert codes(found) == ["unexpected_object"] and "2 objects" in found[0].evidence


def test_nothing_may_shrink_or_change() -> None:
    assert audit.shrunk(SAME, BASELINE) == []
    assert codes(audit.shrunk(Listing(), BASELINE)) == ["snapshots_gone", "index_gone", "packs_gone"]
    again = Listing({A: 2}, {A}, {A: PackFile(10, 2)})
    assert codes(audit.shrunk(again, BASELINE)) == ["snapshot_replaced", "pack_replaced"]
    assert codes(audit.shrunk(replace(SAME, packs={A: PackFile(11, 1)}), BASELINE)) == ["pack_replaced"]


def test_what_a_maintenance_that_died_has_removed_is_no_alarm() -> None:
    interrupted = replace(BASELINE, snapshots={A: 1, B: 1})
    deletes = {f"snapshots/{B}", f"index/{A}", f"data/aa/{A}"}
    assert audit.shrunk(Listing({A: 1}), interrupted, deletes) == []
    assert codes(audit.shrunk(Listing({B: 1}), interrupted, deletes)) == ["snapshots_gone"]
    assert codes(audit.shrunk(Listing({A: 1}), interrupted, {f"snapshots/{B}"})) == ["index_gone", "packs_gone"]
    assert codes(audit.shrunk(replace(SAME, packs={A: PackFile(9, 1)}), interrupted, deletes)) == ["pack_replaced"]


def test_index_objects_must_agree() -> None:
    assert audit.merged({A: {B: HELD}, B: {B: HELD, A: HELD}}, {A: HELD}) == ({B: HELD}, set())
    assert audit.merged({A: {B: HELD}, B: {B: OTHER}}, {})[1] == {B}
    assert audit.merged({B: {A: OTHER}}, {A: HELD})[1] == {B}
    # Of packs that are not there nothing is kept.
    assert audit.merged({A: {B: UNKNOWN}, B: {A: UNKNOWN}}, {A: HELD}) == ({B: UNKNOWN}, set())
    assert codes(audit.contradicting({B})) == ["index_contradicts"] and audit.contradicting(()) == []


def test_blobs_that_are_there_already_are_counted() -> None:
    assert audit.known_again({B: OTHER}, BASELINE) == 0
    assert audit.known_again({B: HELD}, BASELINE) == 2
    assert audit.known_again({B: HELD, C: HELD}, Baseline(A, A)) == 2
    assert audit.claims_known(0, read=False) == []
    assert [one.severity for read in (True, False) for one in audit.claims_known(1, read)] == ["warn", "block"]


def test_packs_must_be_there_and_hold_what_is_said() -> None:
    assert audit.missing([A], SAME) == audit.unreferenced([A], SAME) == audit.bogus({A: HELD}, {A: HELD}) == []
    assert codes(audit.missing([A, B], SAME)) == ["pack_missing"]
    assert codes(audit.unreferenced([B], SAME)) == ["unreferenced_packs"]
    assert codes(audit.bogus({A: HELD}, {})) == codes(audit.bogus({A: HELD}, {A: OTHER})) == ["bogus_pack"]
    assert codes(audit.rootless({A: B, B: C}, [C])) == ["missing_tree"]


def test_batches_are_no_larger_than_the_limit() -> None:
    sizes = {"a": 4, "b": 4, "c": 9, "d": 1, "e": 1, "f": LARGEST + 1}
    assert list(batches(sizes, 8)) == [["a", "b"], ["c"], ["d", "e"]]
    assert list(batches({}, 8)) == []


def test_more_new_index_objects_than_a_host_makes_are_not_read() -> None:
    """Nothing is asked of restic or of the bucket: there are none here."""
    names = {f"{number:064x}" for number in range(MOST_NEW + 1)}
    baseline = Baseline("0" * 64, "1" * 64)
    found = Contents(None, None, {}).inspect(Listing(indexes=names), baseline)  # type: ignore[arg-type]
    assert [finding.code for finding in found.findings] == ["too_many_objects"] and found.baseline == baseline
    assert f"{MOST_NEW + 1} new objects in index/" in found.findings[0].evidence


class Garbage:
    """A bucket in which no object is what its name says."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def get(self, key: str) -> bytes:
        self.read.append(key)
        return b"x"


def test_after_many_index_objects_that_cannot_be_read_no_more_are() -> None:
    names = {f"{number:064x}" for number in range(audit.MOST_BROKEN + 100)}
    restic = Restic(Repository("https://r2.example", "b", "", "key", "secret", None, "a long password"))
    garbage = Garbage()
    contents = Contents(restic, garbage, {})  # type: ignore[arg-type]
    found = contents.inspect(Listing(indexes=names), Baseline("0" * 64, "1" * 64)).findings
    named = next(one for one in found if one.code == "index_unreadable")
    unread = len(names) - len(garbage.read)
    assert audit.MOST_BROKEN <= len(named.objects) == len(garbage.read) < audit.MOST_BROKEN + 10
    assert [one.evidence.partition(" ")[0] for one in found if one.code == "too_many_objects"] == [str(unread)]
