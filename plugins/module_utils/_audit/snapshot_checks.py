# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judges the snapshots of a repository: unreadable, forged, foreign, stale. Pure.

Everything in a snapshot was written by the host. When it was stored is what the server says.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Optional

from .._common.dates import format_date
from .._common.untrusted import shown
from .._restic.jobs import Jobs
from .._restic.retention import RetentionError, Snapshot, claimed_time, group_of
from .baseline import Group
from .checks import BLOCK, WARN, Finding, below
from .freshness import Expected, stale

# Honest clocks differ by less than this.
_SKEW = timedelta(minutes=5)
# How many paths of a snapshot are told: a host could name thousands in each.
_MOST_PATHS = 20


def readable(names: Iterable[str], snapshots: Iterable[Snapshot]) -> list[Finding]:
    """There must be snapshots, and restic must have read every one of them.

    Args:
        names: The names of the objects below snapshots/.
        snapshots: What restic read.
    """
    read = {snapshot["id"] for snapshot in snapshots}
    unread = sorted({name for name in names if re.fullmatch(r"[0-9a-f]{64}", name)} - read)
    found = []
    if unread:
        evidence = f"restic cannot read {len(unread)} of the snapshot objects, the first is snapshots/{unread[0]}."
        what = "Find out who wrote it, and remove it in a manual window."
        found.append(Finding("snapshots_unreadable", BLOCK, evidence, what, below("snapshots", unread)))
    if not read:
        evidence = "The repository has no snapshot that can be read; prune would delete all of its data."
        what = "Make a backup first, or find out where the snapshots are."
        found.append(Finding("no_snapshots", BLOCK, evidence, what))
    return found


def plausible(snapshot: Snapshot, uploaded: datetime, longest: Optional[timedelta]) -> bool:
    """Whether the claimed time fits the upload: a backup starts before its snapshot is uploaded, and takes its time."""
    try:
        took = uploaded - claimed_time(snapshot)
    except (RetentionError, OverflowError):
        return False
    return took >= -_SKEW and (longest is None or took <= longest)


def clocks(
    snapshots: Iterable[Snapshot], uploaded: Mapping[str, datetime], accepted: Optional[Collection[str]], want: Expected
) -> list[Finding]:
    """A time that does not fit the upload is a wrong clock, or a lie that pushes genuine snapshots out of the policy.

    Args:
        snapshots: As restic lists them.
        uploaded: When each was stored.
        accepted: Those that are in the baseline; None when there is no baseline.
        want: What they should be like.
    """
    # Without a baseline, what was copied from elsewhere cannot be told from what is made up.
    longest = None if accepted is None and not want.by_upload else want.longest
    new, old = [], []
    for snapshot in snapshots:
        name = snapshot["id"]
        if name in (accepted or ()):
            if not plausible(snapshot, uploaded[name], None):
                old.append(name)
        elif not plausible(snapshot, uploaded[name], longest):
            new.append(name)
    found = []
    if new:
        hours = f"{want.longest.total_seconds() / 3600:g}"
        evidence = (
            f"{len(new)} snapshots claim a time after their upload or more than {hours} hours before it, the first is "
            f"{min(new)[:12]}."
        )
        what = (
            "Look at the host: its clock is wrong, or an attacker forges snapshots. Forget them in a manual window; or "
            "accept them with restic_audit and baseline=rebuild."
        )
        found.append(Finding("claimed_time", BLOCK, evidence, what, below("snapshots", new)))
    if old:
        evidence = f"{len(old)} snapshots claim a time after their upload, the first is {min(old)[:12]}."
        what = "Check the host's clock; decide by upload times until it is right."
        found.append(
            Finding("claimed_time", WARN if want.by_upload else BLOCK, evidence, what, below("snapshots", old))
        )
    return found


def strangers(snapshots: Iterable[Snapshot], groups: Collection[Group], want: Expected) -> list[Finding]:
    """Hosts and paths that are not expected.

    Args:
        snapshots: As restic lists them.
        groups: The hosts and paths of the baseline; empty when there is none.
        want: What they should be like.
    """
    hosts = want.hosts or {host for host, _paths in groups}
    paths = want.paths or {path for _host, group in groups for path in group}
    seen = {group_of(snapshot) for snapshot in snapshots}
    kinds = (
        ("unexpected_host", {host for host, _paths in seen} - hosts if hosts else set(), "hosts"),
        ("unexpected_paths", {path for _host, group in seen for path in group} - paths if paths else set(), "paths"),
    )
    what = "Nothing, if that is right; else look at the host."
    return [
        Finding(code, WARN, f"Snapshots name {len(names)} unexpected {kind}, the first is {min(names)[:100]!r}.", what)
        for code, names, kind in kinds
        if names
    ]


def fresh(
    snapshots: Iterable[Snapshot], uploaded: Mapping[str, datetime], want: Expected, now: datetime
) -> list[Finding]:
    """The newest snapshot of each job must be fresh; where jobs are not known, the newest of an expected host.

    Those whose time does not fit their upload do not count.
    """
    genuine = [
        one
        for one in snapshots
        if plausible(one, uploaded[one["id"]], want.longest)
        and (want.jobs.names or not want.hosts or group_of(one)[0] in want.hosts)
    ]
    told = stale(genuine, uploaded, want, now)
    if not genuine and want.max_age is not None:
        told = ["There is no snapshot of an expected host whose time fits its upload."]
    return [Finding("stale", WARN, evidence, "Find out why the host makes no backups.") for evidence in told]


def described(snapshot: Snapshot, uploaded: datetime, jobs: Jobs) -> dict[str, Any]:
    """What is told of a snapshot."""
    return {
        "id": snapshot["id"],
        "time": snapshot.get("time"),
        "uploaded": format_date(uploaded),
        "job": jobs.group(snapshot).job or None,
        "host": shown(snapshot.get("hostname") or ""),
        "paths": [shown(path) for path in (snapshot.get("paths") or ())[:_MOST_PATHS]],
    }
