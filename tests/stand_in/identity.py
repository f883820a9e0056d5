# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who signed an S3 request: the key of a token, or temporary credentials below one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any, Optional

from tests.stand_in.s3_errors import S3Error
from tests.stand_in.sigv4 import Signature
from tests.stand_in.state import State
from tests.stand_in.tokens import ACCOUNT_READ, ACCOUNT_WRITE, INCLUDED, ITEM_READ, ITEM_WRITE, Token

PERMISSIONS = {
    "admin-read-write": ACCOUNT_WRITE,
    "admin-read-only": ACCOUNT_READ,
    "object-read-write": ITEM_WRITE,
    "object-read-only": ITEM_READ,
}


@dataclass
class Identity:
    """The holder of an S3 key."""

    key_id: str
    token: Token
    narrowed: Optional[dict[str, Any]] = None

    def may(self, state: State, right: str, jurisdiction: str, bucket: Optional[str]) -> bool:
        """Whether a right is given on a bucket (None: on the account)."""
        if self.narrowed is not None:
            if bucket is None or bucket != self.narrowed["bucket"]:
                return False
            if right not in INCLUDED[PERMISSIONS[self.narrowed["permission"]]]:
                return False
        return self.token.allows(right, state.account_id, jurisdiction, bucket)

    def may_operate(self, operation: str, key: str) -> bool:
        """Whether temporary credentials, if it is such, reach this operation and key."""
        narrowed = self.narrowed or {}
        actions = narrowed.get("actions")
        if actions and operation not in actions:
            return False
        prefixes, keys = narrowed.get("prefixes") or [], narrowed.get("objects") or []
        if not (prefixes or keys):
            return True
        return key in keys or any(key.startswith(prefix) for prefix in prefixes)


def _decode_part(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def _from_jwt(state: State, jwt: str, token: Token, host: str) -> dict[str, Any]:
    """The claims of credentials that were signed with the token's secret, without asking R2."""
    try:
        head, payload, signature = jwt.split(".")
        digest = hmac.new(token.secret_access_key.encode(), f"{head}.{payload}".encode(), hashlib.sha256).digest()
        claims = _decode_part(payload)
        genuine = hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), signature)
        algorithm = _decode_part(head)["alg"]
    except (ValueError, KeyError, binascii.Error):
        raise S3Error("Unauthorized", "The session token is malformed.") from None
    if not genuine or algorithm != "HS256" or claims.get("iss") != token.id or claims.get("sub") != state.account_id:
        raise S3Error("Unauthorized", "The session token is not signed by its parent.")
    if claims.get("aud") not in (host, host.partition(":")[0]):
        raise S3Error("Unauthorized", "The session token is meant for another endpoint.")
    if float(claims.get("exp", 0)) <= state.now() or claims.get("scope") not in PERMISSIONS:
        raise S3Error("Unauthorized", "The session token has expired.")
    # R2's own limit for those that it makes.
    if not 0 < float(claims["exp"]) - float(claims.get("iat", 0)) <= 604800:
        raise S3Error("Unauthorized", "The session token is valid for too long.")
    paths = claims.get("paths", {})
    return {
        "bucket": claims.get("bucket"),
        "permission": claims["scope"],
        "actions": claims.get("actions"),
        "prefixes": paths.get("prefixPaths"),
        "objects": paths.get("objectPaths"),
    }


def _usable_token(state: State, token_id: str) -> Token:
    token = state.token_for_s3(token_id)
    if token is None or not token.usable(state.now()):
        raise S3Error("Unauthorized")
    return token


class Keyring:
    """Finds the secret of an access key and remembers whose it is."""

    def __init__(self, state: State, host: str, address: str) -> None:
        self.state = state
        self.host = host
        self.address = address
        self.identity: Optional[Identity] = None

    def secret_of(self, claimed: Signature) -> str:
        """The secret that belongs to what a client claims to be."""
        temporary = self.state.temporary.get(claimed.access_key_id)
        if temporary:
            return self._temporary(claimed, temporary)
        token = _usable_token(self.state, claimed.access_key_id)
        if not token.works_from(self.address):
            raise S3Error("AccessDenied")
        if claimed.session_token:
            return self._signed_locally(claimed, token)
        self.identity = Identity(token.id, token)
        return token.secret_access_key

    def _temporary(self, claimed: Signature, temporary: dict[str, Any]) -> str:
        token = _usable_token(self.state, temporary["parent"])
        if claimed.session_token != temporary["session_token"] or temporary["expires"] <= self.state.now():
            raise S3Error("Unauthorized")
        if temporary["parent_secret"] != token.secret_access_key:  # the parent was rolled
            raise S3Error("Unauthorized")
        self.identity = Identity(claimed.access_key_id, token, temporary)
        return str(temporary["secret"])

    def _signed_locally(self, claimed: Signature, token: Token) -> str:
        try:
            kind, _slash, jwt = base64.b64decode(claimed.session_token or "").decode().partition("/")
        except ValueError:
            kind, jwt = "", ""
        if kind != "jwt":
            raise S3Error("Unauthorized", "The session token is malformed.")
        self.identity = Identity(token.id, token, _from_jwt(self.state, jwt, token, self.host))
        return hashlib.sha256(jwt.encode()).hexdigest()
