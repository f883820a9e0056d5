# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads lengths of time as restic writes them, in years, months, days and hours. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import NamedTuple, Optional

from .errors import HoldfastError


class DurationError(HoldfastError):
    """A text is no duration."""


class Duration(NamedTuple):
    """A length of time as restic writes it, for example 1y5m7d2h."""

    years: int
    months: int
    days: int
    hours: int

    def __str__(self) -> str:
        return "".join(f"{number}{unit}" for number, unit in zip(self, "ymdh") if number)

    def before(self, moment: Optional[datetime]) -> Optional[datetime]:
        """The instant this long before the moment; None when there is no such instant."""
        if moment is None:
            return None
        year, month = divmod(moment.year * 12 + moment.month - 1 - self.years * 12 - self.months, 12)
        try:
            # A day that the month does not have runs over into the next month, as in restic.
            start = moment.replace(year=year, month=month + 1, day=1)
            return start + timedelta(days=moment.day - 1 - self.days, hours=-self.hours)
        except (ValueError, OverflowError):
            return None


NO_TIME = Duration(0, 0, 0, 0)


def parse_duration(text: str, name: str = "The duration") -> Duration:
    """Read a duration; a unit that is named twice counts with its last number, as in restic.

    Args:
        text: For example "1y5m7d2h"; empty for no time.
        name: What a message calls it.

    Raises:
        DurationError: It is no duration.
    """
    text = text.strip()
    if not re.fullmatch(r"(?:\d{1,6}[ymdh])*", text):
        raise DurationError(f"{name} is {text!r}; write it like 1y5m7d2h, in years, months, days and hours.")
    numbers = {unit: int(number) for number, unit in re.findall(r"(\d+)([ymdh])", text)}
    return Duration(*(numbers.get(unit, 0) for unit in "ymdh"))
