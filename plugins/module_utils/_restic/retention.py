# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides which snapshots a policy keeps, in restic's words and with restic's results, but by a time of our choice. Pure.

restic itself goes by the time that a snapshot claims, which its maker chose freely.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Optional

from .._common.durations import NO_TIME, Duration, parse_duration
from .._common.errors import HoldfastError

Snapshot = Mapping[str, Any]

# A period's number: two times are in the same hour, day … exactly when their numbers are equal.
_PERIODS: dict[str, Callable[[datetime], tuple[int, ...]]] = {
    "hourly": lambda moment: (moment.year, moment.month, moment.day, moment.hour),
    "daily": lambda moment: (moment.year, moment.month, moment.day),
    "weekly": lambda moment: tuple(moment.isocalendar())[:2],
    "monthly": lambda moment: (moment.year, moment.month),
    "yearly": lambda moment: (moment.year,),
}
COUNTED = ("last", *_PERIODS)
ALL = -1


class RetentionError(HoldfastError):
    """The policy makes no sense, or would empty a group of snapshots."""


@dataclass(frozen=True)
class Policy:
    """The policy.

    Args:
        counts: How many of "last", "hourly" … "yearly"; ALL for every one.
        within: Keep everything (key "") or the "hourly" … "yearly" ones within this time of the newest.
        tags: Keep what has all tags of at least one of these lists.
        grace: Also keep everything that was stored within this time, beside the rest. No part of an empty policy.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    within: Mapping[str, Duration] = field(default_factory=dict)
    tags: tuple[tuple[str, ...], ...] = ()
    grace: Duration = NO_TIME

    @property
    def empty(self) -> bool:
        return not self.counts and not self.within and not self.tags


class Decision(NamedTuple):
    """The decision about one snapshot. `reasons` are restic's, and empty when it goes."""

    id: str
    keep: bool
    reasons: tuple[str, ...]

    def kept_for(self, reason: str) -> Decision:
        """The snapshot is kept, for this reason too."""
        return Decision(self.id, True, (*self.reasons, reason))


def policy_from(params: Mapping[str, Any]) -> Policy:
    """The policy in the options keep_last, keep_hourly …, keep_within, keep_within_hourly …, keep_tags."""
    counts = {}
    for word in COUNTED:
        number = params.get(f"keep_{word}") or 0
        if number < ALL:
            raise RetentionError(f"keep_{word} is {number}; it must be a number of snapshots, or -1 for all of them.")
        if number:
            counts[word] = number
    within = {}
    for word in ("", *_PERIODS):
        name = f"keep_within_{word}" if word else "keep_within"
        length = parse_duration(params.get(name) or "", name)
        if any(length):
            within[word] = length
    tags = tuple(tuple(tag.strip() for tag in entry.split(",")) for entry in params.get("keep_tags") or ())
    grace = str(params.get("grace") or "").strip()
    return Policy(counts, within, tags, parse_duration("" if grace == "0" else grace, "grace"))


def claimed_time(snapshot: Snapshot) -> datetime:
    """The time that the snapshot itself claims, in its own time zone."""
    try:
        # restic writes nanoseconds
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", snapshot["time"]))
    except (KeyError, TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RetentionError(
            f"The time of snapshot {snapshot['id'][:8]} cannot be read: {snapshot.get('time')!r}. Remove it with "
            "restic forget in a manual window, or decide by upload times."
        )
    return moment


def group_of(snapshot: Snapshot) -> tuple[str, tuple[str, ...]]:
    """Host and paths, as the snapshot claims them."""
    return snapshot.get("hostname") or "", tuple(sorted(snapshot.get("paths") or ()))


def decide_group(
    name: str, members: list[tuple[datetime, Snapshot]], policy: Policy, stored: Mapping[str, datetime], now: datetime
) -> list[Decision]:
    """Decide about the snapshots of one history, newest first.

    Args:
        name: What the history is called in a sentence.
        members: Each snapshot with the time that counts, with its time zone: hours, days … are those of that zone.
        policy: What to keep.
        stored: When each was stored, by its id, which no host can choose: for the grace.
        now: What is later than this is in the future, and durations are not measured from it.

    Raises:
        RetentionError: The policy is empty, or keeps nothing.
    """
    if policy.empty:
        raise RetentionError("No snapshots are to be kept: set at least one keep_ option; nothing was removed.")
    members = sorted(members, key=lambda member: (member[0], member[1]["id"]), reverse=True)
    decided = _decide_group(members, policy, now)
    if any(policy.grace):
        decided = [_with_grace(decision, stored[decision.id], policy.grace.before(now)) for decision in decided]
    if not any(decision.keep for decision in decided):
        raise RetentionError(
            f"The policy would remove every snapshot of {name}; nothing was removed. Keep at least one, for example with "
            "keep_last: 1."
        )
    return decided


def _with_grace(decision: Decision, stored: datetime, limit: Optional[datetime]) -> Decision:
    """The decision of the policy, unless the snapshot is so new that a break-in may not have been noticed yet."""
    return decision if limit is not None and stored <= limit else decision.kept_for("grace")


def _decide_group(members: list[tuple[datetime, Snapshot]], policy: Policy, now: datetime) -> list[Decision]:
    newest = max((moment for moment, _snapshot in members if moment < now), default=None)
    left = dict(policy.counts)
    seen: dict[str, Any] = {}
    decisions = []
    for number, (moment, snapshot) in enumerate(members):
        oldest = number == len(members) - 1
        reasons = [f"has tags [{', '.join(tags)}]" for tags in policy.tags if _has_tags(snapshot, tags)]
        if "" in policy.within and _within(moment, newest, policy.within[""]):
            reasons.append(f"within {policy.within['']}")
        for word in COUNTED:
            if left.get(word):
                reason = _first_of_period(seen, f"{word} snapshot", word, number, moment, oldest)
                if reason:
                    left[word] -= left[word] > 0
                    reasons.append(reason)
        for word in _PERIODS:
            length = policy.within.get(word)
            if length and _within(moment, newest, length):
                reason = _first_of_period(seen, f"{word} within", word, number, moment, oldest)
                if reason:
                    reasons.append(f"{reason} {length}")
        decisions.append(Decision(snapshot["id"], bool(reasons), tuple(reasons)))
    return decisions


def _first_of_period(
    seen: dict[str, Any], reason: str, word: str, number: int, moment: datetime, oldest: bool
) -> Optional[str]:
    """The reason to keep this one: newest of its period, or the oldest of all, so that a young history stays long."""
    period = number if word == "last" else _PERIODS[word](moment)
    if seen.get(reason) == period:
        return f"oldest {reason}" if oldest else None
    seen[reason] = period
    return reason


def _within(moment: datetime, newest: Optional[datetime], length: Duration) -> bool:
    limit = length.before(newest)
    return limit is None or moment > limit


def _has_tags(snapshot: Snapshot, desired: tuple[str, ...]) -> bool:
    own = snapshot.get("tags") or ()
    for tag in desired:
        if tag == "" and not own:
            return True
        if tag not in own:
            return False
    return True
