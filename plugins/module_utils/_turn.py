# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking turns at the lock document of a bucket that several repositories share.

The document is read, changed and written back as a whole and has no version, so of two who do that at once, one undoes
the other. Whoever wants to write first creates an object, by a PUT that only works while there is none, and deletes it
afterwards. An object older than its time to live belongs to somebody who died, and is replaced by a PUT that only works
while it is still the same.

Every host of the bucket can create and delete this object too. So nothing that matters for safety may rest on it: it
keeps honest writers out of each other's way, and a hostile one can only make them wait.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from datetime import datetime

from ansible_collections.holdfast.restic_r2.plugins.module_utils._control import elapsed
from ansible_collections.holdfast.restic_r2.plugins.module_utils._s3 import S3, S3Error

# Below no prefix that a lock set covers, whatever the prefix of its repository.
KEY = "holdfast/turn"
TIME_TO_LIVE = 30.0


class Turn:
    """One participant's turn.

    Args:
        s3: Makes the client, when it is needed.
        now: The time of the server, by which the age of the object is judged.
        pause: How to wait.
        time_to_live: Seconds after which a turn that was not given back may be taken over.
    """

    def __init__(
        self,
        s3: Callable[[], S3],
        now: Callable[[], datetime],
        pause: Callable[[float], None],
        time_to_live: float = TIME_TO_LIVE,
    ) -> None:
        self._s3 = s3
        self._now = now
        self._pause = pause
        self._time_to_live = time_to_live
        self._etag: str | None = None
        self._taken = 0.0

    @property
    def ours(self) -> bool:
        """Whether the turn is ours, and for long enough to begin a write."""
        return self._etag is not None and elapsed() - self._taken < self._time_to_live / 2

    def take(self, patience: float) -> bool:
        """Wait for the turn, at most so long; returns whether it is ours now."""
        deadline = elapsed() + patience
        while not self.ours:
            self._taken = elapsed()
            self._etag = self._try()
            pause = random.uniform(0.1, 0.4)
            if self._etag is None:
                if elapsed() + pause >= deadline:
                    return False
                self._pause(pause)
        return True

    def give_back(self) -> None:
        """Let the next one have it. Left to grow old when it may be somebody else's by now, or cannot be deleted."""
        etag, fresh = self._etag, self.ours
        self._etag = None
        if not fresh:
            return
        try:
            found = self._s3().head(KEY)
            if found is not None and found.etag == etag:
                self._s3().delete(KEY)
        except S3Error:
            pass

    def _try(self) -> str | None:
        s3 = self._s3()
        body = secrets.token_bytes(16)  # never the same, so that an ETag stands for one turn
        etag = s3.put_if(KEY, body)
        if etag is not None:
            return etag
        found = s3.head(KEY)
        if found is None or (self._now() - found.last_modified).total_seconds() <= self._time_to_live:
            return None
        return s3.put_if(KEY, body, etag=found.etag)
