# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does several things at a time.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# Two cores are what a maintenance node has to spare, and each restic may take the memory that one object needs.
_AT_A_TIME = 2

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_parallel(
    work: Callable[[_Item], _Result], items: Iterable[_Item], at_a_time: int = _AT_A_TIME
) -> dict[_Item, _Result]:
    """The results by item. At the first exception, items that have not begun are dropped."""
    with ThreadPoolExecutor(at_a_time) as pool:
        futures = {item: pool.submit(work, item) for item in items}
        try:
            return {item: future.result() for item, future in futures.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
