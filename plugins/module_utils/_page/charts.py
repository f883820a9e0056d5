# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draws the lines of charts as paths of SVG. They are made of numbers alone. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timezone

Sizes = Sequence[tuple[datetime, float]]
_DAY = 86400
_STEPS = (60, 300, 900, 1800, 3600, 10800, 21600, 43200, *(_DAY * days for days in (1, 2, 7, 14, 28, 56, 91, 182, 364)))


def line(sizes: Sizes, begin: datetime, end: datetime, width: float, height: float, most: int = 0) -> str:
    """The path of a curve, with the highest value at the top and 0 at the bottom.

    Args:
        most: How many points it may have; all of them when 0. Between those that stay, others are left out. Such a small
            curve begins at the lowest value, or at 4 fifths of the highest one if that is less: it shows how it goes.
    """
    inside = [(at, value) for at, value in sizes if begin <= at <= end]
    if len(inside) < 2:
        return ""
    top = max(value for _at, value in inside) or 1.0
    low = min(0.8 * top, *(value for _at, value in inside)) if most else 0.0
    span = (end - begin).total_seconds()
    points = [
        (round((at - begin).total_seconds() / span * width, 1), round(height - (value - low) / (top - low) * height, 1))
        for at, value in _thinned(inside, most)
    ]
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def _thinned(points: Sizes, most: int) -> Sizes:
    if not most or len(points) <= most:
        return points
    last = len(points) - 1
    return [points[round(number * last / (most - 1))] for number in range(most)]


def area(path: str, height: float) -> str:
    """The surface below a curve."""
    if not path:
        return ""
    first, last = path[1:].split("L")[0].split()[0], path.rsplit("L", 1)[-1].split()[0]
    return f"{path}L{last} {height:g}L{first} {height:g}Z"


def ticks(moments: Sequence[datetime], begin: datetime, end: datetime, width: float, top: float, bottom: float) -> str:
    """A stroke for each moment; those that fall upon one another are one."""
    places = sorted({place(moment, begin, end, width) for moment in moments if begin <= moment <= end})
    return "".join(f"M{x:g} {top:g}V{bottom:g}" for x in places)


def place(moment: datetime, begin: datetime, end: datetime, width: float) -> float:
    """Where on the axis a moment is."""
    return round((moment - begin).total_seconds() / ((end - begin).total_seconds() or 1.0) * width, 1)


def axis(begin: datetime, end: datetime) -> list[tuple[float, str]]:
    """Shares of an axis of time from 0 to 100 with what is written there, at most nine: even times, midnights and so on."""
    seconds = (end - begin).total_seconds()
    step = next((step for step in _STEPS if seconds / step <= 8), _STEPS[-1])
    first = math.ceil(begin.timestamp() / step) * step
    found = []
    for number in range(9):
        moment = datetime.fromtimestamp(first + number * step, timezone.utc)
        if moment <= end:
            text = f"{moment:%H:%M}" if step < _DAY else f"{moment.day} {moment:%b}"
            found.append((place(moment, begin, end, 100), text))
    return found
