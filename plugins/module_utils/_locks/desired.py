# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes lock rules from the options of a user, and plans the lock document that follows from them. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from .._common.dates import format_date, parse_date
from .rules import (
    FENCE,
    INDEFINITE,
    MAX_RULES,
    WINDOW,
    LockRulesError,
    Rule,
    check_repositories,
    condition_problem,
    is_part,
    lock_set,
    repositories,
    rule_id,
    same,
)
from .windows import windows

# Nothing says how the API takes more seconds than a signed 32-bit number holds.
MAX_AGE_SECONDS = 2**31 - 1
_FURTHEST_DATE = timedelta(days=36525)
_UNITS = {"": 1, "s": 1, "h": 3600, "d": 86400, "w": 604800}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_BYTES = 1024


# --- what the user wrote -------------------------------------------------------------------------------------------


def parse_age(text: str) -> int:
    """Return the seconds of an age like 90d, 36h, 2w or 86400."""
    match = re.fullmatch(r"([0-9]{1,10})\s*([shdw]?)", text.strip())
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= MAX_AGE_SECONDS:
        raise LockRulesError(
            f"{text!r} is no age: write a whole number above 0 and a unit out of s, h, d, w; at most 24855d (68 years)."
        )
    return seconds


def condition_of(retention: str, age: str | None, date: str | None) -> Rule:
    """Return the condition that these options of a rule mean."""
    if retention == "age":
        return {"type": "Age", "maxAgeSeconds": parse_age(age or "")}
    if retention == "date":
        moment = parse_date(date)
        if moment is None:
            raise LockRulesError(
                f"{date!r} is no date: write it like 2027-01-31, or with a time and its zone like 2027-01-31T12:00:00Z."
            )
        return {"type": "Date", "date": format_date(moment)}
    return dict(INDEFINITE)


def rules_of_options(options: Iterable[Mapping[str, Any]]) -> list[Rule]:
    """Return the rules that a user's list of rules means."""
    found = []
    for option in options:
        if option["id"].startswith("holdfast/"):
            raise LockRulesError(
                f"The id {option['id']!r} is kept for the rules of repositories: use the option repository for those."
            )
        try:
            condition = condition_of(option["retention"], option.get("age"), option.get("date"))
        except LockRulesError as error:
            raise LockRulesError(f"Rule {option['id']!r}: {error}") from None
        found.append(
            {"id": option["id"], "enabled": option["enabled"], "prefix": option["prefix"] or "", "condition": condition}
        )
    return found


def desired_rules(params: Mapping[str, Any]) -> list[Rule]:
    """Return the rules that the options of the module r2_bucket_lock mean."""
    desired = rules_of_options(params["rules"] or [])
    return desired if params["repository"] is None else [*lock_set(params["repository"]), *desired]


# --- the plan ----------------------------------------------------------------------------------------------------


def plan(
    current: Iterable[Rule],
    desired: Iterable[Rule],
    *,
    state: str,
    now: datetime,
    purge: bool = False,
    allow_whole_bucket: bool = False,
) -> list[Rule]:
    """Return the document that should be there; a rule that is already as desired stays as it was read, in its place.

    Args:
        current: The rules as read.
        desired: The rules asked for; only their ids count for the state absent.
        state: present, absent, or exact (these and no others).
        now: The server's time, by which leases and dates are judged.
        purge: With exact, remove other rules instead of refusing to.
        allow_whole_bucket: Accept rules without a prefix.
    """
    current, desired = list(current), list(desired)
    _check_ids(desired)
    names = {rule["id"] for rule in desired}
    after = _with_desired(current, desired) if state != "absent" else [r for r in current if r["id"] not in names]
    if state == "exact":
        after = _only(after, desired, purge)
    changed = repositories(_differing(current, after))
    touched = [*repositories(desired), *changed]
    _check_document(current, touched)
    _check_no_live_window(current, touched, now)
    # The window of a repository that was touched has no holder any more: its lease goes with it.
    leases = {rule_id(prefix, WINDOW) for prefix in touched}
    after = [rule for rule in after if rule["id"] not in leases]
    if state != "absent":
        _check_desired(desired, current, now, allow_whole_bucket)
        _check_locks_stay_free(after, names)
    if len(after) > MAX_RULES and len(after) > len(current):
        raise LockRulesError(f"The bucket would have {len(after)} lock rules; R2 allows {MAX_RULES}.")
    return after


def _with_desired(current: list[Rule], desired: list[Rule]) -> list[Rule]:
    by_id = {rule["id"]: rule for rule in desired}
    present = {rule["id"] for rule in current}
    kept = []
    for rule in current:
        new = by_id.get(rule["id"], rule)
        kept.append(rule if same([rule], [new]) else {**rule, **new})
    return [*kept, *(rule for rule in desired if rule["id"] not in present)]


def _only(rules: list[Rule], desired: list[Rule], purge: bool) -> list[Rule]:
    names = {rule["id"] for rule in desired}
    own = {rule_id(prefix, WINDOW) for prefix in repositories(desired)}
    # Without it, the guard would not know that a token must be enabled again.
    kept = {rule["id"] for rule in rules if is_part(rule, FENCE)}
    others = [rule["id"] for rule in rules if rule["id"] not in names | own | kept]
    if others and not purge:
        shown = ", ".join(repr(name) for name in others[:5]) + (" …" if len(others) > 5 else "")
        raise LockRulesError(
            f"The lock document holds {len(others)} other rules ({shown}): name them, or say purge to remove them."
        )
    return [rule for rule in rules if rule["id"] in names | kept]


def _differing(before: list[Rule], after: list[Rule]) -> list[Rule]:
    kept = {id(rule) for rule in after}
    old = {id(rule) for rule in before}
    return [rule for rule in before if id(rule) not in kept] + [rule for rule in after if id(rule) not in old]


# --- what is refused ---------------------------------------------------------------------------------------------


def _check_ids(desired: list[Rule]) -> None:
    for name, count in Counter(rule["id"] for rule in desired).items():
        if count > 1:
            raise LockRulesError(f"The rule {name!r} is given {count} times: ids must be unique.")
        if not name or len(name.encode("utf-8", "surrogatepass")) > _MAX_BYTES or _CONTROL.search(name):
            raise LockRulesError(f"{name[:60]!r} is no id of a rule: write 1 to {_MAX_BYTES} printable characters.")


def _check_document(current: list[Rule], touched: list[str]) -> None:
    check_repositories(current, *touched)


def _check_no_live_window(current: list[Rule], touched: list[str], now: datetime) -> None:
    for window in windows(current):
        if window.prefix in touched and window.live(now) and window.lease is not None:
            raise LockRulesError(
                f"Maintenance of the repository {window.prefix!r} is at work: its window is open until "
                f"{format_date(window.lease)}; nothing was changed, run again after that.",
                window_prefix=window.prefix,
            )


def _check_desired(desired: list[Rule], current: list[Rule], now: datetime, allow_whole_bucket: bool) -> None:
    there = {rule["id"]: rule for rule in current}
    for rule in desired:
        where, prefix = f"Rule {rule['id']!r}:", rule["prefix"]
        if prefix == "" and not allow_whole_bucket:
            raise LockRulesError(
                f"{where} without a prefix it holds the whole bucket: say allow_whole_bucket if that is meant."
            )
        if (
            prefix.startswith("/")
            or _CONTROL.search(prefix)
            or len(prefix.encode("utf-8", "surrogatepass")) > _MAX_BYTES
        ):
            raise LockRulesError(
                f"{where} its prefix must not begin with a slash, hold control characters or exceed {_MAX_BYTES} bytes."
            )
        wrong = condition_problem(rule["condition"])
        if wrong:
            raise LockRulesError(f"{where} {wrong}.")
        # A date that has passed since the rule was written is no reason to fail: nothing is asked to change.
        moment = parse_date(rule["condition"].get("date"))
        unchanged = rule["id"] in there and same([there[rule["id"]]], [rule])
        if moment is not None and not unchanged and not now < moment < now + _FURTHEST_DATE:
            raise LockRulesError(f"{where} its date {format_date(moment)} is in the past, or more than 100 years away.")


def _check_locks_stay_free(after: list[Rule], names: set[str]) -> None:
    """Refuse a document in which restic could not delete its own lock files."""
    covering = [
        # A value that is no text may hold anything.
        (rule["id"], rule["prefix"] if isinstance(rule.get("prefix"), str) else "")
        for rule in after
        if not (is_part(rule, WINDOW) or is_part(rule, FENCE))
        and (rule.get("enabled") is not False or rule["id"] in names)
    ]
    for repository in repositories(after):
        locks = f"{repository}locks/"
        for name, prefix in covering:
            if locks.startswith(prefix) or prefix.startswith(locks):
                raise LockRulesError(
                    f"The rule {name!r} (prefix {prefix!r}) would hold {locks!r} of a repository: restic could not "
                    "remove its own lock files there, so nothing was changed."
                )
