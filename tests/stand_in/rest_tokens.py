# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""REST: API tokens of the account and of its user."""

from __future__ import annotations

import secrets
from typing import Any, Callable

from tests.stand_in.messages import Response
from tests.stand_in.rest import Call, RestError, route, success
from tests.stand_in.state import iso
from tests.stand_in.tokens import PERMISSION_GROUPS, TOKENS_WRITE, USER_TOKENS_WRITE, Token, new_value

# Both owners have the same routes; each sees its own tokens only.
OWNERS = {"account": ("/accounts/{account}", TOKENS_WRITE), "user": ("/user", USER_TOKENS_WRITE)}
CHANGEABLE = ("name", "policies", "status", "not_before", "expires_on", "condition")


def both(method: str, path: str) -> Callable[[Callable[[Call, str], Response]], Callable[[Call, str], Response]]:
    """Register a handler of (call, owner) for tokens of accounts and of users."""

    def register(handler: Callable[[Call, str], Response]) -> Callable[[Call, str], Response]:
        for owner, (prefix, _right) in OWNERS.items():

            def answer(call: Call, owner: str = owner) -> Response:
                return handler(call, owner)

            route(method, f"{prefix}/tokens{path}")(answer)
        return handler

    return register


def _require(call: Call, owner: str) -> None:
    call.require(OWNERS[owner][1])


def _token(call: Call, owner: str) -> Token:
    _require(call, owner)
    token = call.state.tokens.get(call.values["token"])
    if token is None or token.owner != owner:
        raise RestError(404, 1003, "The requested token was not found.")
    return token


def _checked(body: Any) -> dict[str, Any]:
    """The fields of a token that a client may set."""
    values = {name: body[name] for name in CHANGEABLE if isinstance(body, dict) and body.get(name) is not None}
    if not values.get("name") or not isinstance(values.get("policies"), list) or not values["policies"]:
        raise RestError(400, 1001, "A token needs a name and at least one policy.")
    for policy in values["policies"]:
        policy.setdefault("id", secrets.token_hex(16))
        policy["permission_groups"] = [_group(entry) for entry in policy.get("permission_groups", [])]
        if not policy["permission_groups"] or not isinstance(policy.get("resources"), dict):
            raise RestError(400, 1001, "A policy needs permission groups and resources.")
        if "com.cloudflare.edge.r2.bucket.*" in policy["resources"]:
            raise RestError(403, 9109, "Unauthorized to access requested resource")
    return values


def _group(entry: dict[str, Any]) -> dict[str, Any]:
    known = PERMISSION_GROUPS.get(entry.get("id", ""))
    if known is None:
        raise RestError(400, 1001, f"There is no permission group {entry.get('id')}.")
    return {"id": entry["id"], "name": known[0]}


@both("GET", "/verify")
def verify_token(call: Call, owner: str) -> Response:
    """Tell the token that asks about itself; each owner's path knows its own tokens only."""
    if call.token.owner != owner:
        raise RestError(401, 1000, "Invalid API Token")
    shown = call.token.shown(call.state.now())
    return success({name: shown[name] for name in ("id", "status", "not_before", "expires_on") if name in shown})


@both("GET", "/permission_groups")
def list_permission_groups(call: Call, owner: str) -> Response:
    """The permission groups that are known here."""
    _require(call, owner)
    wanted = call.request.query.get("name", "")
    groups = [
        {"id": group_id, "name": name, "scopes": [scope]}
        for group_id, (name, scope, _right) in PERMISSION_GROUPS.items()
        if wanted.lower() in name.lower()
    ]
    return success(groups)


@both("GET", "")
def list_tokens(call: Call, owner: str) -> Response:
    """A page of tokens, without their values."""
    _require(call, owner)
    query, now = call.request.query, call.state.now()
    page, size = int(query.get("page", "1")), int(query.get("per_page", "20"))
    found = [token.shown(now) for token in call.state.tokens.values() if token.owner == owner]
    if query.get("direction") == "desc":
        found.reverse()
    part = found[(page - 1) * size : page * size]
    return success(part, {"page": page, "per_page": size, "count": len(part), "total_count": len(found)})


@both("POST", "")
def create_token(call: Call, owner: str) -> Response:
    """Make a token; only this answer holds its value."""
    _require(call, owner)
    token = call.state.add_token(owner=owner, **_checked(call.document()))
    call.state.save()
    return success({**token.shown(call.state.now()), "value": token.value})


@both("GET", "/{token}")
def get_token(call: Call, owner: str) -> Response:
    """One token, without its value."""
    return success(_token(call, owner).shown(call.state.now()))


@both("PUT", "/{token}")
def update_token(call: Call, owner: str) -> Response:
    """Replace what a token is but for its value."""
    token = _token(call, owner)
    values = _checked(call.document())
    call.state.changing(token.id)
    for name in CHANGEABLE:
        setattr(token, name, values.get(name, "active" if name == "status" else None))
    token.dates["modified_on"] = iso(call.state.now())
    call.state.save()
    return success(token.shown(call.state.now()))


@both("PUT", "/{token}/value")
def roll_token(call: Call, owner: str) -> Response:
    """Give a token a new value; the old one is worth nothing from now on."""
    token = _token(call, owner)
    call.state.changing(token.id)
    token.value = new_value()
    call.state.save()
    return success(token.value)


@both("DELETE", "/{token}")
def delete_token(call: Call, owner: str) -> Response:
    """Remove a token and with it everything derived from it."""
    token = _token(call, owner)
    call.state.changing(token.id)
    del call.state.tokens[token.id]
    call.state.save()
    return success({"id": token.id})
