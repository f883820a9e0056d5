# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A child that runs one piece of work in a copy of this process."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable

from tests.support.waiting import wait_for


class Fork:
    """A child that runs nothing but this work, whose result is its exit status.

    Not one of multiprocessing: that would collect, and so clean up, what belongs to the parent.
    """

    def __init__(self, work: Callable[[], int]) -> None:
        self.status: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            status = 70
            try:
                status = work()
            except BaseException:  # noqa: BLE001 - nothing of the parent may go on here
                traceback.print_exc()
            finally:
                try:
                    sys.stdout.flush()
                    sys.stderr.flush()
                finally:
                    os._exit(status)

    def ended(self) -> bool:
        """Whether it has ended; reaps it then."""
        if self.status is None:
            found, code = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(code) if found else None
        return self.status is not None

    def wait(self) -> int:
        """Wait for its end; its exit status, or the number of the signal that killed it, below zero."""
        wait_for(self.ended, f"the end of process {self.pid}")
        assert self.status is not None
        return self.status

    def kill(self) -> None:
        """Kill it, if it is still there, and reap it."""
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
