# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns answers of Cloudflare's API into errors, as one sentence each.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._common.errors import HoldfastError

NO_SUCH_BUCKET = (10006, 10085)
BUCKET_NOT_EMPTY = 10008
BUCKET_EXISTS = (10004, 10073)
_NO_ROUTE = (7000, 7003)
_NO_TOKEN = (6003, 6111, 9106)
_NO_PERMISSION = (10000, 9109, 10003)
_NO_R2 = 10042
_TOO_MANY = (971, 10058)


class CloudflareError(HoldfastError):
    """The API refused or failed.

    Args:
        message: The sentence.
        status: The HTTP status; None without an answer.
        code: Cloudflare's own code; None when the answer had none.

    Attributes:
        after_write: A write had taken effect, and only reading it back failed.
    """

    after_write = False

    def __init__(self, message: str, *, status: int | None = None, code: int | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.status = status
        self.code = code


class NotFound(CloudflareError):
    """There is no such bucket in this account and jurisdiction."""


class Denied(CloudflareError):
    """The token is not accepted, or may not do this."""


class Throttled(CloudflareError):
    """Too many calls; retry_after is what the API asked to wait, in seconds."""

    retry_after: float | None = None


class Unreachable(CloudflareError):
    """No usable answer: whether the call took effect is not known."""


@dataclass(frozen=True)
class Request:
    """The request, for the sentence about it."""

    method: str
    path: str
    account_id: str
    jurisdiction: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def bucket(self) -> str | None:
        _before, found, rest = self.path.partition("/r2/buckets/")
        return rest.split("/")[0] if found else None


def error_of(request: Request, status: int, envelope: dict[str, Any]) -> CloudflareError:
    """Return the error that an answer without success stands for."""
    listed = envelope.get("errors")
    errors = [error for error in listed if isinstance(error, dict)] if isinstance(listed, list) else []
    code = next((error["code"] for error in errors if isinstance(error.get("code"), int)), None)
    said = "; ".join(f"{error.get('code')} {error.get('message')}" for error in errors) or "no reason given"
    kind, sentence = _meaning(request, status, code)
    return kind(f"{sentence} (HTTP {status} to {request}: {said})", status=status, code=code)


def _meaning(request: Request, status: int, code: int | None) -> tuple[type[CloudflareError], str]:
    if status == 429 or code in _TOO_MANY:
        return Throttled, "Cloudflare refuses calls for now: after 1,200 in 5 minutes it takes none for 5 minutes"
    if code in NO_SUCH_BUCKET:
        where = f"account {request.account_id}, jurisdiction {request.jurisdiction!r}"
        advice = "run site first where that was never done, else check name, account and jurisdiction"
        return NotFound, f"There is no bucket {request.bucket!r} in {where}: {advice}"
    if code in _NO_ROUTE:
        return CloudflareError, f"Cloudflare knows no account {request.account_id!r}: check account_id"
    if code == _NO_R2:
        return Denied, f"R2 is not enabled on account {request.account_id}: enable it in Cloudflare's dashboard"
    if code in _NO_TOKEN:
        return Denied, "Cloudflare does not take the API token for one: api_token must be the token's value"
    if code in _NO_PERMISSION or status in (401, 403):
        needs = "'Workers R2 Storage Write' (to read: 'Workers R2 Storage Read')"
        if "/tokens" in request.path and not request.path.endswith("/verify"):
            needs = "'Account API Tokens Write'"
        return Denied, f"The API token is not valid or lacks the permission {needs} on account {request.account_id}"
    if code == BUCKET_NOT_EMPTY:
        return CloudflareError, f"The bucket {request.bucket!r} is not empty: it is not deleted"
    if status >= 500:
        return Unreachable, "Cloudflare's API failed"
    return CloudflareError, "Cloudflare's API refused the call"
