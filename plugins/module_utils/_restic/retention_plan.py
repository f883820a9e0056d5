# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides about each snapshot of a repository: by the policy of its job, by holds, and where it belongs to no job. Pure.

A history is that of a job, with any paths. Everything here beyond the policies can only keep more, but for
`retired_keep`, which is unset by default.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Optional

from .._common.dates import format_date, parse_date
from .._common.durations import Duration, parse_duration
from .jobs import Group, Jobs
from .retention import Decision, Policy, RetentionError, Snapshot, decide_group

# The key of what is true of the whole repository, where others are names of jobs.
ALL_JOBS = ""


class Hold(NamedTuple):
    """Nothing is removed until then."""

    until: datetime
    reason: str

    def __str__(self) -> str:
        return f"until {format_date(self.until)}: {self.reason}"


@dataclass(frozen=True)
class Plan:
    """What to keep of a repository.

    Args:
        policy: What to keep of each history.
        jobs: The jobs of the host. Without any, nothing is known of them, and the policy is that of every history.
        policies: What to keep of a job instead, by its name.
        holds: In which jobs nothing is removed for a time, by name; ALL_JOBS for the repository.
        protected: Beginnings of the ids of snapshots that are kept in any case.
        retired_keep: For how long to keep a history of no job after its newest snapshot was stored; None for ever.
    """

    policy: Policy = field(default_factory=Policy)
    jobs: Jobs = field(default_factory=lambda: Jobs(()))
    policies: Mapping[str, Policy] = field(default_factory=dict)
    holds: Mapping[str, Hold] = field(default_factory=dict)
    protected: tuple[str, ...] = ()
    retired_keep: Optional[Duration] = None

    def retired(self, group: Group) -> bool:
        """Whether a history belongs to no job, where the jobs are known."""
        return bool(self.jobs.names) and not self.jobs.has(group)

    def hold_of(self, name: str, now: datetime) -> Optional[Hold]:
        """The hold of a job, or of the repository, that has not ended."""
        hold = self.holds.get(name)
        return hold if hold and now < hold.until else None

    def unknown(self, snapshots: Iterable[Snapshot]) -> list[str]:
        """Those of the protected snapshots that are not there."""
        names = [snapshot["id"] for snapshot in snapshots]
        return [one for one in self.protected if not any(name.startswith(one) for name in names)]


class Times(NamedTuple):
    """The times by which is decided.

    Args:
        counts: The time of a snapshot that counts for the policies.
        stored: When each snapshot was stored, by its id, which no host can choose.
        now: The time of the service.
        keep_before: What was stored before this is kept, by the name of a job, or ALL_JOBS: something has come since then
            that a person has to judge first.
    """

    counts: Callable[[Snapshot], datetime]
    stored: Mapping[str, datetime]
    now: datetime
    keep_before: Mapping[str, datetime] = {}


def decide(snapshots: Iterable[Snapshot], plan: Plan, times: Times) -> list[Decision]:
    """Decide about every snapshot, history by history, newest first in each.

    Raises:
        RetentionError: A policy is empty, or keeps nothing of a history, or nothing would be left.
    """
    histories: dict[Group, list[Snapshot]] = {}
    for snapshot in snapshots:
        histories.setdefault(plan.jobs.group(snapshot), []).append(snapshot)
    decisions = []
    for group, members in sorted(histories.items()):
        if plan.retired(group):
            decided = _retired(members, plan, times, going=_may_go(plan, histories))
        else:
            policy = plan.policies.get(group.job, plan.policy) if plan.jobs.names else plan.policy
            named = [(times.counts(snapshot), snapshot) for snapshot in members]
            decided = decide_group(str(group), named, policy, times.stored, times.now)
        decisions += [_kept_anyway(decision, group, plan, times) for decision in decided]
    if decisions and not any(decision.keep for decision in decisions):
        raise RetentionError(
            "Nothing would be left of the repository; nothing was removed. Look at holdfast_retired_keep."
        )
    return decisions


def _may_go(plan: Plan, histories: Mapping[Group, Any]) -> bool:
    """Snapshots of no job may be all that there is of one, under another name: not before every job has its own."""
    return {group.job for group in histories if plan.jobs.has(group)} == set(plan.jobs.names)


def _retired(members: list[Snapshot], plan: Plan, times: Times, going: bool) -> list[Decision]:
    """A history of no job goes as a whole, a time after its newest snapshot was stored, or never."""
    limit = plan.retired_keep.before(times.now) if plan.retired_keep else None
    newest = max(times.stored[snapshot["id"]] for snapshot in members)
    grace = plan.policy.grace.before(times.now)
    goes = going and limit is not None and grace is not None and newest <= min(limit, grace)
    ordered = sorted(members, key=lambda one: (times.stored[one["id"]], one["id"]), reverse=True)
    return [Decision(one["id"], not goes, () if goes else ("belongs to no job",)) for one in ordered]


def _kept_anyway(decision: Decision, group: Group, plan: Plan, times: Times) -> Decision:
    """The decision, unless a person has said, or has to say first, that the snapshot stays."""
    names = {ALL_JOBS, group.job}
    if any(plan.hold_of(name, times.now) for name in names):
        decision = decision.kept_for("hold")
    if any(decision.id.startswith(one) for one in plan.protected):
        decision = decision.kept_for("protected")
    since = [times.keep_before[name] for name in names if name in times.keep_before]
    if since and times.stored[decision.id] < max(since):
        decision = decision.kept_for("stored before what has to be accepted")
    return decision


def hold_from(said: Mapping[str, Any], name: str = "hold") -> Hold:
    """The hold that a setting describes. A day is meant to its end."""
    text, reason = str(said.get("until") or "").strip(), str(said.get("reason") or "").strip()
    moment = parse_date(text)
    if moment is None:
        raise RetentionError(f"{name} has no date until which it lasts: write until as in '2027-01-31'.")
    if not reason:
        raise RetentionError(f"{name} has no reason: write reason, and in a few words why nothing may be removed.")
    try:
        return Hold(moment if "T" in text.upper() or " " in text else moment + timedelta(days=1), reason)
    except OverflowError:
        return Hold(moment, reason)


def retired_keep_from(text: Optional[str]) -> Optional[Duration]:
    """For how long to keep what belongs to no job; None for ever."""
    if not (text or "").strip():
        return None
    length = parse_duration(str(text), "retired_keep")
    if not any(length):
        raise RetentionError("retired_keep is no time at all: write a length of time, as in 90d, or leave it out.")
    return length


def protected_from(ids: Iterable[str]) -> tuple[str, ...]:
    """Ids of snapshots, or at least eight digits of each."""
    wrong = [one for one in ids if not re.fullmatch(r"[0-9a-f]{8,64}", one)]
    if wrong:
        raise RetentionError(
            f"{wrong[0]!r} is no id of a snapshot: write 8 to 64 hexadecimal digits, as restic shows them."
        )
    return tuple(ids)
