# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls to Cloudflare's API for opening and closing one window, and S3 requests, which are probes and the mutex, apart."""

from __future__ import annotations

from typing import Any

from bench._windows import Rig, hold, rig

LIMIT = 6
WINDOWS = 3


def measure() -> dict[str, Any]:
    """The most that any of some windows took, in a bucket with one repository and in one with several."""
    with rig() as there:
        return {
            "per_host_bucket": _most(there, "backup-web1", ""),
            "shared_bucket": _most(there, "backup-all", "web1/", "web2/"),
        }


def misses(figures: dict[str, Any]) -> list[str]:
    """The targets that were not met."""
    calls = figures["per_host_bucket"]["rest"]
    return [f"api_calls_per_window.per_host_bucket.rest is {calls}, at most {LIMIT} is wanted"] if calls > LIMIT else []


def _most(there: Rig, bucket: str, *prefixes: str) -> dict[str, int]:
    spec = there.add(bucket, *prefixes)[0]
    found = []
    for _time in range(WINDOWS):
        since = there.stand_in.last_request()
        hold(spec)
        requests = there.stand_in.requests(since)
        rest = sum(one["kind"] == "rest" for one in requests)
        found.append((rest, len(requests) - rest))
    return {"rest": max(rest for rest, _s3 in found), "s3": max(s3 for _rest, s3 in found)}
