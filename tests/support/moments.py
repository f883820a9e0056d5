# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Something is done at one moment of maintenance, which stands still meanwhile: the stand-in holds a request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.stand_in.client import StandIn

TIMEOUT = 120.0


def await_request(stand_in: StandIn, skip: int = 0, since: int = 0, **wanted: Any) -> int:
    """Wait until a request has come in, after so many others of its kind; its number."""
    for _time in range(skip + 1):
        since = stand_in.wait_for_request(timeout=TIMEOUT, since=since, arrived=True, **wanted)["n"]
    return since


@contextmanager
def at(stand_in: StandIn, moment: dict[str, Any], work: Callable[[], Any]) -> Iterator[None]:
    """Do the work when the request comes, which is held until the work is done.

    Args:
        moment: Which request: what a fault of the stand-in goes by.
    """
    stand_in.fault(held=True, **moment)
    failures: list[BaseException] = []
    since = stand_in.last_request()

    def wait() -> None:
        try:
            await_request(stand_in, since=since, **moment)
            work()
        except BaseException as error:  # noqa: BLE001 - the test fails with it
            failures.append(error)
        finally:
            stand_in.clear_faults()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        thread.join(timeout=2 * TIMEOUT)
    assert not failures and not thread.is_alive(), failures
