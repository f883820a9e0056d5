# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps all processes of this user on this machine together below the API's limit of calls.

Cloudflare allows 1,200 calls in 5 minutes and then refuses all of them for 5 minutes, closing a window among them. So
every process writes down its calls in one file, and waits before one too many. Closing windows may go further than the
rest, which has to leave room for it.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import sys
import time
from array import array
from collections.abc import Callable

from .._common.clock import elapsed
from .._common.private_file import make_private

PERIOD = 300.0
# Below 1,200, because a person at the dashboard counts too. The second is for closing windows.
LIMITS = (900, 1100)
# What Cloudflare allows in a period.
ALLOWED = 1200


class SharedRateLimit:
    """Lets a call go, or holds it back until the oldest ones are forgotten.

    Args:
        path: The file; its folder must be this user's alone.
        sleep: How to wait.
        limits: Calls in a period, for normal calls and for those that close a window.
        period: Seconds for which a call counts.
    """

    def __init__(
        self,
        path: str,
        sleep: Callable[[float], None] = time.sleep,
        limits: tuple[int, int] = LIMITS,
        period: float = PERIOD,
    ) -> None:
        self.path = path
        self._sleep = sleep
        self._limits = limits
        self._period = period

    def before_call(self, priority: int) -> None:
        """Return when the call may be made. A file that cannot be used never stops one.

        A priority without a limit is only counted.
        """
        limit = self._limits[priority] if priority < len(self._limits) else sys.maxsize
        while True:
            try:
                wait = self._take(limit)
            except OSError:
                return
            if wait <= 0:
                return
            # Short turns: the clock may stand still while asleep, and others may have given up meanwhile.
            self._sleep(min(wait, 5.0))

    def _take(self, limit: int) -> float:
        """Write a call down and return 0, or return the seconds until there may be room for one."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _lock(descriptor)
            now = elapsed()
            calls = [call for call in _read(descriptor) if now - self._period < call <= now]
            if len(calls) >= limit:
                return calls[len(calls) - limit] + self._period - now
            _write(descriptor, [*calls, now])
            return 0.0
        finally:
            os.close(descriptor)

    def left(self) -> int | None:
        """How many calls Cloudflare still allows, as far as this machine knows; None where it does not."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            now = elapsed()
            return max(0, ALLOWED - sum(now - self._period < call <= now for call in _read(descriptor)))
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Wait for the file's lock, but not for a process that was stopped while it held it."""
    for _attempt in range(50):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
    raise BlockingIOError


def _read(descriptor: int) -> array[float]:
    calls = array("d")
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    calls.frombytes(data[: len(data) // calls.itemsize * calls.itemsize])
    return calls


def _write(descriptor: int, calls: list[float]) -> None:
    data = array("d", calls).tobytes()
    os.ftruncate(descriptor, len(data))
    os.pwrite(descriptor, data, 0)


def shared_rate_limit(url: str, account_id: str, sleep: Callable[[float], None] = time.sleep) -> SharedRateLimit | None:
    """The limiter that all processes of this user share for an account; None when there is no safe place for its file."""
    folder = os.path.join(os.environ.get("ANSIBLE_HOME") or os.path.expanduser("~/.ansible"), "holdfast")
    try:
        make_private(folder)
        found = os.lstat(folder)
    except OSError:
        return None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        return None
    name = hashlib.sha256(f"{url} {account_id}".encode()).hexdigest()[:16]
    return SharedRateLimit(os.path.join(folder, f"calls-{name}"), sleep)
