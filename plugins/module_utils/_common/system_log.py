# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes one line for each step where the operator finds it: into the system log, and into a file if one is named.

The lines are written by a thread of their own: a system log that takes none any more, or a file on a disk that hangs, must
not hold up a process that has a window to close.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import queue
import signal
import syslog
import threading
import time

# How many lines may wait to be written; further ones are dropped.
_WAITING = 10000


class SystemLog:
    """Lines about one thing. Failing to log never fails the work, nor does it hold it up."""

    def __init__(self, subject: str, path: str | None = None) -> None:
        self.subject = subject
        self.path = path
        self._lines: queue.Queue[tuple[int, str]] = queue.Queue(_WAITING)
        self._writer: threading.Thread | None = None

    def line(self, text: str, urgent: bool = False) -> None:
        """Have one line written; an urgent one goes out as an error."""
        # Half a character, as an error of the API may hold, cannot be written.
        text = f"{self.subject}: {text}".encode("utf-8", "replace").decode().replace("\n", " ").replace("\0", " ")
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            self._lines.put_nowait((syslog.LOG_ERR if urgent else syslog.LOG_NOTICE, f"{stamp} {text}"))
            if self._writer is None:
                self._start()
        except (queue.Full, RuntimeError):
            pass  # no room for a line, or for a thread

    def flush(self, seconds: float) -> None:
        """Wait until all lines are written, at most so long."""
        end = time.monotonic() + seconds
        while self._lines.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.005)

    def _start(self) -> None:
        # Signals are for the thread that waits for them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._writer = threading.Thread(target=self._write, daemon=True)
            self._writer.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _write(self) -> None:
        syslog.openlog("holdfast", syslog.LOG_PID, syslog.LOG_DAEMON)
        while True:
            priority, line = self._lines.get()
            try:
                syslog.syslog(priority, line.partition(" ")[2])
                if self.path:
                    self._append(line)
            except (OSError, ValueError):
                pass  # a full disk is no reason to leave a window open
            finally:
                self._lines.task_done()

    def _append(self, line: str) -> None:
        stamp, _space, text = line.partition(" ")
        descriptor = os.open(str(self.path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{stamp} holdfast[{os.getpid()}]: {text}\n".encode("utf-8", "replace"))
        finally:
            os.close(descriptor)
