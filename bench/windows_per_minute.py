# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many windows a node opens and closes in a minute, several processes at a time, as several forks of Ansible do.

Nothing happens in the windows, so this is what the keepers and the mutex of a shared lock document allow.
In the long run Cloudflare's limit of API calls allows less, which is told beside it.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.session import WindowSpec

from bench._windows import hold, rig

FORKS = 4
EACH = {"per_host_buckets": 8, "shared_bucket": 4}
# Cloudflare's limit: 1,200 calls in 5 minutes.
CALLS_PER_MINUTE = 1200 / 5


def measure() -> dict[str, Any]:
    """Windows in a minute with a bucket for each process, and with one bucket that all share."""
    names = [f"web{number}" for number in range(1, FORKS + 1)]
    figures: dict[str, Any] = {"forks": FORKS}
    for kind, each in EACH.items():
        with rig() as there:
            if kind == "shared_bucket":
                specs = there.add("backup-all", *(f"{name}/" for name in names))
            else:
                specs = [spec for name in names for spec in there.add(f"backup-{name}", "")]
            since = there.stand_in.last_request()
            figures[kind] = round(FORKS * each / _seconds(specs, each) * 60, 1)
            calls = sum(one["kind"] == "rest" for one in there.stand_in.requests(since))
            figures[f"{kind}_by_call_limit"] = round(CALLS_PER_MINUTE / (calls / (FORKS * each)), 1)
            exposures = there.stand_in.ledger()["exposures"]
            assert len(exposures) == 2 * FORKS * each, "windows merged, or did not open"
            assert all(entry["to"] is not None for entry in exposures), "something is still unlocked"
    return figures


def _seconds(specs: list[WindowSpec], each: int) -> float:
    with ProcessPoolExecutor(len(specs), get_context("fork")) as pool:
        list(pool.map(abs, range(len(specs))))  # all processes are there before time runs
        start = time.monotonic()
        list(pool.map(hold, specs, [each] * len(specs)))
        return time.monotonic() - start
