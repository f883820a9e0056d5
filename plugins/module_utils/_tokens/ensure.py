# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Creates or updates an API token.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .api import Tokens, secret_of
from .desired import (
    Token,
    Wish,
    bucket_resource,
    checked_id,
    find,
    full_name,
    planned,
    shown,
)


@dataclass(frozen=True)
class TokenResult:
    """A token before and after; {} when it was not there. The secret is only known when it is new."""

    before: Token
    after: Token
    secret: str | None = field(default=None, repr=False)


def wish_of(params: Mapping[str, Any], account_id: str) -> Wish:
    """Return the desired token of a module's parameters."""
    return Wish(
        params["name"],
        bucket_resource(account_id, params["jurisdiction"], params["bucket"]),
        params["expires_on"],
        params["allowed_addresses"],
    )


def ensure(
    tokens: Tokens,
    wish: Wish,
    *,
    roll: bool = False,
    write: bool,
    hide: Callable[[str], Any],
    listed: list[Token] | None = None,
) -> TokenResult:
    """Have the token; one that is disabled stays so.

    Args:
        tokens: The tokens of the account.
        wish: What the token should be.
        roll: Give it another value.
        write: False for check mode.
        hide: Told every value that is learned.
        listed: The tokens that there are, when they have just been listed.
    """
    full_name(wish.name)
    before = find(tokens.all() if listed is None else listed, wish.name)
    desired = planned(before, wish)
    changes = before is None or shown(before) != shown({"status": before.get("status"), **desired})
    if changes and write:
        desired = planned(before, wish, tokens.group_id())
    if before is None:
        return _created(tokens, desired, write, hide)
    after = {**before, **desired, "id": before["id"]}
    if changes and write:
        after = tokens.update(checked_id(before), desired)
    secret = None
    if roll and write:
        value = tokens.roll(checked_id(before))
        hide(value)
        secret = secret_of(value)
    return TokenResult(before, after, secret)


def _created(tokens: Tokens, desired: Token, write: bool, hide: Callable[[str], Any]) -> TokenResult:
    if not write:
        return TokenResult({}, desired)
    made = tokens.create(desired)
    value = made.pop("value")
    hide(value)
    return TokenResult({}, made, secret_of(value))
