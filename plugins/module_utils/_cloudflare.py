# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cloudflare's R2 API: buckets, public access, lock documents, and the id of the token.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Dict  # noqa: UP035

from ansible_collections.holdfast.restic_r2.plugins.module_utils._cloudflare_errors import (
    BUCKET_EXISTS,
    CloudflareError,
    Denied,
    NotFound,
    Throttled,
    Unreachable,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._cloudflare_http import (
    AT_ONCE,
    BLOCK_PATIENCE,
    CLOSING,
    NORMAL,
    RELOCK_PATIENCE,
    Pace,
    Transport,
    given_up,
    wait_before_retry,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._lock_rules import (
    MAX_RULES,
    LockRulesError,
    Rule,
    rules_of,
    same,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._network import use
from ansible_collections.holdfast.restic_r2.plugins.module_utils._pace import shared_pace

__all__ = [
    "AT_ONCE",
    "CLOSING",
    "NORMAL",
    "RELOCK_PATIENCE",
    "Bucket",
    "Cloudflare",
    "CloudflareError",
    "Denied",
    "LockConflict",
    "LockUpdate",
    "NotFound",
    "Pace",
    "Throttled",
    "Unreachable",
    "cloudflare_client",
]

Bucket = Dict[str, Any]  # noqa: UP006

# How often a lock document is planned again because somebody else wrote it between our write and our reading it back.
_LOCK_ATTEMPTS = 6
_CREATE_ATTEMPTS = 3


class LockConflict(CloudflareError):
    """The lock document that was read back is not the one that was written."""

    def __init__(self, message: str, found: list[Rule]) -> None:
        super().__init__(message)
        self.found = found


@dataclass(frozen=True)
class LockUpdate:
    """What a change of a lock document did: the rules first read, those read last, and whether a PUT was sent.

    unanswered: A PUT had no answer and was not seen to take effect, so that it may do so later.
    """

    before: list[Rule]
    after: list[Rule]
    written: bool
    unanswered: bool = False


class Cloudflare(Transport):
    """The part of the API that this collection uses.

    `lost_answers` counts the writes of lock documents that had no answer: each may have taken effect late.
    """

    lost_answers = 0

    # --- buckets

    def bucket(self, name: str) -> Bucket | None:
        try:
            return _dict(self.call("GET", self._bucket_path(name)))
        except NotFound:
            return None

    def buckets(self) -> list[Bucket]:
        """Return all buckets of the jurisdiction, whatever the number of pages."""
        found: list[Bucket] = []
        query: dict[str, Any] = {"per_page": 1000}
        while True:
            page = self._repeated("GET", f"/accounts/{self.account_id}/r2/buckets", query=query)
            found.extend(_dict(bucket) for bucket in _list(_dict(page["result"]).get("buckets")))
            cursor = _dict(page.get("result_info") or {}).get("cursor")
            if not cursor:
                return found
            if cursor == query.get("cursor"):
                raise CloudflareError("Cloudflare's API does not come to the end of the list of buckets.")
            query = {**query, "cursor": cursor}

    def create_bucket(self, name: str, location_hint: str | None = None, storage_class: str | None = None) -> Bucket:
        """Create the bucket, or return it if it turns out to be there already."""
        path = self._bucket_path(name).rpartition("/")[0]
        wanted = {"name": name, "locationHint": location_hint, "storageClass": storage_class}
        body = {key: value for key, value in wanted.items() if value is not None}
        attempt = 0
        while True:
            attempt += 1
            try:
                return _dict(self.call("POST", path, body))
            except CloudflareError as error:
                unknown = isinstance(error, Unreachable)
                if not unknown and error.code not in BUCKET_EXISTS:
                    raise
                found = self.bucket(name)
                if found is not None:
                    return found
                if not unknown or attempt == _CREATE_ATTEMPTS:
                    raise

    def delete_bucket(self, name: str) -> None:
        """Delete the bucket; one that is gone already is no error (an earlier try may have done it)."""
        with suppress(NotFound):
            self.call("DELETE", self._bucket_path(name))

    def set_storage_class(self, name: str, storage_class: str) -> Bucket:
        return _dict(self.call("PATCH", self._bucket_path(name), headers={"cf-r2-storage-class": storage_class}))

    def public_access(self, name: str) -> bool:
        """Tell whether the bucket can be read by everybody through its r2.dev address."""
        return self._enabled(self.call("GET", f"{self._bucket_path(name)}/domains/managed"))

    def set_public_access(self, name: str, enabled: bool) -> bool:
        return self._enabled(self.call("PUT", f"{self._bucket_path(name)}/domains/managed", {"enabled": enabled}))

    # --- locks

    def lock_rules(self, bucket: str, *, patience: float | None = None) -> list[Rule]:
        """Return the rules of a bucket exactly as the API has them."""
        return rules_of(self.call("GET", f"{self._bucket_path(bucket)}/lock", patience=patience), bucket)

    def replace_lock_rules(
        self,
        bucket: str,
        rules: list[Rule],
        *,
        patience: float | None = None,
        allow_empty: bool = False,
        answered: Callable[[], object] = lambda: None,
    ) -> list[Rule]:
        """Write the whole lock document once, read it back and return it; `answered` is called in between.

        A PUT is never repeated blindly, because somebody else may have written in between: when its answer is lost,
        what is read decides. Raises LockConflict when that is not what was written, and the error of the PUT when it
        did not take effect.
        """
        if len(rules) > MAX_RULES or not (rules or allow_empty):
            raise LockRulesError(f"A lock document of {len(rules)} rules is not written to bucket {bucket!r}.")
        failure: Unreachable | None = None
        try:
            # At once: were it to wait, it would undo what others wrote since the document was read.
            self._once("PUT", f"{self._bucket_path(bucket)}/lock", {"rules": rules}, priority=AT_ONCE)
        except Unreachable as error:
            failure = error
            self.lost_answers += 1
            self._sleep(wait_before_retry(error, 1))
        else:
            answered()
        try:
            found = self.lock_rules(bucket, patience=patience)
        except CloudflareError as error:
            # That reading was refused says nothing about the write.
            error.after_write = failure is None
            raise failure or error from None
        if same(found, rules):
            return found
        if failure is not None:
            raise failure
        raise LockConflict(
            f"The lock document of bucket {bucket!r} was changed by someone else meanwhile and is not as it was "
            "written: find out who else writes it, then run again.",
            found,
        )

    def update_lock_rules(
        self,
        bucket: str,
        change: Callable[[list[Rule]], list[Rule]],
        *,
        patience: float | None = None,
        allow_empty: bool = False,
        write: bool = True,
        ready: Callable[[list[Rule]], bool] = lambda rules: True,
        always: Callable[[list[Rule]], bool] = lambda rules: False,
        known: list[Rule] | None = None,
    ) -> LockUpdate:
        """Read the lock document, change it, write it if it changed, read it back; again until it is as meant.

        Args:
            bucket: The bucket.
            change: Makes the new rules of the ones read; called again with what is there when somebody else wrote.
            patience: Seconds that all of it may take, as far as retries go.
            allow_empty: Whether a document without any rule may be written.
            write: False for check mode: nothing is written, after is what would be.
            ready: Asked before every write, with the rules that there are and would be; False means to read again.
            always: Asked, with the rules read, where nothing differs; True means to write all the same, because what was
                read may be older than what has to be undone.
            known: What was read just now, which spares the first reading.
        """
        started, conflicts, failures, written, unanswered = self._awake(), 0, 0, False, False
        before = current = self.lock_rules(bucket, patience=patience) if known is None else known
        while True:
            wanted = change(current)
            if not write or (same(current, wanted) and not always(current)):
                return LockUpdate(before, wanted, written, unanswered)
            is_ready = ready([*current, *wanted])
            left = None if patience is None else max(started + patience - self._awake(), 0.0)
            if not is_ready:
                current = self.lock_rules(bucket, patience=left)
                before = before if written else current
                continue
            written = True
            try:
                after = self.replace_lock_rules(bucket, wanted, patience=left, allow_empty=allow_empty)
                return LockUpdate(before, after, True, unanswered)
            except LockConflict as conflict:
                conflicts += 1
                if conflicts == _LOCK_ATTEMPTS:
                    raise
                self._sleep(wait_before_retry(conflict, conflicts))
            except (Throttled, Unreachable) as error:
                failures, unanswered = failures + 1, unanswered or isinstance(error, Unreachable)
                wait = wait_before_retry(error, failures)
                if self._awake() - started + wait > self._limit(error, patience):
                    raise given_up(error, failures, self._awake() - started) from None
                self._sleep(wait)
            current = self.lock_rules(bucket, patience=left)

    # --- token

    def token_id(self) -> str:
        """Return the id of the API token, whether the account or a user owns it."""
        try:
            result = _dict(self.call("GET", f"/accounts/{self.account_id}/tokens/verify"))
        except CloudflareError as error:
            if isinstance(error, (Throttled, Unreachable)):
                raise
            try:
                result = _dict(self.call("GET", "/user/tokens/verify"))
            except Denied:
                # It is nobody's token, or the account is wrong: only the first answer can tell which.
                raise error from None
        if result.get("status") != "active" or not isinstance(result.get("id"), str):
            raise Denied(f"The API token is not active but {result.get('status')!r}: use another one.")
        return str(result["id"])

    def _bucket_path(self, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", name):
            raise CloudflareError(
                f"{name!r} is no bucket name: use 3 to 63 lower-case letters, digits and hyphens, none at either end."
            )
        return f"/accounts/{self.account_id}/r2/buckets/{name}"

    @staticmethod
    def _enabled(result: Any) -> bool:
        enabled = _dict(result).get("enabled")
        if not isinstance(enabled, bool):
            raise CloudflareError("Cloudflare's API did not say whether public access is enabled.")
        return enabled


def cloudflare_client(params: Mapping[str, Any], **settings: Any) -> Cloudflare:
    """Build the client from the options of the doc fragment cloudflare; without a patience, it outlasts a block."""
    use(params)
    if "patience" not in settings:
        settings["block_patience"] = BLOCK_PATIENCE
    sleep = settings.setdefault("sleep", time.sleep)
    settings.setdefault("pace", shared_pace(params["api_url"], params["account_id"], sleep))
    return Cloudflare(
        params["api_token"],
        params["account_id"],
        url=params["api_url"],
        timeout=params["api_timeout"],
        jurisdiction=params["jurisdiction"],
        **settings,
    )


def _dict(result: Any) -> dict[str, Any]:
    if not isinstance(result, dict):
        raise CloudflareError("Cloudflare's API answered with something else than what was asked for.")
    return result


def _list(result: Any) -> list[Any]:
    if not isinstance(result, list):
        raise CloudflareError("Cloudflare's API answered with something else than the list that was asked for.")
    return result
