# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restic's lock in the bucket, when the process that would remove it is killed."""

from __future__ import annotations

import os
import signal
from typing import Any, cast

from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.exclusive_lock import ExclusiveLock
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3


class Bucket:
    """Holds objects in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_if(self, key: str, body: bytes) -> str:
        self.objects[key] = body
        return "etag"

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)


def test_the_lock_goes_also_when_its_remover_was_killed() -> None:
    bucket: Any = Bucket()
    lock = ExclusiveLock(cast(S3, bucket), lambda: cast(S3, bucket), "web1/", b"lock")
    with lock:
        assert list(bucket.objects) == [lock.key]
        os.kill(lock.remover_pid, signal.SIGKILL)
        os.waitid(os.P_PID, lock.remover_pid, os.WEXITED | os.WNOWAIT)
    assert bucket.objects == {} and lock.removed
