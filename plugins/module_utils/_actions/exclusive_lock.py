# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Holds our own exclusive lock of restic's kind in the bucket, for the seconds in which no other restic may begin to work.

The lock is one that restic has made. A process of its own removes it: its pipe ends with the process that holds the other
end, however that ends. So not even a kill leaves a lock that keeps backups out.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from .._common.errors import HoldfastError
from .._common.process_signals import forking, signals_wait
from .._r2.s3 import S3, S3Error
from .._windows.control import SIGNALS
from .._windows.session import close_others

_ATTEMPTS = 5
_PAUSE = 1.0


class ExclusiveLock:
    """A lock that is there inside the block.

    Args:
        s3: The bucket.
        make: Makes another client, for the process that removes the lock.
        prefix: The prefix of the repository.
        body: What restic wrote as its lock.
    """

    def __init__(self, s3: S3, make: Callable[[], S3], prefix: str, body: bytes) -> None:
        self.s3 = s3
        self.make = make
        self.key = f"{prefix}locks/{hashlib.sha256(body).hexdigest()}"
        self.body = body
        self.removed = True
        self.remover_pid = 0
        self._pipe = -1

    def __enter__(self) -> ExclusiveLock:
        self._start()
        try:
            self.s3.put_if(self.key, self.body)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with signals_wait():
            self._end()

    def _start(self) -> None:
        reading, self._pipe = os.pipe()
        try:
            with forking():
                self.remover_pid = os.fork()
                if self.remover_pid == 0:
                    self._become_remover(reading)
        except OSError as error:
            os.close(self._pipe)
            raise HoldfastError(f"No process could be started beside this one: {error.strerror}.") from error
        finally:
            os.close(reading)

    def _become_remover(self, reading: int) -> None:
        status = 1
        try:
            gc.freeze()
            os.setsid()
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            close_others(reading)
            status = 0 if os.read(reading, 1) or _remove(self.make, self.key) else 1
        finally:
            os._exit(status)

    def _end(self) -> None:
        gone = False
        with suppress(S3Error):
            self.s3.delete(self.key)
            gone = True
        if gone:
            with suppress(OSError):  # the other process may have been killed
                os.write(self._pipe, b"removed")
        os.close(self._pipe)
        _pid, status = os.waitpid(self.remover_pid, 0)
        self.removed = gone or status == 0


def _remove(make: Callable[[], S3], key: str) -> bool:
    for _attempt in range(_ATTEMPTS):
        with suppress(S3Error):
            make().delete(key)
            return True
        time.sleep(_PAUSE)
    return False
