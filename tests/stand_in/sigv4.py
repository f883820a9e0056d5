# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifying AWS Signature Version 4 in all forms that S3 clients send."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Callable, Optional
from urllib.parse import parse_qsl, quote, unquote

from tests.stand_in.messages import Request
from tests.stand_in.s3_errors import S3Error

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
REGIONS = ("auto", "us-east-1", "")
SAFE = "-_.~"
SIGNING_PARAMETERS = tuple(
    f"X-Amz-{name}"
    for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token")
)
FIELDS = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")


@dataclass
class Signature:
    """What a client claims, and what its signature is checked against."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: list[str]
    signature: str
    stamp: str
    session_token: Optional[str]
    expires: Optional[int] = None
    signing_key: bytes = b""

    @property
    def scope(self) -> str:
        """The credential scope."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"

    def derive(self, secret: str) -> None:
        """Derive the signing key from the secret."""
        key = f"AWS4{secret}".encode()
        for part in (self.date, self.region, self.service, "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        self.signing_key = key

    def sign(self, text: str) -> str:
        """Sign with the derived key."""
        return hmac.new(self.signing_key, text.encode(), hashlib.sha256).hexdigest()


def _from_fields(credential: str, headers: str, signature: str, stamp: str, token: Optional[str]) -> Signature:
    parts = credential.split("/")
    if len(parts) != 5 or parts[4] != "aws4_request" or parts[3] != "s3":
        raise S3Error("InvalidArgument", "The credential scope is malformed.")
    if parts[2] not in REGIONS:
        raise S3Error("InvalidArgument", f"The region name '{parts[2]}' is not valid. Must be 'auto'.")
    return Signature(parts[0], parts[1], parts[2], parts[3], headers.lower().split(";"), signature, stamp, token)


def parse(request: Request) -> Signature:
    """Read the signature out of the header or, of a presigned URL, out of the query."""
    authorization = request.headers.get("authorization", "")
    if authorization.startswith(ALGORITHM):
        found = dict(FIELDS.findall(authorization))
        if len(found) != 3:
            raise S3Error("InvalidArgument", "The Authorization header is malformed.")
        stamp = request.headers.get("x-amz-date", "")
        token = request.headers.get("x-amz-security-token")
        return _from_fields(found["Credential"], found["SignedHeaders"], found["Signature"], stamp, token)
    query = request.query
    if query.get("X-Amz-Algorithm") == ALGORITHM:
        claimed = _from_fields(
            query.get("X-Amz-Credential", ""),
            query.get("X-Amz-SignedHeaders", ""),
            query.get("X-Amz-Signature", ""),
            query.get("X-Amz-Date", ""),
            query.get("X-Amz-Security-Token"),
        )
        claimed.expires = int(query.get("X-Amz-Expires", "0"))
        return claimed
    if authorization:
        raise S3Error("InvalidArgument", "Only AWS Signature Version 4 is supported.")
    raise S3Error("InvalidArgument", "Authorization")


def _canonical_query(request: Request, presigned: bool) -> str:
    # Not parsed as a form: to S3 a plus sign is a plus sign.
    pairs = parse_qsl(request.raw_query.replace("+", "%2B"), keep_blank_values=True)
    encoded = sorted(
        (quote(name, safe=SAFE), quote(value, safe=SAFE))
        for name, value in pairs
        if not (presigned and name == "X-Amz-Signature")
    )
    return "&".join(f"{name}={value}" for name, value in encoded)


def payload_hash(request: Request, claimed: Signature) -> str:
    """What the client says its body is."""
    return UNSIGNED if claimed.expires is not None else request.headers.get("x-amz-content-sha256", "")


def expected_signature(request: Request, claimed: Signature) -> str:
    """The signature that this request has if it was signed with the derived key."""
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in claimed.signed_headers)
    canonical = "\n".join(
        (
            request.method,
            quote(unquote(request.raw_path), safe="/" + SAFE),
            _canonical_query(request, claimed.expires is not None),
            headers,
            ";".join(claimed.signed_headers),
            payload_hash(request, claimed),
        )
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return claimed.sign("\n".join((ALGORITHM, claimed.stamp, claimed.scope, digest)))


def _check_time(claimed: Signature, now: float, max_skew: float) -> None:
    try:
        stamp = datetime.datetime.strptime(claimed.stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        raise S3Error("InvalidArgument", "The date of the signature is malformed.") from None
    if claimed.stamp[:8] != claimed.date:
        raise S3Error("SignatureDoesNotMatch")
    age = now - stamp.timestamp()
    if claimed.expires is not None:
        if age > claimed.expires or age < -max_skew:
            raise S3Error("ExpiredRequest", "The presigned URL has expired.")
    elif abs(age) > max_skew:
        raise S3Error(
            "RequestTimeTooSkewed", "The difference between the request time and the server's time is too large."
        )


def verify(request: Request, secret_of: Callable[[Signature], str], now: float, max_skew: float) -> Signature:
    """Raise S3Error unless the request is signed with the secret of its access key."""
    claimed = parse(request)
    claimed.derive(secret_of(claimed))
    if "host" not in claimed.signed_headers:
        raise S3Error("SignatureDoesNotMatch")
    if not hmac.compare_digest(expected_signature(request, claimed), claimed.signature):
        raise S3Error("SignatureDoesNotMatch")
    _check_time(claimed, now, max_skew)
    if claimed.expires is not None:
        kept = (part for part in request.raw_query.split("&") if not part.startswith(SIGNING_PARAMETERS))
        request.raw_query = "&".join(kept)
    return claimed
