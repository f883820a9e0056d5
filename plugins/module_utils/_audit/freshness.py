# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For verify and maintenance: finds jobs of a host that make no backups, and snapshots that belong to no job. Pure.

`Expected` holds what a person expects of snapshots.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Optional

from .._common.dates import format_date
from .._common.untrusted import shown
from .._restic.jobs import Group, Jobs
from .._restic.retention import Snapshot

# How many histories of no job are told, and how many paths of each: a host could make up thousands.
_MOST_RETIRED, _MOST_PATHS = 50, 5
_CALENDAR_DAYS = 366
# How many days a calendar of snapshots goes back.
_CALENDAR = 400


@dataclass(frozen=True)
class Expected:
    """What snapshots should be like.

    Args:
        hosts: The hosts that back up into the repository; empty for those of the baseline.
        paths: The paths that they back up; empty for those of the baseline.
        max_age: How old the newest snapshot may be; None for any age.
        longest: How long a backup may take, from the time that its snapshot claims to its upload.
        by_upload: Retention decides by the upload times.
        jobs: The jobs of the host; without any, nothing is known of them.
        ages: How old the newest snapshot of a job may be instead, by its name.
    """

    hosts: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    max_age: Optional[timedelta] = None
    longest: timedelta = timedelta(hours=48)
    by_upload: bool = True
    jobs: Jobs = field(default_factory=lambda: Jobs(()))
    ages: Mapping[str, timedelta] = field(default_factory=dict)

    def age_of(self, job: str) -> Optional[timedelta]:
        """How old the newest snapshot of a job may be."""
        return self.ages.get(job, self.max_age)


def stale(snapshots: Iterable[Snapshot], stored: Mapping[str, datetime], want: Expected, now: datetime) -> list[str]:
    """A sentence for each job without a snapshot that is fresh; where jobs are not known, one when the newest of all is not.

    Args:
        snapshots: Those that count.
        stored: When each was stored, by its id.
        want: What they should be like.
        now: The time of the service.
    """
    snapshots = list(snapshots)
    if not want.jobs.names:
        newest = max((stored[one["id"]] for one in snapshots), default=None)
        return _late("The newest snapshot", newest, want.max_age, now) if newest else []
    told = []
    for name in want.jobs.names:
        newest = max((stored[one["id"]] for one in snapshots if want.jobs.of(one) == name), default=None)
        if newest:
            told += _late(f"The newest snapshot of job {name}", newest, want.age_of(name), now)
        elif want.age_of(name) is not None:
            told.append(f"Job {name} has no snapshot.")
    return told


def _late(what: str, newest: datetime, limit: Optional[timedelta], now: datetime) -> list[str]:
    if limit is None or now - newest <= limit:
        return []
    return [
        f"{what} was uploaded {hours_since(newest, now):.1f} hours ago, more than {limit.total_seconds() / 3600:g}."
    ]


def hours_since(moment: datetime, now: datetime) -> float:
    """How many hours ago that was."""
    return round((now - moment).total_seconds() / 3600, 1)


def of_jobs(
    snapshots: Iterable[Snapshot], stored: Mapping[str, datetime], want: Expected, now: datetime
) -> list[dict[str, Any]]:
    """What there is of each job."""
    snapshots = list(snapshots)
    found = []
    for name in want.jobs.names:
        limit, own = want.age_of(name), [one for one in snapshots if want.jobs.of(one) == name]
        told = {"name": name, "max_age": limit.total_seconds() / 3600 if limit else None}
        found.append({**told, **_told(own, stored, now)})
    return found


def of_no_job(
    snapshots: Iterable[Snapshot], stored: Mapping[str, datetime], jobs: Jobs, now: datetime
) -> list[dict[str, Any]]:
    """The histories that belong to no job, the newest first. None where jobs are not known."""
    histories: dict[Group, list[Snapshot]] = {}
    for snapshot in snapshots if jobs.names else ():
        group = jobs.group(snapshot)
        if not jobs.has(group):
            histories.setdefault(group, []).append(snapshot)
    newest_first = sorted(histories.items(), key=lambda item: max(stored[one["id"]] for one in item[1]), reverse=True)
    return [
        {
            "host": shown(group.host),
            "job": group.job or None,
            "paths": [shown(path) for path in group.paths[:_MOST_PATHS]],
            **_told(own, stored, now),
        }
        for group, own in newest_first[:_MOST_RETIRED]
    ]


def _told(own: list[Snapshot], stored: Mapping[str, datetime], now: datetime) -> dict[str, Any]:
    """Figures of snapshots. The size is what the newest claims to hold, and restic before 0.17 claims none."""
    if not own:
        return {
            "snapshots": 0,
            "newest": None,
            "age_hours": None,
            "bytes": None,
            "oldest": None,
            "days": 0,
            "calendar": "0",
        }
    newest = max(own, key=lambda one: (stored[one["id"]], one["id"]))
    size = (newest.get("summary") or {}).get("total_bytes_processed")
    times = [stored[one["id"]] for one in own]
    days = {max(0, (now.date() - moment.date()).days) for moment in times}
    return {
        "snapshots": len(own),
        "newest": _to_seconds(max(times)),
        "age_hours": hours_since(max(times), now),
        "bytes": size if isinstance(size, int) else None,
        "oldest": _to_seconds(min(times)),
        "days": len(days),
        # A bit for each day, as far back as is shown.
        "calendar": f"{sum(1 << day for day in days if day < _CALENDAR_DAYS):x}",
    }


def _to_seconds(moment: datetime) -> str:
    return format_date(moment.replace(microsecond=0))
