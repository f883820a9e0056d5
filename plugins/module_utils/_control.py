# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can end a window: the pipe from the parent, and signals. And the processes that must end before it closes.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def elapsed() -> float:
    """Seconds of a clock that nobody can set and that goes on while the machine sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Control:
    """Waits for a reason to close. Made in the keeper, with the signals still blocked; unblocks them."""

    CLOSE = "its work is done"
    PARENT_GONE = "its parent is gone"

    def __init__(self, command: int) -> None:
        self.command = command
        self.reason: str | None = None
        self.guarded: dict[int, int] = {}
        self._watched = [command]
        self._detached = False
        self._line = b""
        self._wake, wake_up = os.pipe()
        os.set_blocking(wake_up, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(wake_up, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self._signalled)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _signalled(self, number: int, _frame: Any) -> None:
        self.reason = self.reason or f"signal {signal.Signals(number).name}"

    def wait(self, seconds: float) -> str | None:
        """Wait until there is a reason to close, at most so long; returns the reason."""
        deadline = elapsed() + seconds
        while self.reason is None:
            # Short turns, because the clock that select() counts by stands still while the machine sleeps.
            left = min(max(deadline - elapsed(), 0.0), 1.0)
            ready, _writable, _failed = select.select([*self._watched, self._wake], [], [], left)
            if self._wake in ready:
                os.read(self._wake, 512)
            if self.command in ready:
                self._read()
            elif elapsed() >= deadline:
                break
        return self.reason

    def _read(self) -> None:
        data = os.read(self.command, 4096)
        if not data:
            self._watched = []
            if not self._detached:
                self.reason = self.reason or self.PARENT_GONE
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            word, _space, argument = line.partition(b" ")
            if word == b"close":
                self.reason = self.reason or self.CLOSE
            elif word == b"detach":
                self._detached = True
            elif word == b"guard":
                self._guard(int(argument))

    # Processes that work inside the window ---------------------------------------------------------------------------

    def _guard(self, pid: int) -> None:
        try:
            # A descriptor of the process, because its number may belong to another one by the time it is needed.
            self.guarded[pid] = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self.guarded.pop(pid, None)

    def interrupt_guarded(self) -> None:
        self._send(signal.SIGINT)
        self._send(signal.SIGCONT)  # one that is held with SIGSTOP would not notice

    def end_guarded(self, seconds: float) -> None:
        """Wait until the guarded processes have ended; kill those that have not when the time is over."""
        deadline = elapsed() + seconds
        while self._running() and elapsed() < deadline:
            select.select(self._running(), [], [], max(deadline - elapsed(), 0.0))
        self._send(signal.SIGKILL)

    def _running(self) -> list[int]:
        """The descriptors of processes that still run: one that has ended reads as ready."""
        descriptors = list(self.guarded.values())
        ended, _writable, _failed = select.select(descriptors, [], [], 0) if descriptors else ([], [], [])
        return [descriptor for descriptor in descriptors if descriptor not in ended]

    def _send(self, number: int) -> None:
        for descriptor in self._running():
            try:
                signal.pidfd_send_signal(descriptor, number)
            except OSError:
                pass  # it ended just now
