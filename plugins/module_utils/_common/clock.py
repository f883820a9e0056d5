# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures time by clocks that cannot be set.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


def elapsed() -> float:
    """Seconds of a clock that cannot be set and that goes on while the machine sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def awake() -> float:
    """Seconds of a clock that stands still while the machine sleeps: a timeout counts the time in which something was tried."""
    return time.monotonic()


@contextmanager
def unlimited(_seconds: float) -> Iterator[None]:
    """Does not limit the time of a request: the default of clients, in place of Control.limited() of a keeper."""
    yield
