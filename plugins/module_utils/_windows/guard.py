# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard: closes every window that has outlived its lease, knowing nothing but the lock documents.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .._common.clock import elapsed
from .._common.errors import HoldfastError
from .._locks.change import MutexFactory
from .._locks.fences import check_age
from .._locks.mutex import Mutex, MutexBusy, MutexScope
from .._locks.rules import Rule, format_date, problems, repositories
from .._locks.store import LockStore
from .._locks.windows import Window, close_window, windows
from .._r2.api import CLOSING, CloudflareError, Throttled, Unreachable
from .guard_fences import enable_behind, sentence_of, settled, take_over_overdue

# How long one bucket may hold up all others, and how long closing waits for the mutex, in seconds.
_BUCKET_TIMEOUT = 5.0
_MUTEX_TIMEOUT = 5.0
# A writer without the mutex may undo what was just read back; after so many seconds it has.
_SECOND_LOOK = 2.0


@dataclass
class BucketResult:
    """The findings and the work of the guard in one bucket."""

    bucket: str
    jurisdiction: str
    closed: list[dict[str, Any]] = field(default_factory=list)
    live: list[dict[str, Any]] = field(default_factory=list)
    fences: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    written: bool = True
    failure: HoldfastError | None = None
    alone: Exception | None = None
    # Whether there is a rule of this collection in the bucket; without one, nothing is held and nothing can be guarded.
    has_locks: bool = True
    before: list[Rule] = field(default_factory=list, repr=False)
    after: list[Rule] = field(default_factory=list, repr=False)

    @property
    def line(self) -> str:
        parts = list(self.problems)
        for word, found in (("closed" if self.written else "would be closed", self.closed), ("left alone", self.live)):
            parts += [f"{word}: {_described(window)}." for window in found]
        parts += [sentence_of(fence, self.written) for fence in self.fences]
        quiet = (
            "all rules are in force."
            if self.has_locks
            else "no lock rules of this collection; there is nothing to guard."
        )
        place = self.bucket if self.jurisdiction == "default" else f"{self.bucket} ({self.jurisdiction})"
        return f"{place}: {' '.join(parts) or quiet}"

    def returned(self) -> dict[str, Any]:
        """The result as a module returns it."""
        names = ("bucket", "jurisdiction", "closed", "live", "fences", "problems", "line")
        return {name: getattr(self, name) for name in names}


def relock(
    cloudflare: LockStore, bucket: str, mutex_for: MutexFactory | None, *, force: bool = False, write: bool = True
) -> BucketResult:
    """Close the overdue and orphaned windows of one bucket, and with force the live ones too.

    In a shared bucket it takes the mutex before it writes, but it closes without the mutex rather than wait for long: then
    `alone` says why. Without mutex_for it does not even try.

    Never raises for what this one bucket can cause: the next one waits. A document that makes no sense is reported and
    left alone as far as the nonsense goes.
    """
    result = BucketResult(bucket, cloudflare.jurisdiction, written=write)
    cloudflare.priority = CLOSING
    holder = secrets.token_hex(8)

    def change(rules: list[Rule]) -> list[Rule]:
        rules = _plan(rules, cloudflare.server_time(), force, result)
        return take_over_overdue(cloudflare, rules, holder, force, result)

    def ready(rules: list[Rule]) -> bool:
        if mutex_for is None or mine.ready(rules):
            return True
        result.closed, result.fences = [], []  # others may have closed it meanwhile
        return False

    def mutex() -> Mutex:
        return mutex_for(cloudflare, bucket)  # type: ignore[misc]

    try:
        with MutexScope(bucket, mutex, _MUTEX_TIMEOUT, insist=False) as mine:
            update = cloudflare.update_lock_rules(bucket, change, write=write, ready=ready)
            result.alone, mine.unanswered = mine.alone, update.unanswered
            result.before, result.after = update.before, update.after
            result.has_locks = bool(repositories(update.before))
            if write and result.fences:
                _take_down(cloudflare, result, holder, mine, mine.ready if mutex_for else lambda rules: True)
    except HoldfastError as error:
        result.closed, result.fences = [], []
        result.failure = error
        result.problems.append(str(error))
    return result


def _take_down(
    cloudflare: LockStore, result: BucketResult, holder: str, mine: MutexScope, ready: Callable[[list[Rule]], bool]
) -> None:
    """Enable the tokens behind the fences that were made this guard's own, and take these away."""
    time.sleep(_SECOND_LOOK)
    read_at = elapsed()
    rules = cloudflare.lock_rules(result.bucket)
    done = enable_behind(cloudflare, rules, holder, result, lambda: check_age(elapsed() - read_at))

    def change(rules: list[Rule]) -> list[Rule]:
        return settled(rules, holder, done, cloudflare.server_time())

    update = cloudflare.update_lock_rules(result.bucket, change, ready=ready)
    mine.unanswered = mine.unanswered or update.unanswered
    result.after = update.after


def _plan(rules: list[Rule], now: datetime, force: bool, result: BucketResult) -> list[Rule]:
    """The rules without the windows that have to go; notes its findings. Called again when another process wrote."""
    result.problems = [problem.sentence for problem in problems(rules)]
    result.live = []
    planned = {window["prefix"]: window for window in result.closed}
    for window in windows(rules):
        if window.problem is not None:
            continue
        if window.live(now) and not force:
            result.live.append(_shown(window, now))
            continue
        planned[window.prefix] = _shown(window, now)
        rules = close_window(rules, window.prefix)
    result.closed = list(planned.values())
    return rules


def _shown(window: Window, now: datetime) -> dict[str, Any]:
    lease = format_date(window.lease) if window.lease else None
    return {"prefix": window.prefix, "parts": list(window.parts), "lease": lease, "state": window.state(now)}


def _described(window: dict[str, Any]) -> str:
    name = window["prefix"] or "the repository of the bucket"
    lease = f", lease {window['lease']}" if window["lease"] else ""
    return f"{name} ({window['state']} window on {', '.join(window['parts']) or 'nothing'}{lease})"


def relock_all(
    clients: list[LockStore],
    buckets: list[str] | None,
    mutex_for: MutexFactory | None,
    *,
    force: bool = False,
    write: bool = True,
    timeout: float,
    unseen: dict[str, str] | None = None,
) -> list[BucketResult]:
    """Run the guard over the named buckets, or over all that each client sees, with one timeout for them together.

    The first client must be answered. The others may be for jurisdictions that the account does not have: what the API
    refuses there is told in `unseen`. Without that they were asked for by name, and must be answered too.

    A bucket that fails for the moment is tried again after all others.
    """
    if buckets is not None and not buckets:
        raise HoldfastError("buckets is empty, so that nothing would be guarded: name some, or leave it out for all.")
    deadline = time.monotonic() + timeout
    jobs: list[tuple[LockStore, str]] = []
    failed: list[BucketResult] = []
    for number, cloudflare in enumerate(clients):
        cloudflare.block_timeout = None
        # A jurisdiction that was not named takes none of the time that the first one needs to outlast a block.
        others = 1 if number == 0 and unseen is not None else len(clients) - number
        cloudflare.retry_timeout = max(deadline - time.monotonic(), 0.0) / others
        try:
            jobs += [(cloudflare, name) for name in _names(cloudflare, buckets)]
        except HoldfastError as error:
            refused = isinstance(error, CloudflareError) and not isinstance(error, (Throttled, Unreachable))
            if len(clients) == 1 or (refused and unseen is not None and number == 0):
                raise
            if refused and unseen is not None:
                unseen[cloudflare.jurisdiction] = str(error)
                continue
            failed.append(BucketResult("(all)", cloudflare.jurisdiction, problems=[str(error)], failure=error))
    results: dict[int, BucketResult] = {}
    for again in (False, True):
        for number, (cloudflare, name) in enumerate(jobs):
            if number in results and not isinstance(results[number].failure, (Throttled, Unreachable)):
                continue
            left = max(deadline - time.monotonic(), 0.0)
            cloudflare.retry_timeout = left if again else min(left, _BUCKET_TIMEOUT)
            results[number] = relock(cloudflare, name, mutex_for, force=force, write=write)
            if results[number].alone and not isinstance(results[number].alone, MutexBusy):
                mutex_for = None  # without S3, or without keys, the next bucket need not wait in vain
            if not again and isinstance(results[number].failure, Throttled):
                break  # so will be all others
    return failed + [results[number] for number in sorted(results)]


def _names(cloudflare: LockStore, buckets: list[str] | None) -> list[str]:
    return buckets if buckets is not None else [str(found["name"]) for found in cloudflare.buckets()]


def sentence(results: list[BucketResult]) -> str:
    """The problems, in one sentence for each bucket that needs a person; empty when none does."""
    return " ".join(f"Bucket {result.bucket}: {' '.join(result.problems)}" for result in results if result.problems)
