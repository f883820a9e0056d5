# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One restic command that needs a window for some of its time.

It starts locked. When its output tells that it is about to delete, it is held with SIGSTOP until the window is open: a
refused delete would make it wait for seconds to minutes. When it has deleted, the window closes.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.restic_r2.plugins.module_utils import _phases
from ansible_collections.holdfast.restic_r2.plugins.module_utils._control import Control, elapsed
from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._phases import Phase
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import Completed, Restic, stop
from ansible_collections.holdfast.restic_r2.plugins.module_utils._signals import dies_with_parent
from ansible_collections.holdfast.restic_r2.plugins.module_utils._window import Window

Parts = tuple[str, ...]

# Between two looks at whether restic is about to delete, where no line of output tells.
_PAUSE = 0.1
# Between two looks whether the keeper of an open window can still do its work.
_LOOK = 1.0


@dataclass
class WindowedRun:
    """Runs restic once.

    Args:
        restic: The repository.
        args: The command.
        parts: What its deletes need.
        open_window: Makes a window over these parts.
        phases: What to open at a phase; nothing (an empty tuple) to close.
        ready: Asked again and again, until it says that restic is about to delete; for commands without phases.
        whole: Open before restic starts, close after its end.
        on_line: Told every line of standard output; may raise to stop restic.
        timeout: Seconds until restic is stopped.
        windows: Gets the report of every window that was opened.
    """

    restic: Restic
    args: Sequence[str]
    parts: Parts
    open_window: Callable[[Parts], Window]
    phases: Mapping[Phase, Parts] = field(default_factory=dict)
    ready: Optional[Callable[[], object]] = None
    whole: bool = False
    on_line: Callable[[str], Any] = lambda line: None
    timeout: Optional[float] = None
    windows: list[dict[str, Any]] = field(default_factory=list)

    refused_first: bool = field(default=False, init=False)
    _window: Optional[Window] = field(default=None, init=False)
    _open_parts: Parts = field(default=(), init=False)
    _opened: bool = field(default=False, init=False)
    _process: Optional[subprocess.Popen[str]] = field(default=None, init=False)
    _errors: deque[str] = field(default_factory=lambda: deque(maxlen=200), init=False)

    def run(self) -> Completed:
        """Run restic to its end; whatever happens, its window is closed afterwards."""
        try:
            if self.whole:
                self._open(self.parts)
            self._process = self._start()
            self._guard()
            self._follow(self._process)
            self._process.wait()
        finally:
            try:
                if self._process:
                    stop(self._process)
            finally:
                self._close()
        cut = [window["ended_by"] for window in self.windows if window.get("ended_by") != Control.CLOSE]
        if self._process.returncode and cut:
            raise self._cut(cut[-1])
        return Completed(self._process.returncode, "", "\n".join(self._errors))

    def _cut(self, reason: Optional[str]) -> HoldfastError:
        return HoldfastError(
            f"The window of {self.restic.repository.name} ended before restic {self.args[0]} did: {reason}."
        )

    # Listening -------------------------------------------------------------------------------------------------------

    def _follow(self, process: subprocess.Popen[str]) -> None:
        # Standard output first: the line that announced a deletion was written before the refusal of it.
        streams = ((process.stdout, self._line), (process.stderr, self._error_line))
        handlers = {stream.fileno(): handler for stream, handler in streams if stream}
        rest = dict.fromkeys(handlers, b"")
        deadline = None if self.timeout is None else elapsed() + self.timeout
        while rest:
            ready = self._wait(list(rest), deadline)
            for descriptor in [descriptor for descriptor in list(rest) if descriptor in ready]:
                data = os.read(descriptor, 65536)
                *lines, rest[descriptor] = (rest[descriptor] + data).split(b"\n")
                if not data:
                    lines.append(rest.pop(descriptor))
                for line in lines:
                    handlers[descriptor](line.decode("utf-8", "replace"))

    def _wait(self, descriptors: list[int], deadline: Optional[float]) -> list[int]:
        seconds = None if deadline is None else deadline - elapsed()
        if seconds is not None and seconds <= 0:
            raise HoldfastError(
                f"restic {self.args[0]} on {self.restic.repository.name} was stopped after {self.timeout:g} seconds."
            )
        if self.ready and not self._opened:
            if self.ready():
                self._open(self.parts)
            seconds = min(_PAUSE, seconds or _PAUSE)
        watched = [*descriptors, self._window.fileno()] if self._window else descriptors
        if self._window:
            seconds = min(_LOOK, _LOOK if seconds is None else seconds)
        ready, _writable, _failed = select.select(watched, [], [], seconds)
        over = self._window.over() if self._window else None
        if over:
            raise self._cut(over)
        return ready

    def _line(self, line: str) -> None:
        self.on_line(line)
        phase = None if self.whole else _phases.phase(line)
        if phase is None or phase not in self.phases:
            return
        if self.phases[phase]:
            self._open(self.phases[phase])
        elif phase is Phase.DONE:
            self._close()
        elif self._window:
            self._held(self._close)

    def _error_line(self, line: str) -> None:
        self._errors.append(line)
        if _phases.refused(line) and not self._opened:
            self.refused_first = True
            self._open(self.parts)

    # The window ------------------------------------------------------------------------------------------------------

    def _open(self, parts: Parts) -> None:
        if not set(parts) <= set(self._open_parts):
            self._held(lambda: self._open_now(parts))

    def _open_now(self, parts: Parts) -> None:
        self._close()
        window = self.open_window(parts)
        self._window, self._open_parts = window, parts
        try:
            window.__enter__()
        finally:
            self._forget_closed(window)
        self._opened = True
        self._guard()

    def _guard(self) -> None:
        if self._window and self._process:
            self._window.guards(self._process.pid)

    def _close(self) -> None:
        window = self._window
        if window:
            try:
                window.__exit__(None, None, None)
            finally:
                self._forget_closed(window)

    def _forget_closed(self, window: Window) -> None:
        """A window that a signal left to its keeper stays known, and is closed at the end of the run."""
        if not window.held:
            self._window, self._open_parts = None, ()
            if window.report.get("opened"):
                self.windows.append(window.report)

    # The process -----------------------------------------------------------------------------------------------------

    def _start(self) -> subprocess.Popen[str]:
        """Start restic, with the reading ends of its own pipes.

        When this process is killed, restic would else die of SIGPIPE at the first word that it says (Go, os/signal: a write
        to a broken pipe on descriptor 1 or 2), and leave its lock behind, which keeps every backup out.
        """
        pipes = [os.pipe(), os.pipe()]
        reading, (output, errors) = zip(*pipes, strict=True)
        try:
            process = self.restic.start(
                self.args,
                stdout=output,
                stderr=errors,
                pass_fds=reading,
                process_group=0,
                preexec_fn=dies_with_parent(),
            )
        except BaseException:
            for descriptor in reading:
                os.close(descriptor)
            raise
        finally:
            os.close(output)
            os.close(errors)
        process.stdout, process.stderr = (os.fdopen(one, encoding="utf-8", errors="replace") for one in reading)
        return process

    def _held(self, work: Callable[[], None]) -> None:
        """Do the work while restic stands still."""
        try:
            self._send(signal.SIGSTOP)
            work()
        finally:
            self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)
