# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers restore drills beside the record: which job was drilled when, and what came of it.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Optional

from .._common.beside_record import damaged, load_beside, save_beside
from .._common.dates import format_date, parse_date
from .._common.errors import HoldfastError
from .._common.untrusted import shown
from .read_through import length

FILE = "drills"
_TEXT = 1000
_NUMBERS = ("files", "bytes", "seconds", "bytes_per_second", "all_bytes", "all_seconds")

Drills = dict[str, dict[str, Any]]


class DrillRecordError(HoldfastError):
    """A drill cannot be planned."""


def load_drills(path: str) -> Drills:
    """The remembered drills, by job.

    Args:
        path: The folder of the record.
    """
    data = load_beside(path, FILE)
    if data is None:
        return {}
    jobs = data.get("jobs") if isinstance(data, dict) else None
    if not isinstance(jobs, dict) or not all(_sound(one) for one in jobs.values()):
        raise damaged(path, FILE)
    return jobs


def _sound(one: Any) -> bool:
    return isinstance(one, dict) and parse_date(one.get("at")) is not None and isinstance(one.get("ok"), bool)


def next_job(drills: Drills, names: Sequence[str], asked: Sequence[str]) -> str:
    """The job whose last drill is the longest ago, of those that are asked for, or of all.

    Raises:
        DrillRecordError: There is none.
    """
    unknown = [name for name in asked if name not in names]
    if unknown or not names:
        there = f"its jobs are {', '.join(names)}" if names else "it has no backup_jobs"
        raise DrillRecordError(f"There is no job {', '.join(unknown) or 'to drill'} on this host; {there}.")
    return min(asked or names, key=lambda name: str(drills.get(name, {}).get("at", "")))


def keep(path: str, job: str, at: str, result: Mapping[str, Any], jobs: Sequence[str]) -> Drills:
    """Remember what came of a drill; what is remembered of jobs that are gone is left out.

    Args:
        path: The folder of the record.
        job: The job.
        at: R2's time.
        result: What restic_drill returned.
        jobs: The jobs that there are.
    """
    drills = load_drills(path)
    ok = result.get("ok") is True
    before = drills.get(job, {}).get("ok_at")
    entry: dict[str, Any] = {"at": at, "ok": ok, "ok_at": at if ok else before}
    entry.update({name: result[name] for name in _NUMBERS if isinstance(result.get(name), (int, float))})
    entry["sample"] = result.get("sample") is True
    entry["snapshot"] = shown(result.get("snapshot") or "", 64)
    entry["text"] = shown(result.get("msg") or "", _TEXT)
    drills = {name: one for name, one in {**drills, job: entry}.items() if name in jobs}
    save_beside(path, FILE, {"jobs": drills})
    return drills


def drill_finding(
    path: str, now: datetime, within: str, jobs: Sequence[str], created: Optional[datetime]
) -> Optional[str]:
    """The problem of the drills of a repository, in a sentence; nothing when all is well.

    Args:
        path: The folder of the record.
        now: R2's time.
        within: How long ago the last drill of each job that was well may be.
        jobs: The jobs.
        created: When the repository was made, which is when its time begins.
    """
    limit, drills, late = length(within, now, "drilled_within"), load_drills(path), []
    for job in jobs:
        last = parse_date(drills.get(job, {}).get("ok_at")) or created
        if last is None or now - last > limit:
            late.append(f"{job} ({_when(drills.get(job))})")
    if not late:
        return None
    more = f" and {len(late) - 5} more" if len(late) > 5 else ""
    return f"No restore drill was well within {within}: job {', '.join(late[:5])}{more}; run the playbook drill."


def _when(drill: Optional[Mapping[str, Any]]) -> str:
    if not drill:
        return "never drilled"
    return f"the last one {drill['at'][:10]} {'was well' if drill['ok'] else 'failed'}"


def time_of(moment: datetime) -> str:
    return format_date(moment.replace(microsecond=0))
