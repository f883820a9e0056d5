# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads and replaces lock documents: the part of a provider that windows, the guard, fences and probes know.

`LockStore` is all that they use. `CloudflareLocks` is its implementation for R2; another provider whose buckets have lock
rules by prefix would be another one.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from .._common.dates import format_date
from .._common.network import use
from .._r2.api import AT_ONCE, Bucket, Cloudflare, CloudflareError, Throttled, Unreachable
from .._r2.rate_limit import shared_rate_limit
from .._r2.transport import BLOCK_TIMEOUT, Call, given_up, wait_before_retry
from .rules import MAX_RULES, LockRulesError, Rule, rules_of, same

# How often a lock document is planned again because another writer changed it between our write and our reading it back.
_LOCK_ATTEMPTS = 6


class LockConflict(CloudflareError):
    """The lock document that was read back is not the one that was written."""

    def __init__(self, message: str, found: list[Rule]) -> None:
        super().__init__(message)
        self.found = found


@dataclass(frozen=True)
class LockUpdate:
    """The result of a change of a lock document: the rules first read, those read last, and whether a PUT was sent.

    unanswered: A PUT had no answer and was not seen to take effect, so that it may do so later.
    """

    before: list[Rule]
    after: list[Rule]
    written: bool
    unanswered: bool = False


class LockStore(Protocol):
    """Reads and writes the lock document of a bucket, and tells the time of the service that judges by it.

    Args:
        jurisdiction: Of the buckets.
        retry_timeout: Seconds that all tries of one call may take together, unless the call says otherwise.
        block_timeout: The same while the service refuses calls because there were too many.
        priority: How urgent calls are, for the rate limit that all processes of a node share.
        lost_answers: How many writes had no answer: each may have taken effect late.
    """

    jurisdiction: str
    retry_timeout: float
    block_timeout: float | None
    priority: int
    lost_answers: int

    def server_time(self) -> datetime:
        """The time of the service, in UTC, as its last answer told it."""

    def token_id(self) -> str:
        """The id of the token that calls are made with."""

    def buckets(self) -> list[Bucket]:
        """All buckets of the account in this jurisdiction."""

    def lock_rules(self, bucket: str, *, retry_timeout: float | None = None) -> list[Rule]:
        """The document of a bucket, exactly as the service has it."""

    def replace_lock_rules(
        self,
        bucket: str,
        rules: list[Rule],
        *,
        retry_timeout: float | None = None,
        allow_empty: bool = False,
        answered: Callable[[], object] = ...,
    ) -> list[Rule]:
        """Write a document once, read it back and return it; raises LockConflict when it is not what was written."""

    def update_lock_rules(
        self,
        bucket: str,
        change: Callable[[list[Rule]], list[Rule]],
        *,
        retry_timeout: float | None = None,
        allow_empty: bool = False,
        write: bool = True,
        ready: Callable[[list[Rule]], bool] = ...,
        always: Callable[[list[Rule]], bool] = ...,
        known: list[Rule] | None = None,
    ) -> LockUpdate:
        """Read, change, write and read back, until the document is as `change` wants it."""


def time_told(store: LockStore) -> str | None:
    """The clock of the service, as far as it has told the time."""
    try:
        return format_date(store.server_time().replace(microsecond=0))
    except CloudflareError:
        return None


class CloudflareLocks(Cloudflare):
    """The lock documents of R2, and all else that the API knows. A `LockStore`."""

    lost_answers = 0

    def lock_rules(self, bucket: str, *, retry_timeout: float | None = None) -> list[Rule]:
        """Return the rules of a bucket exactly as the API has them."""
        return rules_of(self.call("GET", f"{self.bucket_path(bucket)}/lock", retry_timeout=retry_timeout), bucket)

    def replace_lock_rules(
        self,
        bucket: str,
        rules: list[Rule],
        *,
        retry_timeout: float | None = None,
        allow_empty: bool = False,
        answered: Callable[[], object] = lambda: None,
    ) -> list[Rule]:
        """Write the whole lock document once, read it back and return it; `answered` is called in between.

        A PUT is never repeated blindly, because another writer may have written in between: when its answer is lost,
        what is read decides. Raises LockConflict when that is not what was written, and the error of the PUT when it
        did not take effect.
        """
        if len(rules) > MAX_RULES or not (rules or allow_empty):
            raise LockRulesError(f"A lock document of {len(rules)} rules is not written to bucket {bucket!r}.")
        failure: Unreachable | None = None
        try:
            # At once: were it to wait, it would undo what others wrote since the document was read.
            self._once(Call("PUT", f"{self.bucket_path(bucket)}/lock", {"rules": rules}), priority=AT_ONCE)
        except Unreachable as error:
            failure = error
            self.lost_answers += 1
            self._sleep(wait_before_retry(error, 1))
        else:
            answered()
        try:
            found = self.lock_rules(bucket, retry_timeout=retry_timeout)
        except CloudflareError as error:
            # That reading was refused says nothing about the write.
            error.after_write = failure is None
            raise failure or error from None
        if same(found, rules):
            return found
        if failure is not None:
            raise failure
        raise LockConflict(
            f"The lock document of bucket {bucket!r} was changed by another writer meanwhile and is not as it was "
            "written: find that writer, then run again.",
            found,
        )

    def update_lock_rules(
        self,
        bucket: str,
        change: Callable[[list[Rule]], list[Rule]],
        *,
        retry_timeout: float | None = None,
        allow_empty: bool = False,
        write: bool = True,
        ready: Callable[[list[Rule]], bool] = lambda rules: True,
        always: Callable[[list[Rule]], bool] = lambda rules: False,
        known: list[Rule] | None = None,
    ) -> LockUpdate:
        """Read the lock document, change it, write it if it changed, read it back; again until it is as meant.

        Args:
            bucket: The bucket.
            change: Makes the new rules of the ones read; called again with the new document when another writer changed it.
            retry_timeout: Seconds that all of it may take, as far as retries go.
            allow_empty: Whether a document without any rule may be written.
            write: False for check mode: nothing is written, after is what would be.
            ready: Asked before every write, with the rules that there are and would be; False means to read again.
            always: Asked, with the rules read, where nothing differs; True means to write all the same, because what was
                read may be older than what has to be undone.
            known: What was read just now, which spares the first reading.
        """
        started, conflicts, failures, written, unanswered = self._awake(), 0, 0, False, False
        before = current = self.lock_rules(bucket, retry_timeout=retry_timeout) if known is None else known
        while True:
            desired = change(current)
            if not write or (same(current, desired) and not always(current)):
                return LockUpdate(before, desired, written, unanswered)
            is_ready = ready([*current, *desired])
            left = None if retry_timeout is None else max(started + retry_timeout - self._awake(), 0.0)
            if not is_ready:
                current = self.lock_rules(bucket, retry_timeout=left)
                before = before if written else current
                continue
            written, lost = True, self.lost_answers
            try:
                after = self.replace_lock_rules(bucket, desired, retry_timeout=left, allow_empty=allow_empty)
                # A document that was so before shows nothing of a write that had no answer.
                unseen = self.lost_answers > lost and same(current, desired)
                return LockUpdate(before, after, True, unanswered or unseen)
            except LockConflict as conflict:
                conflicts += 1
                if conflicts == _LOCK_ATTEMPTS:
                    raise
                self._sleep(wait_before_retry(conflict, conflicts))
            except (Throttled, Unreachable) as error:
                failures, unanswered = failures + 1, unanswered or isinstance(error, Unreachable)
                wait = wait_before_retry(error, failures)
                if self._awake() - started + wait > self._limit(error, retry_timeout):
                    raise given_up(error, failures, self._awake() - started) from None
                self._sleep(wait)
            current = self.lock_rules(bucket, retry_timeout=left)


def cloudflare_client(params: Mapping[str, Any], **settings: Any) -> CloudflareLocks:
    """Build the client from the options of the doc fragment cloudflare; without a retry_timeout it outlasts a block."""
    use(params)
    if "retry_timeout" not in settings:
        settings["block_timeout"] = BLOCK_TIMEOUT
    sleep = settings.setdefault("sleep", time.sleep)
    settings.setdefault("rate_limit", shared_rate_limit(params["api_url"], params["account_id"], sleep))
    return CloudflareLocks(
        params["api_token"],
        params["account_id"],
        url=params["api_url"],
        timeout=params["api_timeout"],
        jurisdiction=params["jurisdiction"],
        **settings,
    )
