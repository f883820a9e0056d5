# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Knows calendar events in the words of systemd.time(7): the maintenance node may have no systemd to ask. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import difflib
import re

WORDS = (
    "minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly", "annually", "quarterly",
    "semi-annually", "anually", "bi-annually", "biannually",
)  # fmt: skip
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_PART = re.compile(rf"{_NUMBER}(?:\.\.{_NUMBER})?(?:/{_NUMBER})?")
# Which of them there are, the host knows.
_ZONE = re.compile(r"[A-Z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")


def is_event(text: str) -> bool:
    """Whether systemd reads it as a calendar event."""
    words = text.split()
    if len(words) > 1 and _ZONE.fullmatch(words[-1]) and not _is_weekdays(words[-1]):
        words.pop()
    if len(words) == 1 and (words[0].lower() in WORDS or re.fullmatch(r"@[0-9]+", words[0])):
        return True
    forms = [_is_weekdays, _is_date, _is_time]
    for word in words:
        while forms and not forms[0](word):
            forms.pop(0)
        if not forms:
            return False
        forms.pop(0)
    return bool(words)


def nearest(text: str) -> str:
    """The word that was probably meant; empty when none is near."""
    return next(iter(difflib.get_close_matches(text.strip().lower(), WORDS[:7], 1)), "")


def _is_weekdays(word: str) -> bool:
    named = word.lower().rstrip(",").split(",")
    ends = [re.split(r"\.\.|-", part) for part in named]
    return all(len(part) <= 2 and all(_is_day(day) for day in part) for part in ends)


def _is_day(name: str) -> bool:
    return name in DAYS or name in [day[:3] for day in DAYS]


def _is_date(word: str) -> bool:
    found = re.fullmatch(r"(?:([^-~]+)-)?([^-~]+)[-~]([^-~]+)", word)
    if not found:
        return False
    year, month, day = found.groups()
    return (year is None or _fits(year, 0, 99) or _fits(year, 1970, 2199)) and _fits(month, 1, 12) and _fits(day, 1, 31)


def _is_time(word: str) -> bool:
    parts = word.split(":")
    limits = ((0, 23), (0, 59), (0, 59.999999))
    return len(parts) in (2, 3) and all(_fits(part, *limit) for part, limit in zip(parts, limits, strict=False))


def _fits(component: str, low: float, high: float) -> bool:
    """A star, or numbers, ranges and repetitions between two limits."""
    if component == "*":
        return True
    for part in component.split(","):
        found = _PART.fullmatch(part)
        if not found:
            return False
        start, end, repeat = (None if one is None else float(one) for one in found.groups())
        last = start if end is None else end
        if start is None or last is None or start < low or last > high or last < start:
            return False
        if repeat is not None and (repeat == 0 or (end is None and start + repeat > high)):
            return False
    return True
