# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A March in which something happened, between a February and an April: entries of a journal."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

MARCH, NOW = datetime(2026, 3, 1, tzinfo=timezone.utc), datetime(2026, 4, 2, 8, tzinfo=timezone.utc)
WINDOW = {"reason": "maintenance", "parts": ["data"], "seconds": 1.5, "ended_by": "the module"}


def stamp(days: float) -> str:
    return (MARCH + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def entry(run: str, days: float, proved: bool = True, **more: Any) -> dict[str, Any]:
    locks = {"proved": proved, "by": "host", "prefixes": {"data/": "locked" if proved else "open"}}
    return {
        "run": run, "result": "ok" if proved else "failed", "at": stamp(days), "by": "ops", "host": "web1", "bucket": "b-web1",
        "locks": locks, **more,
    }  # fmt: skip


def entries() -> list[dict[str, Any]]:
    """What happened to one host."""
    stale = {"code": "stale", "severity": "warn", "job": "system", "evidence": "It is 30.5 hours old."}
    return [
        entry("verify", -2, findings=[]),
        entry("verify", 1, findings=[stale], holds=[{"name": "law", "until": stamp(60), "reason": "case 7"}]),
        entry("verify", 2, findings=[{**stale, "evidence": "It is 54.5 hours old."}]),
        entry("verify", 3, findings=[], holds=[]),
        entry(
            "maintenance", 5, windows=[{**WINDOW, "opened": stamp(5)}], removed=4, retention="keep_daily 7; grace 7d"
        ),
        entry("verify", 9, proved=False, text="The locks are not in force."),
        entry("drill", 12, drills=[{"job": "system", "result": "ok", "bytes": 10**9, "seconds": 20}]),
        entry("verify", 20),
        entry("verify", 31),
    ]
