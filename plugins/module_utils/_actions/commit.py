# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deletes the prepared keys, exactly those, in one window, by a few requests.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from .._common.clock import awake
from .._common.errors import HoldfastError
from .._r2.prepared_deletes import PreparedDelete
from .._r2.s3 import S3, S3Error
from .._windows.session import WindowSession
from .prepare import PARTS

Parts = tuple[str, ...]

# Between two tries of deletes that were refused, in seconds: at first, and at most.
_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
# A lease for so many seconds fits any commit of so many requests, each of which deletes a thousand objects.
_SECONDS_A_REQUEST = 5.0
_REQUEST = 1000

_LEASE = 300.0


def lease_for(count: int) -> float:
    """For how many seconds to lease a window in which so many objects are deleted."""
    return max(_LEASE, _SECONDS_A_REQUEST * (count // _REQUEST + len(PARTS)))


@dataclass
class Commit:
    """One window, and the deletes in it.

    Args:
        s3: The bucket.
        name: What a person calls the repository.
        open_window: Makes a window over these parts, for so many objects.
        timeout: Seconds to repeat deletes that are refused; every one that succeeds begins them anew.
        windows: Gets the report of the window, if it was open.
        sleep: Waits for so many seconds.
        lost: Tells why the fence in front of the window is not there any more.
    """

    s3: S3
    name: str
    open_window: Callable[[Parts, int], WindowSession]
    timeout: float
    windows: list[dict[str, Any]] = field(default_factory=list)
    sleep: Callable[[float], None] = time.sleep
    lost: Callable[[], Optional[str]] = lambda: None

    def run(self, keys: Mapping[str, Collection[str]]) -> list[str]:
        """Delete these keys of each part; returns the packs that could not be deleted, of which nothing is needed."""
        parts = tuple(part for part in PARTS if keys.get(part))
        window = self.open_window(parts, sum(len(keys[part]) for part in parts))
        prepared: dict[str, PreparedDelete] = {}
        window.meanwhile = lambda: self._prepare(keys, parts, prepared)
        # Python looking through all that was judged would take its time while something is unlocked.
        gc.disable()
        try:
            with window:
                left: dict[str, S3Error] = {}
                for part in parts:
                    left = self._delete(window, part, keys[part], prepared.get(part))
                return sorted(left)
        finally:
            gc.enable()
            for request in prepared.values():
                request.withdraw()
            if window.report.get("opened"):
                self.windows.append(window.report)

    def _prepare(self, keys: Mapping[str, Collection[str]], parts: Parts, prepared: dict[str, PreparedDelete]) -> None:
        """Make and sign the first request of each part, as far as one does for it."""
        # The first answer of a process takes longer than others, and of a process that has just forked, too.
        self.s3.rehearse_delete()
        for part in parts:
            request = self.s3.prepared_delete(keys[part])
            if request is None:
                continue
            prepared[part] = request
            request.start()

    def _delete(
        self, window: WindowSession, part: str, keys: Collection[str], prepared: Optional[PreparedDelete]
    ) -> dict[str, S3Error]:
        """Delete until nothing is left, or until no delete succeeds for the timeout."""
        pause, deadline = _PAUSE, awake() + self.timeout
        left = dict.fromkeys(keys, S3Error(""))
        while left:
            self._stop_if_over(window)
            refused = self.s3.delete_many(left, prepared)
            prepared = None
            if len(refused) < len(left):
                pause, deadline = _PAUSE, awake() + self.timeout
            left = refused
            if left and awake() + pause >= deadline:
                return self._give_up(part, left)
            if left:
                self.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        return left

    def _stop_if_over(self, window: WindowSession) -> None:
        over = window.over()
        if over:
            raise HoldfastError(f"The window of {self.name} ended before all was deleted: {over}.")
        lost = self.lost()
        if lost:
            raise HoldfastError(f"The fence of {self.name} was lost before all was deleted: {lost}.")

    def _give_up(self, part: str, left: dict[str, S3Error]) -> dict[str, S3Error]:
        if part == PARTS[-1]:
            return left
        first = min(left)
        raise HoldfastError(
            f"{len(left)} objects of {self.name} could not be deleted for {self.timeout:g} seconds, so that nothing was "
            f"deleted after them; the repository is whole, run maintenance again. The first: {left[first]}"
        )
