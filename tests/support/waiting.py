# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wait for what can only be seen by looking. A deadline is there for what never comes: it says nothing about how fast."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

DEADLINE = 60.0
PAUSE = 0.01


def happens(condition: Callable[[], Any], seconds: float = DEADLINE) -> bool:
    """Whether something comes about in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            # Who was not let run for so long has not looked for so long either.
            return bool(condition())
        time.sleep(PAUSE)
    return True


def wait_for(condition: Callable[[], Any], what: str = "this", seconds: float = DEADLINE) -> float:
    """Wait until something has come about; how many seconds that took."""
    start = time.monotonic()
    assert happens(condition, seconds), f"{what} did not come about within {seconds:.0f} s"
    return time.monotonic() - start
