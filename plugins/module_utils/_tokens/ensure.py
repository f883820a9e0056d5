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
    ACTIVE,
    DISABLED,
    Token,
    TokenError,
    Wish,
    bucket_resource,
    checked_id,
    find,
    full_name,
    planned,
    shown,
)

_STATUS = {"enabled": ACTIVE, "disabled": DISABLED}


@dataclass(frozen=True)
class TokenResult:
    """A token before and after; {} when it was not or is not there. The secret is only known when it is new."""

    before: Token
    after: Token
    rolled: bool = False
    secret: str | None = field(default=None, repr=False)

    @property
    def changed(self) -> bool:
        return shown(self.before) != shown(self.after) or self.rolled

    @property
    def access_key_id(self) -> str | None:
        return self.after.get("id")


def wish_of(params: Mapping[str, Any], account_id: str) -> Wish:
    """Return what a module's parameters ask for."""
    return Wish(
        params["name"],
        bucket_resource(account_id, params["jurisdiction"], params["bucket"]) if params["bucket"] else "",
        params["permission"],
        params["expires_on"],
        params["allowed_addresses"],
        params["denied_addresses"],
    )


def ensure(
    tokens: Tokens,
    wish: Wish,
    state: str,
    *,
    roll: bool = False,
    write: bool,
    hide: Callable[[str], Any],
    listed: list[Token] | None = None,
) -> TokenResult:
    """Make the token present, enabled, disabled or absent.

    Args:
        tokens: The tokens of the account.
        wish: What the token should be; only its name counts for disabled and absent.
        state: present leaves a token that was disabled as it is.
        roll: Give it another value.
        write: False for check mode.
        hide: Told every value that is learned.
        listed: The tokens that there are, when they have just been listed.
    """
    full_name(wish.name)
    before = find(tokens.all() if listed is None else listed, wish.name)
    if state == "absent":
        if before and write:
            tokens.delete(checked_id(before))
        return TokenResult(before or {}, {})
    if state == "disabled":
        return _disabled(tokens, wish, before, write)
    desired = planned(before, wish, status=_STATUS.get(state))
    changes = before is None or shown(before) != shown({"status": before.get("status"), **desired})
    if changes and write:
        desired = planned(before, wish, tokens.group_id(wish.permission), _STATUS.get(state))
    if before is None:
        return _created(tokens, desired, write, hide)
    after = {**before, **desired, "id": before["id"]}
    if changes and write:
        after = tokens.update(checked_id(before), desired, as_it_is=state not in _STATUS)
    secret = None
    if roll and write:
        value = tokens.roll(checked_id(before))
        hide(value)
        secret = secret_of(value)
    return TokenResult(before, after, roll, secret)


def _created(tokens: Tokens, desired: Token, write: bool, hide: Callable[[str], Any]) -> TokenResult:
    if not write:
        return TokenResult({}, desired)
    made = tokens.create(desired)
    value = made.pop("value")
    hide(value)
    return TokenResult({}, made, secret=secret_of(value))


def _disabled(tokens: Tokens, wish: Wish, before: Token | None, write: bool) -> TokenResult:
    if before is None:
        raise TokenError(f"There is no API token {full_name(wish.name)!r} that could be disabled.")
    after = {**before, "status": DISABLED}
    if before.get("status") == ACTIVE and write:
        tokens.set_status(checked_id(before), DISABLED)
    return TokenResult(before, after if before.get("status") == ACTIVE else before)
