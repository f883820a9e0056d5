# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes a lock document while no other writer changes it.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .._common.clock import awake
from .._common.dates import format_date
from .._r2.s3 import S3, endpoint, key_pair
from .mutex import Mutex, MutexScope
from .rules import LockRulesError, Rule, repositories, same
from .store import LockStore, LockUpdate
from .windows import windows

MutexFactory = Callable[[LockStore, str], Mutex]

# How long to wait for the mutex, in seconds: longer than a dead writer keeps it.
_TIMEOUT = 90.0
# A hostile host can take the mutex from a writer, whose write then undoes ours within this time: look again after it.
# When there were other writers, one may have closed a window without the mutex, by a write that takes effect late.
_SECOND_LOOK = 2.0
_LATE_LOOK = 31.0
# How long to wait for a window to close, and between two looks; maintenance opens one for seconds.
_WINDOW_TIMEOUT = 60.0
_WINDOW_LOOK = 2.0
# How long to look for the keys of the mutex object.
_KEYS_TIMEOUT = 3.0


def mutex_factory(params: Mapping[str, Any], hide: Callable[[str], Any] = lambda secret: None) -> MutexFactory:
    """Returns a function that makes the mutex of a bucket, with the S3 keys of the parameters or of the API token.

    Args:
        params: The parameters of a module, with the options of the fragments cloudflare and s3.
        hide: Told every secret that was derived.
    """
    keys: list[tuple[str, str, str | None]] = []

    def make(cloudflare: LockStore, bucket: str) -> Mutex:
        if not keys:
            keys.append(_keys(params, cloudflare))
            hide(keys[0][1])
        address = endpoint(dict(params, jurisdiction=cloudflare.jurisdiction))
        s3 = S3(address, *keys[0], bucket=bucket, timeout=3, attempts=1)
        return Mutex(lambda: s3, cloudflare.server_time, time.sleep)

    return make


def _keys(params: Mapping[str, Any], cloudflare: LockStore) -> tuple[str, str, str | None]:
    before = cloudflare.retry_timeout, cloudflare.block_timeout
    cloudflare.retry_timeout, cloudflare.block_timeout = _KEYS_TIMEOUT, None
    try:
        return key_pair(params, cloudflare)
    finally:
        cloudflare.retry_timeout, cloudflare.block_timeout = before


class WindowLive(LockRulesError):
    """The document belongs to the keeper of a window."""


def _unless_open(
    cloudflare: LockStore, change: Callable[[list[Rule]], list[Rule]]
) -> Callable[[list[Rule]], list[Rule]]:
    def checked(rules: list[Rule]) -> list[Rule]:
        changed = change(rules)
        now = cloudflare.server_time()
        for window in windows(rules) if not same(rules, changed) else ():
            if window.live(now) and window.lease is not None:
                raise WindowLive(
                    f"A window of {window.prefix or 'the repository of the bucket'} is open until "
                    f"{format_date(window.lease)}; nothing was changed, run again after that.",
                    window_prefix=window.prefix,
                )
        return changed

    return checked


def _once_closed(once: Callable[[], tuple[LockUpdate, bool]]) -> tuple[LockUpdate, bool]:
    end = awake() + _WINDOW_TIMEOUT
    while True:
        try:
            return once()
        except WindowLive:
            if awake() + _WINDOW_LOOK > end:
                raise
        time.sleep(_WINDOW_LOOK)


def change_rules(
    cloudflare: LockStore,
    bucket: str,
    change: Callable[[list[Rule]], list[Rule]],
    mutex_for: MutexFactory,
    *,
    allow_empty: bool = False,
    write: bool = True,
) -> LockUpdate:
    """Change a lock document for good: no rule of another writer is lost, and it stays as it was read back.

    Nothing is written that was read while any window was open: written after its keeper has closed it, it would
    open it again. Such a window is waited for, then raises WindowLive.

    Raises MutexBusy or S3Error when the bucket is shared and the mutex is busy. Also when the second look fails:
    then the change was there, and it is not known whether it stayed.
    """

    def once() -> tuple[LockUpdate, bool]:
        with MutexScope(bucket, lambda: mutex_for(cloudflare, bucket), _TIMEOUT, insist=True) as mine:
            settings: dict[str, Any] = {"allow_empty": allow_empty, "write": write, "ready": mine.ready}
            update = cloudflare.update_lock_rules(bucket, _unless_open(cloudflare, change), **settings)
            mine.unanswered = update.unanswered
            return update, mine.contended

    update, contended = _once_closed(once)
    # In a bucket of one host without rules of ours, there can be no window and no fence.
    shared = any(repositories([*update.before, *update.after]))
    if update.written and (shared or repositories(update.before)):
        time.sleep(_LATE_LOOK if contended else _SECOND_LOOK)
        try:
            return LockUpdate(update.before, _once_closed(once)[0].after, True)
        except LockRulesError:
            pass  # another process opened a window since, of rules that are there
    return update
