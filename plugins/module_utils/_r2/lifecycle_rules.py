# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans a bucket's lifecycle rules, in the shape of the S3 API. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._common.errors import HoldfastError

ABORT_ID = "holdfast/abort-multipart"
MAX_RULES = 1000

Rule = dict[str, Any]


class LifecycleError(HoldfastError):
    """The desired lifecycle rules make no sense or are not safe."""


def desired_rules(abort_multipart_days: int, rules: Iterable[dict[str, Any]]) -> list[Rule]:
    """The rules that the module's options describe."""
    days = _days("abort_multipart_days", abort_multipart_days)
    desired = [_rule(ABORT_ID, "", {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}})]
    for rule in rules:
        if not rule["id"] or len(rule["id"]) > 255:
            raise LifecycleError(f"The id {rule['id']!r} of a lifecycle rule must have 1 to 255 characters.")
        days = _days(f"expire_days of the lifecycle rule {rule['id']!r}", rule["expire_days"])
        desired.append(_rule(rule["id"], rule["prefix"], {"Expiration": {"Days": days}}))
    ids = [rule["ID"] for rule in desired]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise LifecycleError(f"The lifecycle rule {twice[0]!r} is asked for more than once (or the name is reserved).")
    return desired


def _days(name: str, days: int) -> int:
    if not 1 <= days <= 36500:
        raise LifecycleError(f"{name} is {days}; it must be a number of days from 1 to 36500.")
    return days


def _rule(name: str, prefix: str, action: Rule) -> Rule:
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}, **action}


def plan(current: list[Rule], desired: list[Rule], *, purge: bool) -> list[Rule]:
    """The whole rule list after the change: foreign rules stay as they are and where they are, unless purged."""
    by_id = {rule["ID"]: rule for rule in desired}
    after = []
    for rule in current:
        mine = by_id.pop(rule.get("ID", ""), None)
        if mine is None and not purge:
            after.append(rule)
        elif mine is not None:
            after.append(rule if normalise(rule) == normalise(mine) else mine)
    after += by_id.values()
    if len(after) > MAX_RULES:
        raise LifecycleError(f"The bucket would have {len(after)} lifecycle rules; R2 holds at most {MAX_RULES}.")
    return after


def prefix_of(rule: Rule) -> str:
    """The prefix of a rule, wherever the service put it."""
    found = rule.get("Filter", {})
    return str(found.get("Prefix") or found.get("And", {}).get("Prefix") or rule.get("Prefix") or "")


def normalise(rule: Rule) -> Rule:
    """A rule in the one spelling that is compared and shown."""
    same = {key: value for key, value in rule.items() if key not in ("Filter", "Prefix")}
    tags = {key: value for key, value in rule.get("Filter", {}).items() if key != "Prefix"}
    return {**same, **({"Filter": tags} if tags else {}), "Prefix": prefix_of(rule)}


def normalised(rules: Iterable[Rule]) -> list[Rule]:
    return sorted((normalise(rule) for rule in rules), key=lambda rule: str(rule.get("ID", "")))


def deleting(rules: Iterable[Rule]) -> list[Rule]:
    """The rules that delete objects."""
    return [rule for rule in rules if "Expiration" in rule and rule.get("Status") == "Enabled"]


def endangered(rules: Iterable[Rule], locked: Iterable[str]) -> list[tuple[Rule, str]]:
    """The rules that would delete below a locked prefix, each with the first such prefix.

    A lock holds such a deletion back, but only until a window opens.
    """
    prefixes = list(locked)
    found = []
    for rule in deleting(rules):
        mine = prefix_of(rule)
        hit = next((prefix for prefix in prefixes if prefix.startswith(mine) or mine.startswith(prefix)), None)
        if hit is not None:
            found.append((rule, hit))
    return found
