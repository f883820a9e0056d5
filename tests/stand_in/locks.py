# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bucket lock rules: which are written down, which are in force, and since when."""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

MAX_RULES = 1000


def parse_instant(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 date-time."""
    parsed = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=datetime.timezone.utc)
    return parsed.timestamp()


def _check_condition(condition: Any) -> None:
    kind = condition.get("type") if isinstance(condition, dict) else None
    if kind == "Age":
        age = condition.get("maxAgeSeconds")
        if not isinstance(age, int) or isinstance(age, bool):
            raise ValueError("maxAgeSeconds is not an integer")
    elif kind == "Date":
        parse_instant(str(condition.get("date")))
    elif kind != "Indefinite":
        raise ValueError("unknown condition")


def check_rules(rules: Any) -> list[dict[str, Any]]:
    """The rules as R2 keeps them; ValueError if they do not fit its schema."""
    if not isinstance(rules, list) or len(rules) > MAX_RULES:
        raise ValueError(f"rules is not a list of at most {MAX_RULES}")
    for rule in rules:
        if not isinstance(rule, dict) or not isinstance(rule.get("id"), str):
            raise ValueError("a rule has no id")
        if not isinstance(rule.get("enabled"), bool):
            raise ValueError("enabled is not a boolean")
        if not isinstance(rule.get("prefix", ""), str):
            raise ValueError("prefix is not a string")
        _check_condition(rule.get("condition"))
    return rules


@dataclass
class Enforcement:
    """One enabled rule, and when it is in force."""

    prefix: str
    condition: dict[str, Any]
    since: float
    until: Optional[float] = None

    def at(self, now: float) -> bool:
        """Whether the rule is in force at that time."""
        return self.since <= now and (self.until is None or now < self.until)

    def holds(self, key: str, uploaded: float, now: float) -> bool:
        """Whether the rule keeps an object uploaded then from being changed now."""
        if not key.startswith(self.prefix) or not self.at(now):
            return False
        if self.condition["type"] == "Age":
            return uploaded + float(self.condition["maxAgeSeconds"]) > now
        if self.condition["type"] == "Date":
            return parse_instant(self.condition["date"]) > now
        return True


@dataclass
class Locks:
    """The lock document of one bucket and the history of what it put in force."""

    rules: Optional[list[dict[str, Any]]] = None
    history: list[Enforcement] = field(default_factory=list)

    def __post_init__(self) -> None:
        # What has ended long ago is of interest to the ledger only; there may be thousands.
        self._current = list(self.history)

    def replace(self, rules: list[dict[str, Any]], now: float, lock_delay: float, unlock_delay: float) -> None:
        """Take a new document; what it changes takes effect after the delays."""
        wanted = [(rule.get("prefix", ""), rule["condition"]) for rule in rules if rule["enabled"]]
        for entry in self._current:
            if entry.until is None:
                if (entry.prefix, entry.condition) in wanted:
                    wanted.remove((entry.prefix, entry.condition))
                else:
                    entry.until = max(now + unlock_delay, entry.since)
        fresh = [Enforcement(prefix, condition, now + lock_delay) for prefix, condition in wanted]
        self.history += fresh
        self._current += fresh
        self.rules = rules

    def hold(self, key: str, uploaded: float, now: float) -> bool:
        """Whether any rule in force keeps this object from being changed."""
        self._current = [entry for entry in self._current if entry.until is None or entry.until > now]
        return any(entry.holds(key, uploaded, now) for entry in self._current)

    def to_json(self) -> dict[str, Any]:
        """As it is written to disk."""
        return {"rules": self.rules, "history": [asdict(entry) for entry in self.history]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Locks:
        """As it was written to disk."""
        return cls(data["rules"], [Enforcement(**entry) for entry in data["history"]])
