# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deletes that are made and signed before they may be sent: no window is to stay open for the time that this takes.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .s3_types import S3Error

# How long to wait, in seconds, for a thread that is ready, or ends, in a few milliseconds.
_MOMENT = 1.0
# How often to look, in seconds, whether there was a signal.
_LOOK = 0.2

_own = threading.local()


class _Withdrawn(Exception):
    """The request is not to be sent any more."""


def await_turn(**_event: Any) -> None:
    """Holds the request of a prepared delete back until its turn; others go their way.

    For botocore's event `before-send`, in which a request is signed, and has no connection yet. A retry has it again.
    """
    prepared = getattr(_own, "prepared", None)
    if prepared is not None:
        prepared.hold()


class PreparedDelete:
    """One request in a thread of its own, which stands still before it would be sent. It is sent once, or never.

    Args:
        delete: Makes the request, sends it, and returns what was not deleted.
    """

    def __init__(self, delete: Callable[[], dict[str, S3Error]]) -> None:
        self._delete = delete
        self._ready, self._turn, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._withdrawn = False
        self._refused: dict[str, S3Error] = {}
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Make the request, in a few milliseconds; where there is no room for a thread, only when it is its turn."""
        # Signals are for the thread that waits for the answer.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._thread.start()
        except RuntimeError:
            self._ready.set()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._ready.wait(_MOMENT)

    def send(self) -> dict[str, S3Error]:
        """It is its turn: what the call that makes the request returns, or raises."""
        if self._thread.ident is None:
            return self._delete()
        try:
            self._turn.set()
            # In turns, because a signal that comes just before a wait begins does not end it.
            while not self._ended.wait(_LOOK):
                pass
        except BaseException:
            self.withdraw()
            raise
        if self._error is not None:
            raise self._error
        return self._refused

    def withdraw(self) -> None:
        """Send it no more: never, or, if it is being sent, not again. Waits for no answer."""
        self._withdrawn = True
        sent = self._turn.is_set()
        self._turn.set()
        if not sent and self._thread.is_alive():
            self._thread.join(_MOMENT)

    def hold(self) -> None:
        """Called by the thread itself, before the request is sent, and before each retry of it."""
        self._ready.set()
        self._turn.wait()
        if self._withdrawn:
            raise _Withdrawn

    def _run(self) -> None:
        _own.prepared = self
        try:
            with suppress(_Withdrawn):
                self._refused = self._delete()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error
        finally:
            self._ready.set()
            self._ended.set()
