# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes, changes and deletes the API tokens of an account, by Cloudflare's API.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

from .._r2.api import Cloudflare, CloudflareError, Throttled, Unreachable
from .._r2.transport import wait_before_retry
from .desired import ACTIVE, DISABLED, PERMISSION_GROUPS, Token, TokenError, checked_id, request_of, shown

_CREATE_ATTEMPTS = 3
_STATUS_ATTEMPTS = 6
_PAGE = 50


def secret_of(value: str) -> str:
    """Return the secret access key that belongs to a token's value (https://developers.cloudflare.com/r2/api/tokens/)."""
    return hashlib.sha256(value.encode()).hexdigest()


def _with_status(token: Token, status: str) -> Token:
    names = ("name", "policies", "not_before", "expires_on", "condition")
    return {**{name: token[name] for name in names if token.get(name) is not None}, "status": status}


class Tokens:
    """Reads and writes the tokens that an account owns.

    `unanswered` tells whether a change of a status had no answer, so that it may take effect later.
    """

    def __init__(self, cloudflare: Cloudflare, sleep: Callable[[float], None] = time.sleep) -> None:
        self._cloudflare = cloudflare
        self._sleep = sleep
        self.unanswered = False
        self._path = f"/accounts/{cloudflare.account_id}/tokens"

    def all(self) -> list[Token]:
        """Return every token of the account, from all pages."""
        found: list[Token] = []
        page = 1
        while True:
            part = self._cloudflare.call("GET", self._path, query={"page": page, "per_page": _PAGE})
            if not isinstance(part, list) or not all(isinstance(token, dict) for token in part):
                raise CloudflareError("Cloudflare's API answered with something else than a list of tokens.")
            known = {token.get("id") for token in found}
            found += [token for token in part if token.get("id") not in known]
            if len(part) < _PAGE:
                return found
            page += 1

    def get(self, token_id: str) -> Token | None:
        """Return one token, or None when there is none of this id (any more)."""
        try:
            return self._token(self._cloudflare.call("GET", self._one(token_id)))
        except CloudflareError as error:
            if error.status == 404:
                return None
            raise

    def group_id(self) -> str | None:
        """Return the id of the permission group of hosts by its name; None when the API does not tell."""
        name = PERMISSION_GROUPS["read_write"][0]
        try:
            groups = self._cloudflare.call("GET", f"{self._path}/permission_groups", query={"name": name})
            return next((str(group["id"]) for group in groups if group["name"] == name), None)
        except Unreachable:
            raise
        except (CloudflareError, TypeError, KeyError):
            return None

    def create(self, token: Token) -> Token:
        """Make a token that is not there; the answer holds its value.

        When an answer is lost, what is listed decides: a token that was made all the same gets another value, and one
        that came later is removed, so that its owner is never in doubt.
        """
        tries = 0
        while True:
            tries += 1
            try:
                made = self._token(self._cloudflare.call("POST", self._path, request_of(token)))
                break
            except Unreachable as error:
                self._sleep(wait_before_retry(error, tries))
                found = self._named(token["name"])
                if found:
                    made = found[0]
                    break
                if tries == _CREATE_ATTEMPTS:
                    raise
        if tries > 1 or "value" not in made:
            for late in self._named(token["name"]):
                if late["id"] != made["id"]:
                    self.delete(checked_id(late))
        return made if isinstance(made.get("value"), str) else {**made, "value": self.roll(checked_id(made))}

    def update(self, token_id: str, token: Token) -> Token:
        """Replace everything but the value and the status, read it back and return it.

        It stays enabled or disabled as it is at this moment: a fence may have gone up since it was read, and would be opened
        by a status of before.

        Args:
            token_id: Which.
            token: What it should be.
        """
        tries = 0
        while True:
            tries += 1
            status = (self.get(token_id) or {}).get("status")
            if status in (ACTIVE, DISABLED):
                token = {**token, "status": status}
            try:
                self._cloudflare.call("PUT", self._one(token_id), request_of(token), retry_timeout=0.0)
                break
            except (Throttled, Unreachable) as error:
                wait = wait_before_retry(error, tries)
                if tries == _STATUS_ATTEMPTS or wait > self._cloudflare.retry_timeout:
                    raise
                self._sleep(wait)
        found = self.get(token_id)
        desired = shown({"status": (found or {}).get("status"), **token})
        if found is None or shown(found) != desired:
            raise CloudflareError(
                f"The API token {token.get('name')!r} is not as it was written: find out who else changes it, then run "
                "again."
            )
        return found

    def set_status(self, token_id: str, status: str, ready: Callable[[], object] = lambda: None) -> Token:
        """Enable or disable a token and leave all else as it is: read, change, write, read back, and again if need be.

        Returns the token as it was before. `ready` is called before every write, and raises where none may be made any more.
        """
        tries, before = 0, None
        while True:
            tries += 1
            found = self.get(token_id)
            if found is None:
                raise TokenError(f"The API token {token_id} is gone: run the site playbook.")
            before = before or found
            problem: CloudflareError
            ready()
            try:
                self._put_status(token_id, _with_status(found, status))
            except (Throttled, Unreachable) as error:
                wait, problem = wait_before_retry(error, tries), error
            else:
                wait, problem = (
                    0.5,
                    CloudflareError(
                        f"The API token {token_id} is not {status} although that was written: find out who else changes it, "
                        "then run again."
                    ),
                )
            if ((self.get(token_id) or {}).get("status") or ACTIVE) == status:
                return before
            if tries == _STATUS_ATTEMPTS or wait > self._cloudflare.retry_timeout:
                raise problem
            self._sleep(wait)

    def _put_status(self, token_id: str, token: Token) -> None:
        # Until there is an answer there is none, also where the wait for it is cut short by what ends a keeper.
        earlier, self.unanswered = self.unanswered, True
        try:
            # Sent once: whether one of several had no answer would not be known.
            self._cloudflare.call("PUT", self._one(token_id), request_of(token), retry_timeout=0.0)
        except Unreachable:
            raise
        except CloudflareError:
            self.unanswered = earlier
            raise
        self.unanswered = earlier

    def enable(self, token_id: str, ready: Callable[[], object] = lambda: None) -> bool:
        """Enable a token, also where it reads as enabled: that it was disabled may not be seen yet.

        One that is gone, or that ends by itself, needs nothing. Returns whether it was seen to be disabled.
        """
        token = self.get(token_id)
        if token is None or token.get("status") not in (ACTIVE, DISABLED):
            return False
        return self.set_status(token_id, ACTIVE, ready).get("status") == DISABLED

    def roll(self, token_id: str) -> str:
        """Give a token another value and return it; the old one ends at once."""
        value = self._cloudflare.call("PUT", f"{self._one(token_id)}/value", {})
        if not isinstance(value, str) or not value:
            raise CloudflareError("Cloudflare's API rolled a token, but did not tell its new value: roll it again.")
        return value

    def delete(self, token_id: str) -> None:
        """Remove a token; one that is gone already is no error (an earlier try may have done it)."""
        try:
            self._cloudflare.call("DELETE", self._one(token_id))
        except CloudflareError as error:
            if error.status != 404:
                raise

    def _named(self, name: str) -> list[Token]:
        return [token for token in self.all() if token.get("name") == name]

    def _one(self, token_id: str) -> str:
        return f"{self._path}/{checked_id({'id': token_id})}"

    @staticmethod
    def _token(result: Any) -> Token:
        if not isinstance(result, dict) or not isinstance(result.get("id"), str):
            raise CloudflareError("Cloudflare's API answered with something else than a token.")
        return result
