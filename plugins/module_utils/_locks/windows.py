# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Windows in the lock document of a bucket: the open parts of each repository, their lease and their holder. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from .._common.dates import format_date
from .rules import (
    HOLDER,
    MAX_RULES,
    PARTS,
    WINDOW,
    LockRulesError,
    Rule,
    check_repositories,
    duplicates,
    holder_of,
    identify,
    lease_of,
    missing_parts,
    normalise_prefix,
    problems,
    repositories,
    rule_id,
    rule_problem,
)

# A window by hand may be leased for so long at once; maintenance extends shorter leases.
LONGEST_LEASE = timedelta(hours=4)
# Two answers of the service tell its time to the second, at best.
TOLERANCE = timedelta(minutes=1)


@dataclass(frozen=True)
class Window:
    """The open parts of one repository. A window with a problem is neither live nor overdue nor orphaned.

    A lease that is further away than any that this collection writes was edited by a person or an attacker: it counts as
    overdue.
    """

    prefix: str
    parts: tuple[str, ...]
    lease: datetime | None
    holder: str | None
    problem: str | None = None

    def live(self, now: datetime) -> bool:
        return self.problem is None and self.lease is not None and not self.overdue(now)

    def overdue(self, now: datetime) -> bool:
        return self.problem is None and self.lease is not None and (self.lease <= now or self.implausible(now))

    def implausible(self, now: datetime) -> bool:
        return self.problem is None and self.lease is not None and self.lease - now > LONGEST_LEASE + TOLERANCE

    @property
    def orphaned(self) -> bool:
        return self.problem is None and self.lease is None

    def state(self, now: datetime) -> str:
        """live, overdue, implausible (overdue by a lease that is too far away), or orphaned."""
        if self.orphaned:
            return "orphaned"
        return "implausible" if self.implausible(now) else "overdue" if self.overdue(now) else "live"


def windows(rules: Iterable[Rule]) -> list[Window]:
    """Return every window of the document, open for good reason or not."""
    rules = list(rules)
    wrong = problems(rules)
    found = []
    for prefix in repositories(rules):
        own = {name[1]: rule for name, rule in ((identify(r), r) for r in rules) if name and name[0] == prefix}
        lease_rule = own.pop(WINDOW, None)
        parts = tuple(part for part in PARTS if part in own and own[part].get("enabled") is not True)
        if parts or lease_rule:
            found.append(
                Window(
                    prefix,
                    parts,
                    lease_of(lease_rule) if lease_rule else None,
                    holder_of(lease_rule, prefix) if lease_rule else None,
                    next((problem.sentence for problem in wrong if problem.concerns(prefix)), None),
                )
            )
    return found


def window_of(rules: Iterable[Rule], prefix: str) -> Window | None:
    return next((window for window in windows(rules) if window.prefix == prefix), None)


def open_window(
    rules: Iterable[Rule], prefix: str, parts: Iterable[str], *, lease: datetime, holder: str
) -> list[Rule]:
    """Disable the rules of these parts and write down who holds the window, and until when.

    Raises LockRulesError unless the lock set is whole and as we write it, and no other holder has a window there.
    """
    rules, prefix, parts = list(rules), normalise_prefix(prefix), list(parts)
    check_repositories(rules, prefix)
    if not parts or any(part not in PARTS for part in parts) or not HOLDER.fullmatch(holder):
        raise LockRulesError(f"A window needs parts out of {', '.join(PARTS)} and a holder of 8 to 64 hex digits.")
    missing = missing_parts(rules, prefix)
    if missing:
        raise LockRulesError(
            f"The lock set of {_name(prefix)} is not complete ({', '.join(missing)} missing): no window is opened; "
            "apply the lock set with r2_bucket_lock first."
        )
    window = window_of(rules, prefix)
    if window is not None and window.holder != holder:
        raise LockRulesError(_someone_elses(window), window_prefix=prefix)
    opened = {rule_id(prefix, part) for part in parts}
    after = [{**rule, "enabled": False} if rule["id"] in opened else rule for rule in rules]
    return _with_lease(after, prefix, holder, lease)


def extend_window(rules: Iterable[Rule], prefix: str, holder: str, lease: datetime) -> list[Rule]:
    """Move the lease of our own window to a later instant; an earlier one changes nothing.

    A lease that was moved out of all bounds is set right.
    """
    rules, prefix = list(rules), normalise_prefix(prefix)
    check_repositories(rules, prefix)
    window = window_of(rules, prefix)
    if window is None or window.holder != holder or window.lease is None:
        raise LockRulesError(
            f"The window of {_name(prefix)} was closed or taken over by another process; it is not extended."
        )
    kept = lease if window.lease - lease > LONGEST_LEASE else max(lease, window.lease)
    return _with_lease(rules, prefix, holder, kept)


def close_window(rules: Iterable[Rule], prefix: str, holder: str | None = None) -> list[Rule]:
    """Enable the disabled rules of the repository and drop its lease.

    With a holder, a window of another holder is left as it is; everything else is closed, also when rules
    beside it were edited into nonsense: who opened a window must be able to close it. Without a holder, a repository
    with such nonsense raises LockRulesError and is left alone.
    """
    rules, prefix = list(rules), normalise_prefix(prefix)
    window = window_of(rules, prefix)
    if window is None:
        return rules
    if holder is None or duplicates(rules):
        check_repositories(rules, prefix)
    if holder is not None and window.holder not in (holder, None):
        return rules
    after = []
    for rule in rules:
        name = identify(rule)
        if name == (prefix, WINDOW):
            continue
        ours = name is not None and name[0] == prefix
        disabled = ours and rule.get("enabled") is not True
        sound = disabled and rule_problem({**rule, "enabled": True}, *name) is None  # type: ignore[misc]
        after.append({**rule, "enabled": True} if sound else rule)
    return after


def _with_lease(rules: list[Rule], prefix: str, holder: str, lease: datetime) -> list[Rule]:
    lease_rule = {
        "id": rule_id(prefix, WINDOW),
        "enabled": False,
        "prefix": f"{prefix}{WINDOW}/{holder}",
        "condition": {"type": "Date", "date": format_date(lease.replace(microsecond=0))},
    }
    ids = [rule["id"] for rule in rules]
    if lease_rule["id"] in ids:
        return [{**rule, **lease_rule} if rule["id"] == lease_rule["id"] else rule for rule in rules]
    if len(rules) >= MAX_RULES:
        raise LockRulesError(f"The lock document has {len(rules)} rules; there is no room for the lease of a window.")
    return [*rules, lease_rule]


def _someone_elses(window: Window) -> str:
    if window.lease is None:
        return (
            f"{', '.join(window.parts)} of {_name(window.prefix)} is unlocked without a lease: no window is opened; "
            "run the relock playbook first."
        )
    return (
        f"A window of {_name(window.prefix)} is open until {format_date(window.lease)}, held by {window.holder}: "
        "wait for its end, or run the relock playbook if it is overdue."
    )


def _name(prefix: str) -> str:
    return f"the repository {prefix!r}" if prefix else "the repository of the bucket"
