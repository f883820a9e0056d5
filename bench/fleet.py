# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What fleets of 10, 100 and 1,000 hosts take of the maintenance node, and of Cloudflare's API.

Every host has a bucket of its own; Ansible has its usual five forks. `relock` and `verify` run whole. The R2 side of a
second `site`, and `maintenance`, run on at most SAMPLE hosts of the inventory, because all of a thousand would take hours
of two cores; `hosts` says on how many. What was scaled: a period of the API's limit lasts 30 s instead of 300 s, and so
does the block after it, in the stand-in and in the collection's own memory of its calls. The limits themselves are as
they are, 1,200 calls there and 900 (1,100 for the guard) here. So waits for the limit are ten times shorter than in life,
and `paced_minutes`, which is arithmetic, says how long the calls alone take there.
"""

from __future__ import annotations

from typing import Any

from bench._fleet import Farm, farm
from tests.support.many_hosts import host_name
from tests.support.running import COLLECTION

SIZES = (10, 100, 1000)
SAMPLE = 100
# Calls in 5 minutes that the collection allows itself, and those that it allows the guard.
LIMIT, GUARD_LIMIT = 900, 1100
# How much more CPU a host may take in a fleet ten times as large.
GROWTH = 1.5
# The second begins when the first has used up most of the limit.
TWO_RELOCKS = [{"import_playbook": f"{COLLECTION}.relock"}] * 2
SECOND_SITE = [{"hosts": "holdfast", "gather_facts": False, "roles": [f"{COLLECTION}.repository"]}]


def measure() -> dict[str, Any]:
    """Seconds, memory and calls of each playbook, for each size."""
    figures: dict[str, Any] = {"period_scaled_by": 10}
    for size in SIZES:
        with farm(size) as there:
            figures[f"hosts_{size}"] = {
                "relock": _run(there, "relock", size),
                "two_relocks": _run(there, TWO_RELOCKS, size),
                "verify": _run(there, "verify", size),
                "second_site": _run(there, SECOND_SITE, min(SAMPLE, size)),
                "maintenance": _run(there, "maintenance", min(SAMPLE, size)),
            }
    return figures


def _run(there: Farm, playbook: Any, hosts: int) -> dict[str, Any]:
    limit = [] if hosts == there.hosts else ["--limit", ":".join(host_name(number + 1) for number in range(hosts))]
    used = there.run(playbook, *limit)
    allowed = GUARD_LIMIT if playbook in ("relock", TWO_RELOCKS) else LIMIT
    return {
        "hosts": hosts,
        "seconds": used.seconds,
        "cpu_seconds": used.cpu_seconds,
        "peak_pss_mib": used.memory_mib,
        "calls": used.calls,
        "calls_refused": used.refused,
        "paced_minutes": round(max(used.calls - allowed, 0) / allowed * 5, 1),
    }


def misses(figures: dict[str, Any]) -> list[str]:
    """The targets that were not met."""
    sizes = [figures[f"hosts_{size}"] for size in SIZES]
    found = [f"fleet: the API's limit was hit by {name}" for size in sizes for name, one in size.items()
             if one["calls_refused"]]  # fmt: skip
    found += [f"fleet: relock of {one['relock']['hosts']} buckets took {one['relock']['calls']} calls" for one in sizes
              if one["relock"]["calls"] != one["relock"]["hosts"] + 1]  # fmt: skip
    for small, large in zip(sizes[1:], sizes[2:]):
        before, after = (one["verify"]["cpu_seconds"] / one["verify"]["hosts"] for one in (small, large))
        if after > GROWTH * before:
            found.append(
                f"fleet: verify takes {after:.2f} s of CPU per host instead of {before:.2f} in a smaller fleet"
            )
    return found
