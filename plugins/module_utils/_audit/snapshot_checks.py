# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with the snapshots of a repository: unreadable, forged, foreign, gone stale. Pure.

Everything in a snapshot was written by the host. When it was stored is what the server says.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Optional

from .._restic.retention import RetentionError, Snapshot, claimed_time, group_of
from .baseline import Group
from .checks import BLOCK, WARN, Finding, below

# Honest clocks differ by less than this.
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Expected:
    """What snapshots should be like.

    Args:
        hosts: The hosts that back up into the repository; empty for those of the baseline.
        paths: The paths that they back up; empty for those of the baseline.
        max_age: How old the newest snapshot may be; None for any age.
        longest: How long a backup may take, from the time that its snapshot claims to its upload.
        by_upload: Retention decides by the upload times.
    """

    hosts: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    max_age: Optional[timedelta] = None
    longest: timedelta = timedelta(hours=48)
    by_upload: bool = True


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
            "Look at the host: a clock that is wrong, or somebody who forges snapshots. Forget them in a manual window; or "
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
    what = "Nothing, if that is right; else look at the host. Such snapshots are a group of their own for the policy."
    return [
        Finding(code, WARN, f"Snapshots name {len(names)} unexpected {kind}, the first is {min(names)[:100]!r}.", what)
        for code, names, kind in kinds
        if names
    ]


def fresh(
    snapshots: Iterable[Snapshot], uploaded: Mapping[str, datetime], want: Expected, now: datetime
) -> list[Finding]:
    """The newest snapshot with a plausible time, of an expected host, must be fresh."""
    if want.max_age is None:
        return []
    genuine = [
        uploaded[snapshot["id"]]
        for snapshot in snapshots
        if plausible(snapshot, uploaded[snapshot["id"]], want.longest)
        and (not want.hosts or group_of(snapshot)[0] in want.hosts)
    ]
    if genuine and now - max(genuine) <= want.max_age:
        return []
    limit = want.max_age.total_seconds() / 3600
    if genuine:
        age = (now - max(genuine)).total_seconds() / 3600
        evidence = f"The newest snapshot was uploaded {age:.1f} hours ago, more than {limit:g}."
    else:
        evidence = "There is no snapshot of an expected host whose time fits its upload."
    return [Finding("stale", WARN, evidence, "Find out why the host makes no backups.")]
