# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans API tokens: tells which are ours, and what one for the objects of one bucket looks like. Pure.

Tokens are dicts as the API returned them. The API keeps nothing beside a token but its name, so that the name is what
ours are recognised by.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Dict  # noqa: UP035

from .._common.dates import format_date, parse_date
from .._common.errors import HoldfastError
from .._r2.places import checked_bucket

Token = Dict[str, Any]  # noqa: UP006

NAMESPACE = "holdfast/"
# The ids that Cloudflare publishes, for when they cannot be looked up by name.
# https://developers.cloudflare.com/r2/api/tokens/
PERMISSION_GROUPS = {
    "read_write": ("Workers R2 Storage Bucket Item Write", "2efd5506f9c8494dacb1fa10a3e7d5b6"),
    "read_only": ("Workers R2 Storage Bucket Item Read", "6a018a9f2fc74eb6b293b0c548f38b39"),
}
ACTIVE, DISABLED = "active", "disabled"
# What a PUT replaces; the rest belongs to the API.
_SETTABLE = ("name", "policies", "status", "not_before", "expires_on", "condition")
_NAME = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._/ -]{0,99}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class TokenError(HoldfastError):
    """A token, or a desired change of it, makes no sense or is not safe."""


@dataclass(frozen=True)
class Wish:
    """The desired token. None leaves a thing as it is, empty takes it away.

    Attributes:
        name: Without the name space.
        resource: What it reaches, see `bucket_resource`.
        expires_on: When it ends.
        allowed: The only source addresses, CIDR.
    """

    name: str
    resource: str
    expires_on: str | None = None
    allowed: list[str] | None = None

    def __post_init__(self) -> None:
        # Before the account is asked for what there is.
        _expiry(self.expires_on, None)
        for address in self.allowed or ():
            _network(address)


def full_name(name: str) -> str:
    """Return the name that the API knows the token by."""
    if not _NAME.fullmatch(name) or name.endswith((" ", "/")):
        raise TokenError(
            f"{name!r} is no name for a token: use up to 100 letters, digits, dots, underscores, hyphens and slashes."
        )
    return NAMESPACE + name


def checked_id(token: Token) -> str:
    """Return the id of a token, which becomes part of an address."""
    found = token.get("id")
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise TokenError(f"The API tells of a token {token.get('name')!r} without a usable id; it is left alone.")
    return found


def bucket_resource(account_id: str, jurisdiction: str, bucket: str) -> str:
    """Return the name of a bucket among the resources of policies. A wrong one gives a token that reaches nothing."""
    return f"com.cloudflare.edge.r2.bucket.{account_id}_{jurisdiction}_{checked_bucket(bucket, TokenError)}"


def find(tokens: Iterable[Token], name: str) -> Token | None:
    """Return our token of this name. Two of one name are an error."""
    found = [token for token in tokens if token.get("name") == full_name(name)]
    if len(found) > 1:
        ids = ", ".join(checked_id(token) for token in found)
        raise TokenError(
            f"There are {len(found)} API tokens named {full_name(name)!r} ({ids}): nothing was changed; look which one "
            "the host uses, and remove the others by hand."
        )
    return found[0] if found else None


def writes_to(token: Token, resource: str) -> bool:
    """Return whether a token may do more than read in this bucket, as far as a policy names the bucket."""
    reading = {PERMISSION_GROUPS["read_only"][1]}
    return any(
        resource in (policy.get("resources") or {})
        and any(group.get("id") not in reading for group in policy.get("permission_groups") or [])
        for policy in token.get("policies") or []
        if policy.get("effect", "allow") == "allow"
    )


def is_ours(token: Token) -> bool:
    return str(token.get("name", "")).startswith(NAMESPACE)


def planned(before: Token | None, wish: Wish, group_id: str | None = None) -> Token:
    """Return the token as it should be, in the form of a request.

    Args:
        before: The token that is there.
        wish: What it should be.
        group_id: The id of the permission group, when it was looked up.
    """
    token = {name: value for name, value in (before or {}).items() if name in _SETTABLE and value is not None}
    policy = _policy(wish, group_id)
    if [_shown_policy(found) for found in token.get("policies", [])] != [_shown_policy(policy)]:
        token["policies"] = [policy]
    token["name"] = full_name(wish.name)
    if token.get("status") not in (ACTIVE, DISABLED):
        token.pop("status", None)  # such as expired, which cannot be set
    _set(token, "expires_on", _expiry(wish.expires_on, token.get("expires_on")))
    _set(token, "condition", _condition(wish, token.get("condition")))
    return token


def _policy(wish: Wish, group_id: str | None) -> dict[str, Any]:
    name, published = PERMISSION_GROUPS["read_write"]
    group = {"id": group_id or published, "name": name}
    return {"effect": "allow", "resources": {wish.resource: "*"}, "permission_groups": [group]}


def request_of(token: Token) -> Token:
    """Return the body of a request: no ids of policies, and groups by their id alone."""
    policies = [
        {
            "effect": policy.get("effect", "allow"),
            "resources": policy["resources"],
            "permission_groups": [{"id": group["id"]} for group in policy["permission_groups"]],
        }
        for policy in token["policies"]
    ]
    return {**token, "policies": policies}


def _set(token: Token, name: str, value: Any) -> None:
    if value:
        token[name] = value
    else:
        token.pop(name, None)


def _expiry(desired: str | None, found: str | None) -> str | None:
    if not desired:
        return found if desired is None else None
    moment = parse_date(desired)
    if moment is None:
        raise TokenError(
            f"{desired!r} is no date: write it like 2027-01-31, or with a time and its zone like 2027-01-31T12:00:00Z."
        )
    return found if parse_date(found) == moment else seconds(moment)


def seconds(moment: datetime) -> str:
    """Return an instant as the API takes it, without fractions."""
    return format_date(moment.replace(microsecond=0))


def _condition(wish: Wish, found: dict[str, Any] | None) -> dict[str, Any] | None:
    condition = dict(found or {})
    addresses = dict(condition.get("request_ip") or {})
    if wish.allowed is not None:
        networks = [_network(text) for text in wish.allowed]
        if sorted(networks) != sorted(addresses.get("in") or []):
            addresses["in"] = networks
        _set(addresses, "in", addresses.get("in"))
    _set(condition, "request_ip", addresses)
    return condition


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError as error:
        raise TokenError(f"{text!r} is no source address: write 192.0.2.7 or 192.0.2.0/24 ({error}).") from None


# --- showing and comparing -----------------------------------------------------------------------------------------


def shown(token: Token) -> dict[str, Any]:
    """Return a token in one spelling, for comparing and showing. Never holds its value."""
    if not token:
        return {}
    moment = parse_date(token.get("expires_on"))
    addresses = (token.get("condition") or {}).get("request_ip") or {}
    return {
        "name": str(token.get("name", "")).removeprefix(NAMESPACE),
        "status": token.get("status") or ACTIVE,
        "policies": [_shown_policy(policy) for policy in token.get("policies") or []],
        "expires_on": format_date(moment) if moment else None,
        "allowed_addresses": sorted(addresses.get("in") or []),
        "denied_addresses": sorted(addresses.get("not_in") or []),
    }


def _shown_policy(policy: dict[str, Any]) -> dict[str, Any]:
    return {
        "effect": policy.get("effect", "allow"),
        "resources": policy.get("resources"),
        "permission_groups": sorted(_group_name(group) for group in policy.get("permission_groups") or []),
    }


def _group_name(group: dict[str, Any]) -> str:
    published = {group_id: name for name, group_id in PERMISSION_GROUPS.values()}
    return str(group.get("name") or published.get(group.get("id", ""), group.get("id")))
