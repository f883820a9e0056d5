# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Divides the setting backup_jobs: fields for the host, for what judges snapshots, and for what restores and drills them. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..module_utils._common.arguments import JOB
from ..module_utils._restic.jobs import paths_in_snapshots

# What its snapshots are judged by, beside its name and paths; and what only the maintenance node needs to know of a job.
JUDGED = tuple(name for name in JOB if name not in ("name", "paths"))
OF_THE_NODE = (*JUDGED, "drill")

Job = Mapping[str, Any]


def jobs_on_host(jobs: Iterable[Job]) -> list[dict[str, Any]]:
    """Jobs as the host gets to know them."""
    return [{name: value for name, value in job.items() if name not in OF_THE_NODE} for job in jobs]


def jobs_to_judge(jobs: Iterable[Job]) -> list[dict[str, Any]]:
    """Names of jobs, the paths of their snapshots, and what is expected of them where it is not as for the whole host."""
    return [
        {
            "name": job["name"],
            "paths": paths_in_snapshots(job),
            **{name: job[name] for name in JUDGED if job.get(name) is not None},
        }
        for job in jobs
    ]


def jobs_to_restore(jobs: Iterable[Job], names: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Names of jobs, and the paths of their snapshots; those with these names, or all."""
    chosen = list(names)
    return [
        {"name": job["name"], "paths": paths_in_snapshots(job)} for job in jobs if not chosen or job["name"] in chosen
    ]


def drill_plan(jobs: Iterable[Mapping[str, Any]], name: str, size: str = "1G") -> dict[str, Any]:
    """The fields `drill` of a job, with its bounds as numbers."""
    drill = next((job.get("drill") or {} for job in jobs if job["name"] == name), {})
    return {
        "command": drill.get("command") or [],
        "expect": drill.get("expect") or [],
        "bytes": byte_count(drill.get("bytes") or size),
        "memory": byte_count(drill.get("memory") or "2G"),
    }


def byte_count(size: str) -> int:
    """The number of bytes of a size such as 500M."""
    unit = size[-1].lower()
    return int(size) if unit.isdigit() else int(size[:-1]) << {"b": 0, "k": 10, "m": 20, "g": 30, "t": 40}[unit]
