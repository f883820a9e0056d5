# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes times, sizes, costs and counts as a person reads them. Pure; all times are UTC.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Optional

GIGABYTE = 1e9
# Typographers' dash and minus.
UNKNOWN, MINUS = "\u2013", "\u2212"
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def clock(moment: Optional[datetime], year: bool = True) -> str:
    """A day with its time, in UTC."""
    if moment is None:
        return UNKNOWN
    at = moment.astimezone(timezone.utc)
    return f"{at.day} {_MONTHS[at.month - 1]}{f' {at.year}' if year else ''}, {at:%H:%M} UTC"


def exact(moment: Optional[datetime]) -> str:
    """The same to the second, where what came a moment before or after it counts."""
    return clock(moment).replace(" UTC", f":{moment.astimezone(timezone.utc):%S} UTC") if moment else UNKNOWN


def short(moment: Optional[datetime], now: datetime) -> str:
    """The time of a moment of today, the day of an older one, with its year when that is another."""
    if moment is None:
        return UNKNOWN
    at, today = moment.astimezone(timezone.utc), now.astimezone(timezone.utc)
    if at.date() == today.date():
        return f"{at:%H:%M}"
    return f"{at.day} {_MONTHS[at.month - 1]}" + ("" if at.year == today.year else f" {at.year}")


def age(moment: Optional[datetime], now: datetime) -> str:
    if moment is None:
        return "never"
    seconds = (now - moment).total_seconds()
    return (
        "just now" if abs(seconds) < 60 else f"in {duration(-seconds)}" if seconds < 0 else f"{duration(seconds)} ago"
    )


def duration(seconds: float) -> str:
    """A length of time in one unit, of which there are two or more."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    if 0 < seconds < 0.1:
        return "under 0.1 s"
    return f"{int(seconds)} s" if seconds >= 10 else f"{seconds:.1f} s"


def size(count: Optional[float]) -> str:
    """Bytes in units of 1000, which R2 bills."""
    if count is None:
        return UNKNOWN
    number = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"


def money(amount: Optional[float], currency: str) -> str:
    if amount is None:
        return UNKNOWN
    return f"< {currency}0.01" if 0 < amount < 0.005 else f"{currency}{amount:,.2f}"


def cost(stored: Optional[float], price: float) -> Optional[float]:
    """What so many bytes cost in a month."""
    return None if stored is None else stored / GIGABYTE * price


def counted(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def growth(sizes: tuple[tuple[datetime, float], ...]) -> Optional[float]:
    """By which share the last size is more than the first one."""
    return sizes[-1][1] / sizes[0][1] - 1 if len(sizes) > 1 and sizes[0][1] else None


def percentage(share: Optional[float]) -> str:
    if share is None:
        return ""
    text = f"{share * 100:+.0f} %" if abs(share) >= 0.1 else f"{share * 100:+.1f} %"
    return text.replace("-", MINUS)
