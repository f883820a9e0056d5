# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes and gives back the mutex for the lock document of a bucket that several repositories share.

Writers read, change and write back the document as a whole, and it has no version: of two writers at the same time, one
undoes the other. So a writer first creates an object, by a PUT that succeeds only while there is none, and deletes it
afterwards. An object older than its time to live belongs to a dead writer; the next one replaces it by a PUT that succeeds
only while the object is the same.

Every host of the bucket can create and delete this object, too. So safety may not rest on it: the mutex keeps honest
writers apart, and a hostile host can only make them wait.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from types import TracebackType

from .._common.clock import elapsed, unlimited
from .._common.errors import HoldfastError
from .._r2.s3 import S3, S3Error, S3Object
from .rules import Rule, repositories

# Below no prefix that a lock set covers, for any prefix of a repository.
KEY = "holdfast/turn"
# A write may begin within FRESH seconds. If it gets no answer, it may take effect for some time; only after that may
# another writer build upon the document.
TIME_TO_LIVE = 45.0
FRESH = 15.0
# R2 takes one write of a key in a second, from all writers together: we never write it twice in less.
SECOND = 1.0
_APART = 1.1
# Seconds between two looks at another writer's object, for those who go first and for all others.
_OFTEN = (0.05, 0.15)
_SELDOM = (0.2, 0.5)


class MutexBusy(HoldfastError):
    """Another writer kept the mutex for as long as this one could wait."""

    def __init__(self, bucket: str) -> None:
        super().__init__(
            f"Other writers keep the lock document of bucket {bucket} busy all the time; if no maintenance runs there, a "
            f"host of this bucket keeps writing the object {KEY}."
        )


class Mutex:
    """One writer's side of the mutex.

    Args:
        s3: Makes the client, when it is needed.
        now: The time of the server, by which the age of the object is judged.
        pause: How to wait.
    """

    def __init__(self, s3: Callable[[], S3], now: Callable[[], datetime], pause: Callable[[float], None]) -> None:
        self._s3 = s3
        self._now = now
        self._pause = pause
        self._etag: str | None = None
        # When we began to write the object that is ours, and when that had its answer.
        self._taken = self._stored = 0.0
        # Whether another writer had it: one of its writes may take effect only later.
        self.contended = False
        # How many tries in a row were refused because the key was written less than a second ago.
        self._throttled = 0
        self._written: float | None = None
        # Whether another writer's object was there at the last look: then we only read until it is gone.
        self._seen = False
        self._kept_until = 0.0
        # The ETags of all objects that we may have left: R2 makes them as S3 does, from the content.
        self._marks: set[str] = set()

    @property
    def ours(self) -> bool:
        """Whether we have the mutex, for long enough to begin a write."""
        return self._etag is not None and elapsed() - self._taken < FRESH

    @property
    def free_from(self) -> float:
        """When another writer could have the mutex at the earliest, of elapsed(): R2 takes no other write of its object."""
        return self._stored + SECOND

    def acquire(self, timeout: float, *, first: bool = False) -> bool:
        """Wait for the mutex; returns whether we have it.

        Args:
            timeout: Seconds to wait at most.
            first: Ask more often than other writers do: what closes a window goes before what opens one.
        """
        deadline = elapsed() + timeout
        while not self.ours:
            self._etag = self._try()
            pause = random.uniform(*(_OFTEN if first else _SELDOM))
            if self._etag is None:
                if elapsed() + pause >= deadline:
                    return False
                self._pause(pause)
        return True

    def keep_until_stale(self) -> None:
        """A write had no answer: keep the mutex until that write either took effect or never will."""
        self._kept_until = elapsed() + TIME_TO_LIVE

    def release(self) -> None:
        """Delete the object. It is left to expire if another writer may own it by now, or if it cannot be deleted.

        Not before the next writer could create it: a writer that finds no object can have the mutex.
        """
        early = self.free_from - elapsed()
        if self.ours and early > 0 and elapsed() >= self._kept_until:
            self._pause(early)
        etag, fresh = self._etag, self.ours
        self._etag = None
        if not fresh or elapsed() < self._kept_until:
            return
        for pause in (_APART, 0.0):
            try:
                found = self._s3().head(KEY)
                if found is not None and found.etag == etag:
                    self._s3().delete(KEY)
                self._marks.clear()
                return
            except S3Error as error:
                if not (error.too_often and pause):
                    return
                self._pause(pause)

    def _try(self) -> str | None:
        """One try. When R2 says that the key is written too often, we have no mutex.

        Once, another writer may have released it a moment ago. Again, a second later, another writer was faster.
        """
        try:
            etag = self._put()
        except S3Error as error:
            if not error.too_often:
                raise
            self._throttled += 1
            self.contended = self.contended or self._throttled > 1
            self._look()
            return None
        self._throttled = 0
        return etag

    def _put(self) -> str | None:
        if not self._seen:
            etag = self._write()
            if etag is not None:
                return etag
        found = self._look()
        if found is None:
            # It was there when we wrote or looked last.
            self.contended = True
        return None if self._seen or found is None else self._write(found.etag)

    def _look(self) -> S3Object | None:
        """The object, if there is one; and notes whether another writer has the mutex by it."""
        found = self._s3().head(KEY)
        mine = found is not None and found.etag in self._marks
        self.contended = self.contended or (found is not None and not mine)
        self._seen = found is not None and not mine and not self._old(found.last_modified)
        return found

    def _write(self, etag: str | None = None) -> str | None:
        """Write the object, if there is none or that one; a second after we have tried that last."""
        early = 0.0 if self._written is None else self._written + _APART - elapsed()
        if early > 0:
            self._pause(early)
        body = secrets.token_bytes(16)  # never the same, so that an ETag stands for one holder
        self._marks.add(hashlib.md5(body, usedforsecurity=False).hexdigest())
        moment = elapsed()
        try:
            found = self._s3().put_if(KEY, body, etag=etag)
        finally:
            self._written = elapsed()
        if found is not None:
            self._taken, self._stored = moment, self._written
        return found

    def _old(self, stored: datetime) -> bool:
        return (self._now() - stored).total_seconds() > TIME_TO_LIVE


class MutexScope:
    """A change of a lock document. It takes the mutex only if the bucket is shared; ask `ready` before every write.

    Args:
        bucket: The bucket, for sentences.
        make: Makes the mutex once it is needed; a bucket with one repository needs none.
        timeout: Seconds to wait for it.
        insist: Raise MutexBusy when another writer keeps it. Otherwise go on without: a write that locks must not wait long.
        limited: Bounds the seconds that all requests for it may take.
        keep: Leave it to the caller to release the mutex.

    Set unanswered when a write had no answer: then the mutex stays until that write either took effect or never will.
    """

    def __init__(
        self,
        bucket: str,
        make: Callable[[], Mutex],
        timeout: float,
        *,
        insist: bool,
        limited: Callable[[float], AbstractContextManager[None]] = unlimited,
        keep: bool = False,
    ) -> None:
        self.bucket = bucket
        self.keep = keep
        self.timeout = timeout
        self.insist = insist
        self.alone: Exception | None = None
        self.unanswered = False
        self._make = make
        self._limited = limited
        self._mutex: Mutex | None = None
        self._writes = 0

    def __enter__(self) -> MutexScope:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._mutex is not None:
            if self.unanswered or (self._writes and error is not None):
                self._mutex.keep_until_stale()
            if not self.keep:
                with suppress(OSError), self._limited(2 * self.timeout):
                    self._mutex.release()

    def ready(self, rules: Iterable[Rule]) -> bool:
        """Whether the document may be written as it was read. If not, it has to be read again."""
        if any(repositories(rules)) and not self.alone and not self._ours():
            self.take()
            return False
        self._writes += 1
        return True

    def _ours(self) -> bool:
        return self._mutex is not None and self._mutex.ours

    @property
    def contended(self) -> bool:
        """Whether another writer had the mutex when we asked for it."""
        return self._mutex is not None and self._mutex.contended

    def take(self) -> None:
        """Take the mutex if we do not have it."""
        if self.alone or self._ours():
            return
        problem: Exception = MutexBusy(self.bucket)
        try:
            self._mutex = self._mutex or self._make()
            with self._limited(2 * self.timeout):
                if self._mutex.acquire(self.timeout, first=not self.insist):
                    return
        except (HoldfastError, OSError) as error:
            problem = error
        if self.insist:
            raise problem
        self.alone = problem
