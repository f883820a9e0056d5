# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Chooses by which policy, grace and hold the snapshots of each job are kept, from the options of restic_prune. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._restic.jobs import Jobs
from .._restic.retention import COUNTED, Policy, RetentionError, policy_from
from .._restic.retention_plan import ALL_JOBS, Plan, hold_from, protected_from, retired_keep_from

# The words of a policy.
POLICY = (
    *(f"keep_{word}" for word in COUNTED),
    "keep_within",
    *(f"keep_within_{word}" for word in COUNTED[1:]),
    "keep_tags",
)


def plan_from(params: Mapping[str, Any]) -> Plan:
    """Which snapshots to keep.

    Raises:
        RetentionError: An option makes no sense.
    """
    jobs, grace = params["jobs"], params["grace"]
    policies = {job["name"]: _policy(job, grace) for job in jobs if job.get("retention")}
    holds = {job["name"]: hold_from(job["hold"], f"hold of job {job['name']}") for job in jobs if job.get("hold")}
    if params["hold"]:
        holds[ALL_JOBS] = hold_from(params["hold"])
    return Plan(
        policy_from(params),
        Jobs(jobs, params["expected_hosts"]),
        policies,
        holds,
        protected_from(params["protected_snapshots"]),
        retired_keep_from(params["retired_keep"]),
    )


def _policy(job: Mapping[str, Any], grace: str) -> Policy:
    """The policy of one job, in words that nothing has converted yet."""
    words: dict[str, Any] = {}
    for name, value in job["retention"].items():
        if name not in POLICY:
            raise RetentionError(f"retention of job {job['name']} has {name!r}; it can have {', '.join(POLICY)}.")
        words[name] = value
    counts = {f"keep_{word}" for word in COUNTED}
    if any(not isinstance(value, int) for name, value in words.items() if name in counts):
        raise RetentionError(f"retention of job {job['name']} has a count that is no whole number.")
    found = policy_from({**words, "grace": grace})
    if found.empty:
        raise RetentionError(
            f"retention of job {job['name']} says nothing of what is kept: write for example keep_daily."
        )
    return found
