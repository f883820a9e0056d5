# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changing a lock document in turn with everybody else who writes it.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .._common.clock import awake
from .._common.dates import format_date
from .._r2.s3 import S3, endpoint, key_pair
from .mutex import InTurn, Turn
from .rules import LockRulesError, Rule, repositories, same
from .store import LockStore, LockUpdate
from .windows import windows

Turns = Callable[[LockStore, str], Turn]

# How long to wait for the turn, in seconds: longer than one that died keeps it.
_PATIENCE = 90.0
# A writer whom a hostile host robbed of its turn may overwrite what was just read back; after this it has. When others
# were at it, one of them may have closed a window without its turn, by a write that takes effect late.
_SECOND_LOOK = 2.0
_LATE_LOOK = 31.0
# How long to wait for a window to close, and between two looks; maintenance opens one for seconds.
_WINDOW_PATIENCE = 60.0
_WINDOW_LOOK = 2.0
# What may be spent on finding the keys of the turn's object.
_KEYS_PATIENCE = 3.0


def turns_of(params: Mapping[str, Any], hide: Callable[[str], Any] = lambda secret: None) -> Turns:
    """What makes the turn of a bucket, with the S3 keys that the parameters name or the API token stands for.

    Args:
        params: The parameters of a module, with the options of the fragments cloudflare and s3.
        hide: Told every secret that was derived.
    """
    keys: list[tuple[str, str, str | None]] = []

    def make(cloudflare: LockStore, bucket: str) -> Turn:
        if not keys:
            keys.append(_keys(params, cloudflare))
            hide(keys[0][1])
        address = endpoint(dict(params, jurisdiction=cloudflare.jurisdiction))
        s3 = S3(address, *keys[0], bucket=bucket, timeout=3, attempts=1)
        return Turn(lambda: s3, cloudflare.server_time, time.sleep)

    return make


def _keys(params: Mapping[str, Any], cloudflare: LockStore) -> tuple[str, str, str | None]:
    before = cloudflare.patience, cloudflare.block_patience
    cloudflare.patience, cloudflare.block_patience = _KEYS_PATIENCE, None
    try:
        return key_pair(params, cloudflare)
    finally:
        cloudflare.patience, cloudflare.block_patience = before


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
    end = awake() + _WINDOW_PATIENCE
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
    turns: Turns,
    *,
    allow_empty: bool = False,
    write: bool = True,
) -> LockUpdate:
    """Change a lock document for good: nobody's rule is lost by it, and it stays as it was read back.

    Nothing is written that was read while a window was open, whichever: written after its keeper has closed it, it would
    open it again. Such a window is waited for, then raises WindowLive.

    Raises TurnTaken or S3Error when the bucket is shared and the turn is not to be had. Also when the second look fails:
    then the change was there, and it is not known whether it stayed.
    """

    def once() -> tuple[LockUpdate, bool]:
        with InTurn(bucket, lambda: turns(cloudflare, bucket), _PATIENCE, insist=True) as mine:
            settings: dict[str, Any] = {"allow_empty": allow_empty, "write": write, "ready": mine.ready}
            update = cloudflare.update_lock_rules(bucket, _unless_open(cloudflare, change), **settings)
            mine.unanswered = update.unanswered
            return update, mine.contended

    update, contended = _once_closed(once)
    # Nobody has a window or a fence to write down in a bucket of one host that had no rules of ours.
    shared = any(repositories([*update.before, *update.after]))
    if update.written and (shared or repositories(update.before)):
        time.sleep(_LATE_LOOK if contended else _SECOND_LOOK)
        try:
            return LockUpdate(update.before, _once_closed(once)[0].after, True)
        except LockRulesError:
            pass  # a window that somebody opened since, of rules that are there
    return update
