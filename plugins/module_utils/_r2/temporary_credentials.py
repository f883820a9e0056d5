# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signs temporary S3 credentials for one bucket or prefix with a parent's secret, without asking R2. Pure.

https://developers.cloudflare.com/r2/api/s3/temporary-credentials/

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .._common.errors import HoldfastError

# R2's own limit for those that it makes; for those that are signed elsewhere none is documented.
LONGEST = 7 * 86400
SHORTEST = 900
SCOPES = {"read_write": "object-read-write", "read_only": "object-read-only"}


class TemporaryError(HoldfastError):
    """Such credentials cannot be made."""


@dataclass(frozen=True)
class Parent:
    """Whose rights the credentials have a part of, and whose end ends them."""

    account_id: str
    access_key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Credentials:
    """The credentials of a host; expires is in seconds since the epoch."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires: int


def period_of(now: float, valid: int, refresh: int) -> tuple[int, int]:
    """Return begin and end, in seconds since the epoch, for credentials that are made at this moment.

    The same moments give the same answer for as long as a refresh lasts, so that making them again changes nothing.
    They are good for at least `valid - refresh` seconds more.
    """
    if not SHORTEST <= valid <= LONGEST:
        raise TemporaryError(
            f"Credentials that are valid for {valid} seconds are not made: between {SHORTEST} and {LONGEST} are allowed."
        )
    if not 0 < refresh <= valid // 2:
        raise TemporaryError(
            f"The credentials would be refreshed after {refresh} seconds; that must be at most half of their {valid} "
            "seconds, so that a run that is missed does no harm."
        )
    begin = int(now) - int(now) % refresh
    return begin, begin + valid


def sign(
    parent: Parent, endpoint: str, bucket: str, prefix: str, permission: str, period: tuple[int, int]
) -> Credentials:
    """Return credentials that reach the objects of a bucket, or those below a prefix of it."""
    begin, end = period
    claims: dict[str, Any] = {
        "bucket": bucket,
        "scope": SCOPES[permission],
        "sub": parent.account_id,
        "iss": parent.access_key_id,
        "aud": urlsplit(endpoint).netloc,
        "iat": begin,
        "exp": end,
    }
    if prefix:
        claims["paths"] = {"prefixPaths": [prefix], "objectPaths": []}
    text = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    signature = hmac.new(parent.secret.encode(), text.encode(), hashlib.sha256).digest()
    jwt = f"{text}.{_base64(signature)}"
    return Credentials(
        parent.access_key_id,
        hashlib.sha256(jwt.encode()).hexdigest(),
        base64.b64encode(f"jwt/{jwt}".encode()).decode(),
        end,
    )


def _part(data: dict[str, Any]) -> str:
    return _base64(json.dumps(data, separators=(",", ":"), sort_keys=True).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
