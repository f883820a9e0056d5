# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fences in the lock document of a bucket: which host's token is disabled for the time of maintenance, and until when. Pure.

A fence is a disabled rule, written before the token is disabled and removed after it is enabled again. So whoever reads
the document knows what has to be undone, as with windows. No fence is written into a document in which a window is open:
only the window's own keeper may write then.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.holdfast.restic_r2.plugins.module_utils._dates import format_date
from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._leases import LONGEST_LEASE, TOLERANCE, window_of
from ansible_collections.holdfast.restic_r2.plugins.module_utils._lock_rules import (
    FENCE,
    MAX_RULES,
    LockRulesError,
    Rule,
    duplicates,
    fenced,
    identify,
    lease_of,
    problems,
    rule_id,
    rule_problem,
)


class WindowOpen(HoldfastError):
    """A window is open, so that the document is its keeper's alone."""


@dataclass(frozen=True)
class Fence:
    """A token that maintenance of one repository has disabled, or is about to."""

    prefix: str
    holder: str
    token_id: str
    lease: datetime

    def overdue(self, now: datetime) -> bool:
        """Whether nobody is at work behind it any more, or its lease is none that this collection writes."""
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


def put_up(
    rules: Iterable[Rule], prefix: str, *, token_id: str, holder: str, lease: datetime, now: datetime
) -> list[Rule]:
    """Write down a fence, or give one that nobody minds any more to this holder."""
    rules = list(rules)
    for problem in problems(rules):
        if problem.concerns(prefix):
            raise LockRulesError(f"{problem.sentence} Nothing was changed; correct it by hand.")
    check_no_window(rules, prefix)
    there = fence_of(rules, prefix)
    if there and there.holder != holder and not there.overdue(now):
        raise LockRulesError(
            f"Maintenance of {prefix or 'the repository of the bucket'} is at work: the token of its host is disabled "
            f"until {format_date(there.lease)}, by {there.holder}; run again after that."
        )
    if there and there.token_id != token_id:
        raise LockRulesError(
            f"Another token, {there.token_id}, is still disabled behind a fence that is overdue: run the relock playbook "
            "with a token that may enable it."
        )
    rule = {
        "id": rule_id(prefix, FENCE),
        "enabled": False,
        "prefix": f"{prefix}{FENCE}/{holder}/{token_id}",
        "condition": {"type": "Date", "date": format_date(lease.replace(microsecond=0))},
    }
    if there:
        return [{**found, **rule} if found["id"] == rule["id"] else found for found in rules]
    if len(rules) >= MAX_RULES:
        raise LockRulesError(f"The lock document has {len(rules)} rules; there is no room for a fence.")
    return [*rules, rule]


def extend(rules: Iterable[Rule], prefix: str, *, holder: str, lease: datetime) -> list[Rule]:
    """Move the lease of our own fence to a later instant."""
    rules = list(rules)
    there = fence_of(rules, prefix)
    if there is None or there.holder != holder:
        raise LockRulesError("The fence was taken down or taken over by somebody else; it is not extended.")
    later = max(lease, there.lease)
    return put_up(rules, prefix, token_id=there.token_id, holder=holder, lease=later, now=lease)


def take_down(rules: Iterable[Rule], prefix: str, holder: str | None = None) -> list[Rule]:
    """Remove the fence; with a holder, only if it is his. Nonsense in other rules is no reason to leave it up."""
    rules = list(rules)
    there = fence_of(rules, prefix)
    if there is None or (holder is not None and there.holder != holder):
        return rules
    check_no_window(rules, prefix)
    return [rule for rule in rules if rule["id"] != rule_id(prefix, FENCE)]


def check_no_window(rules: Iterable[Rule], prefix: str) -> None:
    """Raise WindowOpen while the document belongs to somebody else."""
    window = window_of(rules, prefix)
    if window is not None:
        raise WindowOpen(f"A window of {prefix or 'the repository of the bucket'} is open, held by {window.holder}.")
