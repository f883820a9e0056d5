# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reasons to end a window: the pipe from the parent, and signals.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .._common.clock import elapsed

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


# How often to look, while a request waits for its answer, whether there is a reason not to wait any longer.
_TICK = 0.2


class Ending(BaseException):
    """The window has to close now; the text says why. Not an Exception, so that no library takes it for its own."""


class Control:
    """Waits for a reason to close. Made in the keeper, with the signals still blocked; unblocks them."""

    CLOSE = "its work is done"
    PARENT_GONE = "its parent is gone"

    def __init__(self, command: int) -> None:
        self.command = command
        self.reason: str | None = None
        self._watched = [command]
        self._detached = False
        self._line = b""
        self._waiting = False
        self._checks: list[Callable[[], None]] = []
        self._undisturbed = 0.0
        os.set_blocking(command, False)
        self._wake, wake_up = os.pipe()
        os.set_blocking(wake_up, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(wake_up, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self._signalled)
        signal.signal(signal.SIGALRM, self._tick)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*SIGNALS, signal.SIGALRM))

    def _signalled(self, number: int, _frame: Any) -> None:
        self.reason = self.reason or f"signal {signal.Signals(number).name}"

    def wait(self, seconds: float) -> str | None:
        """Wait until there is a reason to close, at most so long; returns the reason."""
        self._waiting = True
        try:
            return self._wait(elapsed() + seconds)
        finally:
            self._waiting = False

    def _wait(self, deadline: float) -> str | None:
        while self.reason is None:
            # Short turns, because the clock that select() counts by stands still while the machine sleeps.
            left = min(max(deadline - elapsed(), 0.0), 1.0)
            ready, _writable, _failed = select.select([*self._watched, self._wake], [], [], left)
            if self._wake in ready:
                self._drain(self._wake)
            if self.command in ready:
                self._read()
            elif elapsed() >= deadline:
                break
        return self.reason

    @staticmethod
    def _drain(descriptor: int) -> bytes | None:
        """The bytes in a pipe; None when there are none after all."""
        try:
            return os.read(descriptor, 4096)
        except BlockingIOError:
            return None

    def _read(self) -> None:
        data = self._drain(self.command)
        if data is None:
            return
        if not data:
            self._watched = []
            if not self._detached:
                self.reason = self.reason or self.PARENT_GONE
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if line == b"close":
                self.reason = self.reason or self.CLOSE
            elif line == b"detach":
                self._detached = True

    # Requests that take too long ---------------------------------------------------------------------------------

    @contextmanager
    def interrupting(self, due: Callable[[], str | None]) -> Iterator[None]:
        """Inside the block, every reason to close the window ends even a request that waits for its answer.

        Args:
            due: Tells why the window has to close by now as far as time goes.
        """

        def check() -> None:
            if self._watched and not self._waiting and select.select(self._watched, [], [], 0)[0]:
                self._read()
            reason = due() or (None if self._waiting or elapsed() < self._undisturbed else self.reason)
            if reason:
                raise Ending(reason)

        with self._checking(check):
            yield

    def undisturbed(self, seconds: float) -> None:
        """For so long, let requests come to their answer, unless time is over: closing builds upon it."""
        self._undisturbed = elapsed() + seconds

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Inside the block, TimeoutError comes when it takes longer: a server may answer byte by byte for ever."""
        deadline = elapsed() + seconds

        def check() -> None:
            nonlocal deadline
            if elapsed() >= deadline:
                deadline += seconds  # a retry inside the block has the same time once more
                raise TimeoutError(f"no whole answer within {seconds:g} seconds")

        with self._checking(check):
            yield

    @contextmanager
    def _checking(self, check: Callable[[], None]) -> Iterator[None]:
        before = len(self._checks)
        if not before:
            signal.setitimer(signal.ITIMER_REAL, _TICK, _TICK)
        try:
            self._checks.append(check)
            yield
        finally:
            del self._checks[before:]
            if not before:
                self.calm()

    def calm(self) -> None:
        """From now on nothing is interrupted."""
        self._checks.clear()
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _tick(self, _number: int, _frame: Any) -> None:
        for check in list(self._checks):
            check()
