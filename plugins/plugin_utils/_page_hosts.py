# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes from the inventory what the page shows of each host, also of one that the run is not about. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._shared_repositories import PLACE, place_of

# Settings of the role repository, and where they come from; then the jobs.
NAMES = (*PLACE, "repository_max_age", "holdfast_max_age", "backup_jobs")
_MAX_AGE = 26.0


def member(host: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Name, bucket, prefix, names of jobs and max_age of a host, by what was set for it and else by defaults."""
    place = place_of(host, values)
    jobs = values.get("backup_jobs")
    return {
        "name": host,
        "bucket": place[2],
        "prefix": place[3],
        "jobs": [str(job["name"]) for job in jobs if isinstance(job, Mapping) and job.get("name")]
        if isinstance(jobs, (list, tuple))
        else [],
        "max_age": _hours(values.get("repository_max_age", values.get("holdfast_max_age"))),
    }


def _hours(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return _MAX_AGE
