# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the page as data: report.json, whose fields are described in docs/report.md. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Optional

from .._common.dates import format_date
from .figures import cost
from .judge import known_since, protected
from .model import STATES, Fleet, Host, Job, Problem, Signal, Window
from .render import address, totals

VERSION = 1


def as_data(fleet: Fleet) -> dict[str, Any]:
    """What the page says, without what is told of it in pictures."""
    figures = totals(fleet)
    return {
        "v": VERSION,
        "made": _time(fleet.made),
        "protected": len(protected(fleet)),
        "hosts_total": len(fleet.hosts),
        "known_since": _time(known_since(fleet)),
        "states": {state: len(fleet.of_state(state)) for state in STATES},
        "unlocked_30_days": {
            "windows": figures["windows"],
            "seconds": round(figures["seconds"], 3),
            "longest_seconds": figures["longest"],
            "open_now": len(figures["open"]),
            "ended_halfway": figures["halfway"],
        },
        "bytes": figures["bytes"],
        "month_cost": _rounded(cost(figures["bytes"], fleet.price)),
        "price": fleet.price,
        "hosts": [_host(host, fleet) for host in fleet.hosts],
        "strangers": list(fleet.strangers),
    }


def _host(host: Host, fleet: Fleet) -> dict[str, Any]:
    drill = host.drill
    return {
        "name": host.name,
        "repository": host.repository,
        "page": address(host),
        "state": host.state,
        "heard": _time(host.heard),
        "locks_proved": _time(host.proved),
        "locks_in_force": None if host.proved is None and not host.refuted else not host.refuted,
        "maintained": _time(host.maintained),
        "unlocked_seconds": host.unlocked,
        "read_through_since": _time(host.read_from),
        "drill": drill
        and {
            "at": _time(drill.at),
            "well": drill.well,
            "job": drill.job,
            "bytes_per_second": _rounded(drill.speed),
            "text": drill.text,
        },
        "bytes": host.bytes,
        "month_cost": _rounded(cost(host.bytes, fleet.price)),
        "jobs": [_job(job) for job in host.jobs],
        "snapshots": [
            {"id": one.id, "job": one.job, "stored": _time(one.at), "bytes": one.bytes} for one in host.snapshots
        ],
        "running": list(host.running),
        "open": [_window(window) for window in host.open],
        "windows": [_window(window) for window in host.windows],
        "holds": [
            {"name": one.name, "until": _time(one.until), "reason": one.reason, "snapshots": one.snapshots}
            for one in host.holds
        ],
        "signals": [_signal(one) for one in host.signals],
        "problems": [_problem(problem) for problem in host.problems],
    }  # fmt: skip


def _signal(one: Signal) -> dict[str, Any]:
    return {
        "code": one.code, "job": one.job, "since": _time(one.since), "evidence": one.evidence, "snapshot": one.snapshot,
        "last_good": _time(one.last_good), "last_good_snapshot": one.last_good_id,
    }  # fmt: skip


def _job(job: Job) -> dict[str, Any]:
    return {
        "name": job.name, "max_age": job.max_age if math.isfinite(job.max_age) else None, "newest": _time(job.newest),
        "oldest": _time(job.oldest), "snapshots": job.snapshots, "days": job.days,
    }  # fmt: skip


def _window(window: Window) -> dict[str, Any]:
    return {
        "opened": _time(window.opened), "closed": _time(window.closed), "seconds": window.seconds, "parts": list(window.parts),
        "reason": window.reason, "ended_by": window.ended_by, "lease": _time(window.lease),
    }  # fmt: skip


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "state": problem.state, "code": problem.code, "job": problem.job, "text": problem.text,
        "what_to_do": problem.what_to_do,
    }  # fmt: skip


def _time(moment: Optional[datetime]) -> Optional[str]:
    return None if moment is None else format_date(moment.replace(microsecond=0))


def _rounded(number: Optional[float]) -> Optional[float]:
    return None if number is None else round(number, 4)
