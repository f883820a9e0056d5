# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""REST: tokens, verifying them, and temporary credentials."""

from __future__ import annotations

from tests.stand_in.messages import Response
from tests.stand_in.rest import Call, RestError, route, success


def _verify(call: Call, owner: str) -> Response:
    if call.token.owner != owner:
        raise RestError(401, 1000, "Invalid API Token")
    shown = call.token.shown(call.state.now())
    return success({name: shown[name] for name in ("id", "status", "not_before", "expires_on") if name in shown})


@route("GET", "/accounts/{account}/tokens/verify")
def verify_account_token(call: Call) -> Response:
    """Tell the token that asks about itself, if an account owns it."""
    return _verify(call, "account")


@route("GET", "/user/tokens/verify")
def verify_user_token(call: Call) -> Response:
    """Tell the token that asks about itself, if a user owns it."""
    return _verify(call, "user")
