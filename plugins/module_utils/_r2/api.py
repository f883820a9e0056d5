# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls Cloudflare's R2 API: buckets, public access, and the id of the token. Lock documents are in `_locks.store`.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Dict  # noqa: UP035

from .errors import BUCKET_EXISTS, CloudflareError, Denied, NotFound, Throttled, Unreachable
from .places import checked_bucket
from .transport import (
    AT_ONCE,
    CLOSING,
    NORMAL,
    Call,
    RateLimit,
    Transport,
)

__all__ = [
    "AT_ONCE",
    "CLOSING",
    "NORMAL",
    "Bucket",
    "Call",
    "Cloudflare",
    "CloudflareError",
    "Denied",
    "NotFound",
    "RateLimit",
    "Throttled",
    "Unreachable",
]

Bucket = Dict[str, Any]  # noqa: UP006

_CREATE_ATTEMPTS = 3


class Cloudflare(Transport):
    """The part of the API that this collection uses."""

    # --- buckets

    def bucket(self, name: str) -> Bucket | None:
        try:
            return _dict(self.call("GET", self.bucket_path(name)))
        except NotFound:
            return None

    def buckets(self) -> list[Bucket]:
        """Return all buckets of the jurisdiction, from any number of pages."""
        found: list[Bucket] = []
        query: dict[str, Any] = {"per_page": 1000}
        while True:
            page = self._repeated(Call("GET", f"/accounts/{self.account_id}/r2/buckets", query=query))
            found.extend(_dict(bucket) for bucket in _list(_dict(page["result"]).get("buckets")))
            cursor = _dict(page.get("result_info") or {}).get("cursor")
            if not cursor:
                return found
            if cursor == query.get("cursor"):
                raise CloudflareError("Cloudflare's API does not come to the end of the list of buckets.")
            query = {**query, "cursor": cursor}

    def create_bucket(self, name: str, location_hint: str | None = None, storage_class: str | None = None) -> Bucket:
        """Create the bucket, or return it if it turns out to be there already."""
        path = self.bucket_path(name).rpartition("/")[0]
        desired = {"name": name, "locationHint": location_hint, "storageClass": storage_class}
        body = {key: value for key, value in desired.items() if value is not None}
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
            self.call("DELETE", self.bucket_path(name))

    def set_storage_class(self, name: str, storage_class: str) -> Bucket:
        return _dict(self.call("PATCH", self.bucket_path(name), headers={"cf-r2-storage-class": storage_class}))

    def public_access(self, name: str) -> bool:
        """Tell whether the bucket is public through its r2.dev address."""
        return self._enabled(self.call("GET", f"{self.bucket_path(name)}/domains/managed"))

    def set_public_access(self, name: str, enabled: bool) -> bool:
        return self._enabled(self.call("PUT", f"{self.bucket_path(name)}/domains/managed", {"enabled": enabled}))

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
                # The token does not exist, or the account is wrong: only the first answer can tell which.
                raise error from None
        if result.get("status") != "active" or not isinstance(result.get("id"), str):
            raise Denied(f"The API token is not active but {result.get('status')!r}: use another one.")
        return str(result["id"])

    def bucket_path(self, name: str) -> str:
        return f"/accounts/{self.account_id}/r2/buckets/{checked_bucket(name, CloudflareError)}"

    @staticmethod
    def _enabled(result: Any) -> bool:
        enabled = _dict(result).get("enabled")
        if not isinstance(enabled, bool):
            raise CloudflareError("Cloudflare's API did not say whether public access is enabled.")
        return enabled


def _dict(result: Any) -> dict[str, Any]:
    if not isinstance(result, dict):
        raise CloudflareError("Cloudflare's API gave an answer of another kind than the one asked for.")
    return result


def _list(result: Any) -> list[Any]:
    if not isinstance(result, list):
        raise CloudflareError("Cloudflare's API answered with something else than the list that was asked for.")
    return result
