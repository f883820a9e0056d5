# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""REST: temporary S3 credentials below a token."""

from __future__ import annotations

import secrets
from typing import Any

from tests.stand_in.identity import PERMISSIONS
from tests.stand_in.messages import Response
from tests.stand_in.rest import Call, RestError, route, success
from tests.stand_in.tokens import ACCOUNT_WRITE

DEFAULT_TTL = 900
MAX_TTL = 604800


def _checked(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict) or not all(
        isinstance(body.get(name), str) for name in ("bucket", "parentAccessKeyId")
    ):
        raise RestError(400, 10001, "bucket and parentAccessKeyId are needed.")
    ttl = body.get("ttlSeconds", DEFAULT_TTL)
    if not isinstance(ttl, int) or not 0 < ttl <= MAX_TTL:
        raise RestError(400, 10001, f"ttlSeconds is not between 1 and {MAX_TTL}.")
    if body.get("permission") not in PERMISSIONS:
        raise RestError(400, 10001, "permission is not one of those there are.")
    return {**body, "ttlSeconds": ttl}


@route("POST", "/accounts/{account}/r2/temp-access-credentials")
def create_temporary_credentials(call: Call) -> Response:
    """Credentials for one bucket that can do no more than their parent, and end with it."""
    state, body = call.state, _checked(call.document())
    parent = state.tokens.get(body["parentAccessKeyId"])
    if parent is None or not parent.usable(state.now()):
        raise RestError(403, 10000, "Authentication error")
    if parent is not call.token:
        call.require(ACCOUNT_WRITE)
    if not parent.allows(PERMISSIONS[body["permission"]], state.account_id, "default", body["bucket"]):
        raise RestError(403, 10000, "Authentication error")
    key_id = secrets.token_hex(16)
    made = {
        "parent": parent.id,
        "parent_secret": parent.secret_access_key,
        "secret": secrets.token_hex(32),
        "session_token": secrets.token_urlsafe(96),
        "bucket": body["bucket"],
        "permission": body["permission"],
        "prefixes": body.get("prefixes"),
        "objects": body.get("objects"),
        "expires": state.now() + body["ttlSeconds"],
    }
    state.temporary[key_id] = made
    state.save()
    return success({"accessKeyId": key_id, "secretAccessKey": made["secret"], "sessionToken": made["session_token"]})
