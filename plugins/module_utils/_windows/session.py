# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The session of a window: open inside a `with` block, locked and proved after it.

The window itself is owned by a forked process, the keeper (`_windows.keeper`). It reads a pipe whose other end is held here, so
the end of this process, however it comes, is the order to close. The keeper is a fork and not a new program so that the
secrets stay in memory, and so that it needs nothing from a disk that may be cleaned up under it.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import secrets
import select
import signal
import syslog
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from .._common.clock import awake, elapsed
from .._common.errors import HoldfastError
from .._common.process_signals import forking, signals_wait
from .._common.system_log import SystemLog
from .._common.window_notes import WindowNote
from .keeper import Keeper, WindowSpec, keep

# How often to look, in seconds, whether a silent keeper is stopped.
_LOOK = 0.5
# What all waits of a keeper that have no setting of their own may take together, in seconds.
_MARGIN = 300.0

__all__ = ["WindowError", "WindowSession", "WindowSpec", "close_others", "leave_window_open", "window_told"]


class WindowError(HoldfastError):
    """A window could not be opened, or could not be proved to be closed."""


def window_told(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report of a window as a module returns it."""
    names = ("repository", "prefixes", "holder", "opened", "closed", "seconds", "ended_by", "in_force")
    return {name: report.get(name) for name in names}


def leave_window_open(spec: WindowSpec) -> dict[str, Any]:
    """Open a window that outlives this process, until its keeper closes it at its cap; returns the report so far."""
    window = WindowSession(spec)
    window.__enter__()
    return window.leave_open()


class WindowSession:
    """A window for a `with` block: open inside the block, closed and proved after it.

    Before the block begins, a probe has proved that the window is open, unless the deletes in the block prove that.
    `report` tells about the window once it is closed.
    """

    keeper: type[Keeper] = Keeper

    def __init__(self, spec: WindowSpec) -> None:
        self.spec = spec
        self.holder = secrets.token_hex(8)
        self.report: dict[str, Any] = {}
        self.keeper_pid = 0
        # Called while the keeper opens the window; what it does must end at once.
        self.meanwhile: Callable[[], object] = lambda: None
        self._opened_at = 0.0
        self._command = self._status = -1
        self._received = b""
        self._longest = spec.open_timeout + spec.close_timeout + _MARGIN
        self._note = WindowNote(spec.noted_in, self.holder, spec.reason, spec.parts, self._longest + spec.cap_seconds)

    def __enter__(self) -> WindowSession:
        self._note.begin()
        try:
            self._start(only_close=False)
            self.meanwhile()
            self.await_open()
        except BaseException:
            if self.running:
                self._finish()
            raise
        return self

    def await_open(self) -> None:
        """Wait until it is open; raises WindowError when it does not open."""
        event = self._next_event()
        if event.pop("event", None) != "opened":
            self._finish(event)
            raise WindowError(self.report.get("error") or f"The window did not open: {self.report.get('ended_by')}.")
        self.report, self._opened_at = event, elapsed()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        with signals_wait():
            self._send("close")
            self._finish()
        if not self.report.get("in_force"):
            raise WindowError(str(self.report.get("error")), window=self.report) from error
        if self.report.get("fence_lost"):
            raise WindowError(
                f"A window of {self.spec.repository} was open without its fence, and is closed: {self.report['fence_lost']}",
                window=self.report,
            ) from error

    def leave_open(self) -> dict[str, Any]:
        """Leave the window to its keeper, which closes it at its lease, and to the guard; returns the report so far."""
        self._send("detach")
        os.close(self._command)
        os.close(self._status)
        return self.report

    @property
    def running(self) -> bool:
        """Whether the keeper still runs; then the window may be open."""
        return self.keeper_pid != 0

    def over(self) -> str | None:
        """Why the window is no longer to be relied upon, or None while it is. Never blocks."""
        if not self._received and select.select([self._status], [], [], 0)[0]:
            self._received = os.read(self._status, 65536)
            if not self._received:
                return "the keeper died"
        if self._stopped():
            return "the keeper was stopped"
        return json.loads(self._received.split(b"\n")[0])["ended_by"] if b"\n" in self._received else None

    def fileno(self) -> int:
        """A descriptor that becomes readable when the window ends before its time, for select()."""
        return self._status

    # The keeper as a process -----------------------------------------------------------------------------------------

    def _start(self, only_close: bool) -> None:
        command_end, self._command = os.pipe()
        self._status, status_end = os.pipe()
        self._received = b""
        try:
            with forking():
                self.keeper_pid = os.fork()
                if self.keeper_pid == 0:
                    self._become_keeper(command_end, status_end, only_close)
        except OSError as error:
            os.close(self._command)
            os.close(self._status)
            raise WindowError(f"No keeper of {self.spec.repository} could be started: {error.strerror}.") from error
        finally:
            os.close(command_end)
            os.close(status_end)

    def _become_keeper(self, command_end: int, status_end: int, only_close: bool) -> None:
        status = 2
        try:
            # The parent's objects must not be cleaned up here: their descriptors belong to others by now.
            gc.freeze()
            os.setsid()
            syslog.closelog()
            command_end, status_end = (
                _away_from_standard(command_end),
                _away_from_standard(status_end),
            )
            close_others(command_end, status_end)
            # Of a window that another keeper has opened, the parent knows more.
            told = self._note.settle if not only_close else lambda _report: None
            status = keep(self.spec, self.holder, command_end, status_end, only_close, self.keeper, told)
        except BaseException as error:  # noqa: BLE001 - the parent's code must never go on in this process
            log = SystemLog(f"keeper of {self.spec.repository}")
            log.line(f"failed: {type(error).__name__}: {error}", urgent=True)
            log.flush(1.0)
        finally:
            os._exit(status)

    def _send(self, text: str) -> None:
        try:
            os.write(self._command, (text + "\n").encode())
        except OSError:
            pass  # the keeper ended already; its last words, or their absence, say how

    def _stopped(self) -> bool:
        """Whether the keeper is stopped (SIGSTOP): then it sees neither its pipe nor its lease."""
        try:
            return os.waitid(os.P_PID, self.keeper_pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return False  # it has ended

    def _next_event(self) -> dict[str, Any]:
        """The next message of the keeper; empty when it is dead, stopped, or timed out."""
        deadline = awake() + self._longest
        while b"\n" not in self._received:
            if not select.select([self._status], [], [], _LOOK)[0]:
                if self._stopped() or awake() >= deadline:
                    return {}
                continue
            data = os.read(self._status, 65536)
            if not data:
                return {}
            self._received += data
        line, _newline, self._received = self._received.partition(b"\n")
        return json.loads(line)

    def _finish(self, event: dict[str, Any] | None = None) -> None:
        """Hear the keeper out and reap it. When it died without a word, another one closes its window."""
        # A signal waits, because the caller must say whether the window is closed.
        with signals_wait():
            self.report = self._last_words(event) or self._closed_by_another()
            self._note.settle(self.report)

    def _closed_by_another(self) -> dict[str, Any]:
        event: dict[str, Any] = {}
        with suppress(WindowError):
            self._start(only_close=True)
            event = self._last_words(None)
        lost = {"in_force": False, "error": f"The keepers of {self.spec.repository} died: run the relock playbook now."}
        # Only this process knows the first one's work.
        known: dict[str, Any] = {}
        if self.report:
            known = {"opened": self.report["opened"], "seconds": round(elapsed() - self._opened_at, 3)}
        return {**self.report, **(event or lost), **known}

    def _last_words(self, event: dict[str, Any] | None) -> dict[str, Any]:
        try:
            os.close(self._command)
            while event is None or event.get("event") == "opened":
                event = self._next_event()
        finally:
            os.close(self._status)
            self._reap(at_once=not event)
        event.pop("event", None)
        return event

    def _reap(self, at_once: bool) -> None:
        """Wait for the end of the keeper, which has told all; one that has not, or is stopped, is killed."""
        deadline = awake() + (0.0 if at_once else _MARGIN)
        while os.waitpid(self.keeper_pid, os.WNOHANG)[0] == 0:
            if awake() >= deadline or self._stopped():
                os.kill(self.keeper_pid, signal.SIGKILL)
                os.waitpid(self.keeper_pid, 0)
                break
            time.sleep(0.005)
        self.keeper_pid = 0


def _away_from_standard(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


def close_others(*keep_open: int) -> None:
    """Leave nothing open but these: a pipe that stays open here would keep its reader waiting for its end."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    low = 3
    for descriptor in sorted(keep_open):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))
