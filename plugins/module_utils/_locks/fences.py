# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fences in the lock document of a bucket: which tokens are disabled for the time of maintenance, and until when. Pure.

A fence is a disabled rule, written before the tokens are disabled and removed after they are enabled again. So a guard that
reads the document knows what has to be undone, as with windows. No fence is written into a document in which a window is
open: only the window's own keeper may write then. No token is behind two fences, so that a guard that takes one down may enable
its tokens.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from .._common.dates import format_date
from .._common.errors import HoldfastError
from .rules import (
    FENCE,
    MAX_RULES,
    LockRulesError,
    Rule,
    check_repositories,
    duplicates,
    fenced,
    identify,
    lease_of,
    rule_id,
    rule_problem,
)
from .windows import LONGEST_LEASE, TOLERANCE, window_of

# The tokens stand in the prefix of the rule, which R2 bounds.
_MAX_BYTES = 1024
# How old rules may be by which tokens are enabled: who puts up a fence after that opens no window for a minute.
_FRESH = 30.0


class WindowOpen(HoldfastError):
    """A window is open, so that the document is its keeper's alone."""


class FenceTaken(LockRulesError):
    """Another process is at work behind a fence of the same tokens."""


class FenceLost(LockRulesError):
    """The fence that a window needs is not there."""


@dataclass(frozen=True)
class Fence:
    """The tokens that maintenance of one repository has disabled, or is about to."""

    prefix: str
    holder: str
    tokens: tuple[str, ...]
    lease: datetime

    def overdue(self, now: datetime) -> bool:
        """Whether its lease expired, or is none that this collection writes."""
        return self.lease <= now or self.lease - now > LONGEST_LEASE + TOLERANCE


def fences(rules: Iterable[Rule]) -> list[Fence]:
    """Return every fence of the document that makes sense."""
    rules = list(rules)
    found = []
    for rule in [] if duplicates(rules) else rules:
        name = identify(rule)
        if name is None or name[1] != FENCE or rule_problem(rule, *name):
            continue
        named, lease = fenced(rule, name[0]), lease_of(rule)
        if named and lease:
            found.append(Fence(name[0], *named, lease))
    return found


def fence_of(rules: Iterable[Rule], prefix: str) -> Fence | None:
    return next((fence for fence in fences(rules) if fence.prefix == prefix), None)


def rival(rules: Iterable[Rule], prefix: str, tokens: Iterable[str], holder: str, now: datetime) -> Fence | None:
    """Return the fence that has to come down before this holder may put up one of these tokens.

    An overdue one of the same repository is taken over; one of another repository is left to the guard.
    """
    desired = set(tokens)
    for fence in fences(rules):
        own = fence.prefix == prefix
        if fence.holder != holder and ((own and not fence.overdue(now)) or (not own and desired & set(fence.tokens))):
            return fence
    return None


def put_up(
    rules: Iterable[Rule], prefix: str, *, tokens: Iterable[str], holder: str, lease: datetime, now: datetime
) -> list[Rule]:
    """Write down a fence. An expired one goes to this holder, with its tokens, for they may be disabled."""
    rules = list(rules)
    check_repositories(rules, prefix)
    check_no_window(rules, prefix)
    there = fence_of(rules, prefix)
    tokens = list(dict.fromkeys([*(there.tokens if there else ()), *tokens]))
    other = rival(rules, prefix, tokens, holder, now)
    if other:
        raise FenceTaken(_taken(other, now))
    rule = _rule(prefix, holder, tokens, lease)
    if len(rule["prefix"].encode("utf-8", "surrogatepass")) > _MAX_BYTES:
        raise LockRulesError(f"{len(tokens)} tokens reach {_name(prefix)}: that is more than one fence can hold.")
    if there:
        return [{**found, **rule} if found["id"] == rule["id"] else found for found in rules]
    if len(rules) >= MAX_RULES:
        raise LockRulesError(f"The lock document has {len(rules)} rules; there is no room for a fence.")
    return [*rules, rule]


def _rule(prefix: str, holder: str, tokens: Iterable[str], lease: datetime) -> Rule:
    return {
        "id": rule_id(prefix, FENCE),
        "enabled": False,
        "prefix": "/".join([f"{prefix}{FENCE}", holder, *tokens]),
        "condition": {"type": "Date", "date": format_date(lease.replace(microsecond=0))},
    }


def extend(rules: Iterable[Rule], prefix: str, *, holder: str, lease: datetime) -> list[Rule]:
    """Move the lease of our own fence to a later instant."""
    rules = list(rules)
    there = fence_of(rules, prefix)
    if there is None or there.holder != holder:
        raise FenceLost("The fence was taken down or taken over by another process; it is not extended.")
    later = max(lease, there.lease)
    return put_up(rules, prefix, tokens=there.tokens, holder=holder, lease=later, now=lease)


def take_over(rules: Iterable[Rule], fence: Fence, *, holder: str, lease: datetime) -> list[Rule]:
    """Give a fence to a holder who is about to take it down, unless it is not as it was or a window is open."""
    rules = list(rules)
    if fence_of(rules, fence.prefix) != fence or window_of(rules, fence.prefix) is not None:
        return rules
    rule = _rule(fence.prefix, holder, fence.tokens, lease)
    return [{**found, **rule} if found["id"] == rule["id"] else found for found in rules]


def take_down(rules: Iterable[Rule], prefix: str, holder: str) -> list[Rule]:
    """Remove the fence if it is this holder's. Nonsense in other rules is no reason to leave it up."""
    rules = list(rules)
    there = fence_of(rules, prefix)
    if there is None or there.holder != holder:
        return rules
    check_no_window(rules, prefix)
    return [rule for rule in rules if rule["id"] != rule_id(prefix, FENCE)]


def check_no_window(rules: Iterable[Rule], prefix: str) -> None:
    """Raise WindowOpen while the document belongs to another window."""
    window = window_of(rules, prefix)
    if window is not None:
        raise WindowOpen(f"A window of {_name(prefix)} is open, held by {window.holder}.")


def check_age(seconds: float) -> None:
    """Refuse to enable tokens by rules that were read so many seconds ago, when others may have put up a fence since."""
    if seconds > _FRESH:
        raise HoldfastError("The node stood still, and others may have put up a fence since.")


def check_behind(rules: Iterable[Rule], prefix: str, holder: str, until: datetime) -> None:
    """Raise FenceLost unless the fence of this holder stays up until then."""
    there = fence_of(rules, prefix)
    if there is None:
        raise FenceLost(f"The fence of {_name(prefix)} was taken down by another process.")
    if there.holder != holder:
        raise FenceLost(f"The fence of {_name(prefix)} was taken over by another process, {there.holder}.")
    if there.lease < until:
        raise FenceLost(f"The fence of {_name(prefix)} stays up until {format_date(there.lease)}, which is too soon.")


def _taken(other: Fence, now: datetime) -> str:
    if other.overdue(now):
        return (
            f"Tokens of {_name(other.prefix)} are still disabled behind a fence that is overdue since "
            f"{format_date(other.lease)}: run the relock playbook with a token that may enable them."
        )
    return (
        f"Maintenance of {_name(other.prefix)} is at work: the tokens of its hosts are disabled until "
        f"{format_date(other.lease)}, by {other.holder}; run again after that."
    )


def _name(prefix: str) -> str:
    return prefix or "the repository of the bucket"
