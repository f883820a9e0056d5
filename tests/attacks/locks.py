# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restic's own locks, which must be open to everybody who backs up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from botocore.exceptions import ClientError

from tests.attacks.attack import Attack
from tests.attacks.host import LOCK_REMOVED, Host

NAMED = frozenset({"repository_locked"})


def lock(time: str) -> dict[str, object]:
    return {"time": time, "exclusive": True, "hostname": "elsewhere", "username": "root", "pid": 1, "uid": 0, "gid": 0}


def from_the_future(host: Host) -> None:
    """It never becomes so old that restic takes its owner for dead."""
    host.put_named("locks", host.master.seal_json(lock("2099-01-01T00:00:00Z")))


def remove_and_back_up(host: Host, ended: Event) -> None:
    """Whenever there is a lock, take it away, and back up what is about to be pruned, without waiting for that."""
    files = host.home / "beside"
    files.mkdir(exist_ok=True)
    (files / "new").write_bytes(b"new")

    def back_up() -> None:
        with suppress(HoldfastError):
            host.restic.run(["backup", str(files)], timeout=20)

    with ThreadPoolExecutor(1) as pool:
        backup = pool.submit(lambda: None)
        while not ended.wait(0.01):
            try:
                found = host.sizes("locks/")
            except ClientError:  # it is refused everything once its token is disabled, even to look
                host.refused["look for locks"] = host.refused.get("look for locks", 0) + 1
                continue
            for key in found:
                host.attempt(LOCK_REMOVED, host.s3.delete_object, Bucket=host.bucket, Key=key)
            if found and backup.done():
                backup = pool.submit(back_up)


ATTACKS = [
    Attack("locks: exclusive, from the future", NAMED, from_the_future),
    Attack("locks: deleted during prune, backup beside it", None, meanwhile=remove_and_back_up),
]
