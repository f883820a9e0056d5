# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names the lock rules of a repository, and finds them, and mistakes, in a lock document. Pure.

Rules are dicts exactly as the API returned them. Every function returns new lists and leaves the rules of others,
with all their fields, as they were read.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Dict  # noqa: UP035

from .._common.dates import format_date, parse_date
from .._common.errors import HoldfastError

# Spelt so that it can be imported by every Python that ansible-core's own checks import with.
Rule = Dict[str, Any]  # noqa: UP006

INDEFINITE: Rule = {"type": "Indefinite"}
PARTS = ("config", "data", "index", "keys", "snapshots")
MAX_RULES = 1000

_NAMESPACE = "holdfast/"
WINDOW, FENCE = "window", "fence"
_KNOWN_FIELDS = ("id", "enabled", "prefix", "condition")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# restic takes these in its address for something else, and would work below another prefix than the one that is locked.
_MISREAD = re.compile(r"[%?#]")
HOLDER = re.compile(r"[0-9a-f]{8,64}")
_FENCED = re.compile(r"([0-9a-f]{8,64})((?:/[A-Za-z0-9_-]{1,64})+)")


class LockRulesError(HoldfastError):
    """The lock document, or a desired change of it, makes no sense or is not safe."""


@dataclass(frozen=True)
class Problem:
    """Something in a lock document that a person has to look at.

    prefix is that of the repository concerned; None for a rule that belongs to none, or for the whole document.
    """

    prefix: str | None
    sentence: str
    whole: bool = False

    def concerns(self, prefix: str) -> bool:
        return self.whole or self.prefix == prefix


# --- reading -----------------------------------------------------------------------------------------------------


def rules_of(result: Any, bucket: str) -> list[Rule]:
    """Return the rules in the result of a GET, as they are; a bucket that never had rules has no list."""
    rules = result.get("rules", []) if isinstance(result, dict) else None
    wrong = None if isinstance(rules, list) else "is no list of rules"
    if any(not isinstance(rule, dict) or not isinstance(rule.get("id"), str) or not rule["id"] for rule in rules or []):
        wrong = "holds a rule without an id"
    if wrong:
        raise LockRulesError(f"The lock document of bucket {bucket!r} {wrong}: it is left alone, correct it by hand.")
    return list(rules)  # type: ignore[arg-type]


def normalise(rules: Iterable[Rule]) -> list[Rule]:
    """Return the rules in one spelling (a prefix always there, dates in UTC), for comparing and showing only."""
    return [_normalised(rule) for rule in rules]


def _normalised(rule: Rule) -> Rule:
    condition = rule.get("condition")
    moment = parse_date(condition.get("date")) if isinstance(condition, dict) else None
    if moment is not None:
        condition = {**condition, "date": format_date(moment)}  # type: ignore[dict-item]
    return {**rule, "prefix": rule.get("prefix") or "", "condition": condition}


def differences(before: Iterable[Rule], after: Iterable[Rule]) -> list[dict[str, Any]]:
    """Return what differs, by id: a list of {id, before, after}. Order and spelling do not count.

    Fields that this collection does not know do not count either: it never changes them, and the service may.
    """
    old, new = _by_id(before), _by_id(after)
    return [
        {"id": key[0], "before": old.get(key), "after": new.get(key)}
        for key in sorted({**old, **new})
        if old.get(key) != new.get(key)
    ]


def same(before: Iterable[Rule], after: Iterable[Rule]) -> bool:
    return not differences(before, after)


def _by_id(rules: Iterable[Rule]) -> dict[tuple[str, int], Rule]:
    found: dict[tuple[str, int], Rule] = {}
    occurrences: Counter[str] = Counter()
    for rule in normalise(rules):
        found[rule["id"], occurrences[rule["id"]]] = {field: rule[field] for field in _KNOWN_FIELDS if field in rule}
        occurrences[rule["id"]] += 1
    return found


# --- our rules ---------------------------------------------------------------------------------------------------


def normalise_prefix(prefix: str) -> str:
    """Return the prefix of a repository: empty, or with exactly one slash at its end."""
    if prefix == "":
        return ""
    whole = prefix if prefix.endswith("/") else prefix + "/"
    strange = any(component in ("", ".", "..") for component in whole[:-1].split("/"))
    if strange or _CONTROL.search(whole) or _MISREAD.search(whole):
        raise LockRulesError(
            f"{prefix!r} is no prefix of a repository: leave out slashes at the start, double slashes, '.' and '..', "
            "the characters %, ? and #, and control characters."
        )
    if len(whole.encode("utf-8", "surrogatepass")) > 900:
        raise LockRulesError("The prefix of a repository must not be longer than 900 bytes.")
    return whole


def lock_set(prefix: str, condition: Rule | None = None) -> list[Rule]:
    """Return the five rules that hold the repository at this prefix."""
    prefix = normalise_prefix(prefix)
    held = condition or INDEFINITE
    return [
        {"id": rule_id(prefix, part), "enabled": True, "prefix": _covered(prefix, part), "condition": dict(held)}
        for part in PARTS
    ]


def rule_id(prefix: str, part: str) -> str:
    return f"{_NAMESPACE}{prefix}{part}"


def _covered(prefix: str, part: str) -> str:
    return f"{prefix}{part}" if part == "config" else f"{prefix}{part}/"


def is_ours(rule: Rule) -> bool:
    """Tell whether the id is in the name space of this collection."""
    return bool(rule["id"].startswith(_NAMESPACE))


def identify(rule: Rule) -> tuple[str, str] | None:
    """Return (prefix of the repository, part) of a rule that this collection writes, else None."""
    if not is_ours(rule):
        return None
    prefix, slash, part = rule["id"].removeprefix(_NAMESPACE).rpartition("/")
    prefix += slash
    if part not in (*PARTS, WINDOW, FENCE):
        return None
    try:
        return (prefix, part) if normalise_prefix(prefix) == prefix else None
    except LockRulesError:
        return None


def in_the_way(rules: Iterable[Rule], prefix: str, now: datetime) -> list[Rule]:
    """Return the rules of others that hold objects which maintenance or restic deletes, also when ours are unlocked."""
    deleted = [f"{prefix}{part}/" for part in ("data", "index", "locks", "snapshots")]
    return [
        rule
        for rule in rules
        if not is_ours(rule) and rule.get("enabled") is not False and not _over(rule, now)
        for held in [rule.get("prefix") or ""]
        if any(part.startswith(held) or held.startswith(part) for part in deleted)
    ]


def in_the_way_sentence(rule: Rule, prefix: str) -> str:
    """Say which rule of others is in the way."""
    held = rule.get("prefix") or ""
    what = f"everything below {held!r}" if held else "the whole bucket"
    return (
        f"The lock rule {rule['id']!r}, which is not of this collection, holds {what}, so that maintenance could delete nothing "
        f"of {prefix or 'the repository'}: it is never touched here; remove it, or give it another prefix, in Cloudflare's "
        "dashboard."
    )


def _over(rule: Rule, now: datetime) -> bool:
    """Tell whether it is a rule until a day that has passed."""
    until = lease_of(rule)
    return until is not None and until <= now


def is_part(rule: Rule, part: str) -> bool:
    """Tell whether it is our rule for this part of some repository."""
    name = identify(rule)
    return name is not None and name[1] == part


def repositories(rules: Iterable[Rule]) -> list[str]:
    """Return the prefixes of all repositories that have a rule of ours, in the order of the document."""
    found = (identify(rule) for rule in rules)
    return list(dict.fromkeys(name[0] for name in found if name is not None))


def missing_parts(rules: Iterable[Rule], prefix: str) -> list[str]:
    """Return the parts of a repository that have no rule at all."""
    ids = {rule["id"] for rule in rules}
    return [part for part in PARTS if rule_id(prefix, part) not in ids]


def condition_problem(condition: Any) -> str | None:
    """Return the mistake in the shape of a condition."""
    kind = condition.get("type") if isinstance(condition, dict) else None
    if kind == "Indefinite":
        return None
    if kind == "Age":
        age = condition.get("maxAgeSeconds")
        return (
            None
            if isinstance(age, int) and not isinstance(age, bool) and age > 0
            else "its age is not a number of seconds above 0"
        )
    if kind == "Date":
        return None if parse_date(condition.get("date")) else "its date cannot be read"
    return "its condition is none of Indefinite, Age, Date"


# --- what is wrong -----------------------------------------------------------------------------------


def problems(rules: Iterable[Rule]) -> list[Problem]:
    """Return what a person must put right before we may plan with it. A document with a problem is left alone."""
    rules = list(rules)
    found = [Problem(None, sentence, whole=True) for sentence in duplicates(rules)]
    for rule in rules:
        name = identify(rule)
        sentence = rule_problem(rule, *name) if name else None
        if name is None and is_ours(rule):
            sentence = f"The rule {rule['id']!r} has an id like ours, but is none that this collection writes."
        if sentence:
            found.append(Problem(name[0] if name else None, sentence))
    return found


def check_repositories(rules: list[Rule], *prefixes: str) -> None:
    """Raise LockRulesError when the document as a whole, or the rules of one of these repositories, make no sense."""
    for problem in problems(rules):
        if problem.whole or problem.prefix in prefixes:
            raise LockRulesError(f"{problem.sentence} Nothing was changed; correct it by hand.")


def duplicates(rules: list[Rule]) -> list[str]:
    counted = Counter(rule["id"] for rule in rules)
    sentence = "The lock document holds the rule {0!r} more than once; which one counts is not known."
    return [sentence.format(name) for name, count in counted.items() if count > 1]


def rule_problem(rule: Rule, prefix: str, part: str) -> str | None:
    name = f"The rule {rule['id']!r} is not as this collection writes it:"
    if not isinstance(rule.get("enabled"), bool):
        return f"{name} it is neither enabled nor disabled."
    if part == WINDOW:
        if rule["enabled"] or holder_of(rule, prefix) is None or lease_of(rule) is None:
            return f"{name} it should be a disabled rule that names a window's holder and the date of its lease."
        return None
    if part == FENCE:
        if rule["enabled"] or fenced(rule, prefix) is None or lease_of(rule) is None:
            return f"{name} it should be a disabled rule that names a fence's holder, its tokens and the date of its lease."
        return None
    if rule.get("prefix") != _covered(prefix, part):
        return f"{name} its prefix is {rule.get('prefix')!r} and should be {_covered(prefix, part)!r}."
    wrong = condition_problem(rule.get("condition"))
    return f"{name} {wrong}." if wrong else None


def holder_of(rule: Rule, prefix: str) -> str | None:
    start, value = f"{prefix}{WINDOW}/", rule.get("prefix")
    if not isinstance(value, str) or not value.startswith(start):
        return None
    holder = value.removeprefix(start)
    return holder if HOLDER.fullmatch(holder) else None


def fenced(rule: Rule, prefix: str) -> tuple[str, tuple[str, ...]] | None:
    """Return (holder, ids of the tokens) of the rule of a fence."""
    value = rule.get("prefix")
    found = _FENCED.fullmatch(value.removeprefix(f"{prefix}{FENCE}/")) if isinstance(value, str) else None
    if not found or value != f"{prefix}{FENCE}/{found[0]}":
        return None
    return found[1], tuple(found[2][1:].split("/"))


def lease_of(rule: Rule) -> datetime | None:
    condition = rule.get("condition")
    if not isinstance(condition, dict) or condition.get("type") != "Date":
        return None
    return parse_date(condition.get("date"))
