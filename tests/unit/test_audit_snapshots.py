# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings about snapshots."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit import snapshot_checks as audit
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.checks import Finding
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.snapshot_checks import Expected

NOW = datetime(2026, 7, 1, 12, tzinfo=timezone.utc)
A, B = "a" * 64, "b" * 64


def codes(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity) for finding in findings]


def claims(hours: float, **fields: Any) -> dict[str, Any]:
    """A snapshot that claims to have been begun so many hours before NOW."""
    return {"id": A, "time": (NOW - timedelta(hours=hours)).isoformat(), **fields}


def test_readable() -> None:
    assert audit.readable([A, "notes.txt"], [{"id": A}]) == []
    assert codes(audit.readable([], [])) == [("no_snapshots", "block")]
    unreadable = ("snapshots_unreadable", "block")
    assert codes(audit.readable([A], [])) == [unreadable, ("no_snapshots", "block")]
    assert codes(audit.readable([A, B], [{"id": A}])) == [unreadable]


@pytest.mark.parametrize(
    ("hours", "new", "accepted"),
    [
        (3, [], []),
        (-0.05, [], []),
        (48, [], []),
        (48.1, ["block"], []),
        (-1, ["block"], ["warn"]),
        (-24 * 365 * 5000, ["block"], ["warn"]),
        (24 * 365 * 10, ["block"], []),
    ],
)
def test_the_claimed_time_must_fit_the_upload(hours: float, new: list[str], accepted: list[str]) -> None:
    snapshots, uploaded, want = [claims(hours)], {A: NOW}, Expected()
    assert codes(audit.clocks(snapshots, uploaded, [], want)) == [("claimed_time", severity) for severity in new]
    assert codes(audit.clocks(snapshots, uploaded, [A], want)) == [("claimed_time", severity) for severity in accepted]


def test_a_time_that_cannot_be_read_is_no_time() -> None:
    assert codes(audit.clocks([{"id": A, "time": "never"}], {A: NOW}, [], Expected())) == [("claimed_time", "block")]


def test_who_decides_by_claimed_times_must_not_have_forged_ones() -> None:
    want = Expected(by_upload=False)
    assert codes(audit.clocks([claims(-1)], {A: NOW}, [A], want)) == [("claimed_time", "block")]
    # Copied from elsewhere, which is what these policies are for; with a baseline it must have been accepted.
    assert audit.clocks([claims(9000)], {A: NOW}, None, want) == []
    assert codes(audit.clocks([claims(9000)], {A: NOW}, [], want)) == [("claimed_time", "block")]


def test_hosts_and_paths() -> None:
    snapshots = [{"id": A, "hostname": "web1", "paths": ["/srv"]}, {"id": B, "hostname": "evil", "paths": ["/tmp"]}]
    assert audit.strangers(snapshots, [], Expected()) == []
    found = audit.strangers(snapshots, [("web1", ("/srv",))], Expected())
    assert codes(found) == [("unexpected_host", "warn"), ("unexpected_paths", "warn")]
    assert "'evil'" in found[0].evidence
    both = Expected(hosts=frozenset(["web1", "evil"]), paths=frozenset(["/srv"]))
    assert codes(audit.strangers(snapshots, [("x", ("/y",))], both)) == [("unexpected_paths", "warn")]


def test_freshness() -> None:
    snapshots = [claims(30, hostname="web1")]
    uploaded = {A: NOW - timedelta(hours=29)}
    assert audit.fresh(snapshots, uploaded, Expected(), NOW) == []
    assert audit.fresh(snapshots, uploaded, Expected(max_age=timedelta(hours=29)), NOW) == []
    late = Expected(max_age=timedelta(hours=26))
    assert codes(audit.fresh(snapshots, uploaded, late, NOW)) == [("stale", "warn")]
    # What is forged, or another host's, does not make the host's backups fresh.
    forged = [*snapshots, {**claims(-5), "id": B}]
    assert codes(audit.fresh(forged, {**uploaded, B: NOW}, late, NOW)) == [("stale", "warn")]
    other = [*snapshots, {**claims(0, hostname="db1"), "id": B}]
    mine = Expected(hosts=frozenset(["web1"]), max_age=timedelta(hours=26))
    assert codes(audit.fresh(other, {**uploaded, B: NOW}, mine, NOW)) == [("stale", "warn")]
    assert codes(audit.fresh([], {}, late, NOW)) == [("stale", "warn")]
