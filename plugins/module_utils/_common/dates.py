# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads and writes dates in the form of Cloudflare's API.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2})))?"
)


def parse_date(text: Any) -> datetime | None:
    """Return the instant of an RFC 3339 time, or of a date (midnight UTC); None when it is neither."""
    match = _DATE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = match.groups()
    microsecond = int((fraction or "0")[:6].ljust(6, "0"))
    offset = timedelta(hours=int(offset_hours or 0), minutes=int(offset_minutes or 0))
    try:
        clock = (int(hour or 0), int(minute or 0), int(second or 0), microsecond)
        moment = datetime(int(year), int(month), int(day), *clock, tzinfo=timezone.utc)
        return moment + offset if sign == "-" else moment - offset
    except (ValueError, OverflowError):
        return None


def format_date(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
