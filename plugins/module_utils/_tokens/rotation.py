# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes and rotates the API token of one host, and keeps its S3 key pair in a file beside the repository's record.

A pair can be learned only once, when the token is made. So a file says first that a token is about to be made. A run that
dies before the pair is in it leaves an unused token, which the next run gives another value.

A rotation has a token NAME and one NAME/next at the same time. The pair of the next one takes over when its file replaces
the other: that one step decides. The names follow, and the token of before, now NAME/former/…, gets an expiry.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from .._common.record import folder
from .._locks.rules import normalise_prefix
from .._r2.api import Cloudflare
from .api import Tokens
from .desired import DISABLED, Token, TokenError, Wish, checked_id, find, full_name, planned, seconds, shown
from .ensure import ensure, wish_of
from .key_file import FILE, NEXT_FILE, KeyFile, refuse_frozen

# So that the longest name that is made of it is still one.
_LONGEST = 80


class HostToken:
    """The token of a host.

    Args:
        cloudflare: A client whose token may make tokens.
        params: The module's parameters.
        write: False for check mode.
        hide: Told every value and secret that is learned.
    """

    def __init__(
        self, cloudflare: Cloudflare, params: Mapping[str, Any], *, write: bool, hide: Callable[[str], Any]
    ) -> None:
        self.cloudflare = cloudflare
        self.tokens = Tokens(cloudflare)
        self.params = params
        self.wish = wish_of(params, cloudflare.account_id)
        self.former_seconds: int = params["former_seconds"]
        self.write = write
        self.hide = hide
        path = folder(params["record_dir"], params["bucket"], normalise_prefix(params["prefix"] or ""))
        self.file, self.next_file = (KeyFile(os.path.join(path, name)) for name in (FILE, NEXT_FILE))
        self.before: list[dict[str, Any]] = []
        self.after: list[dict[str, Any]] = []
        full_name(self.wish.name)
        if len(self.wish.name) > _LONGEST:
            raise TokenError(f"{self.wish.name!r} is too long for the name of a host's token: use up to {_LONGEST}.")

    @property
    def changed(self) -> bool:
        return self.before != self.after

    def present(self) -> str | None:
        """Have a token whose pair is in the file; returns its access key id, None if it is not known yet."""
        self._refuse_frozen()
        pair = self.file.read()
        token = self.tokens.get(pair["access_key_id"]) if pair and "access_key_id" in pair else None
        if token is not None:
            if token.get("name") == full_name(self._next.name):
                return self._settle(token)  # a rotation was interrupted after the pair had taken over
            return self._updated(token)
        listed = self._listed()
        if pair is None and find(listed, self.wish.name):
            raise TokenError(
                f"There is an API token {full_name(self.wish.name)!r}, but its keys are not in {self.file.path}: they "
                "cannot be learned again. Restore the file from a copy, or run the rotate playbook for this host, which "
                "gives it a new token."
            )
        return self._make(self.wish, self.file, listed)

    def stage(self) -> str | None:
        """Have a next token beside the one in use; returns its access key id."""
        self._refuse_frozen()
        pair = self.file.read() or {}
        current = self.tokens.get(pair["access_key_id"]) if "access_key_id" in pair else None
        if current is not None and current.get("name") == full_name(self._next.name):
            return self._settle(current)  # the rotation before was interrupted; it is done with this
        self._refuse_disabled(current)
        self._remove_expired()
        found = self.next_file.read() or {}
        if "access_key_id" in found and self.tokens.get(found["access_key_id"]) is not None:
            return found["access_key_id"]
        return self._make(self._next, self.next_file, self.tokens.all())

    def promote(self) -> str | None:
        """Let the next token take over; returns its access key id. Without a next one, nothing is left to do."""
        self._refuse_frozen()
        found = self.next_file.read() or {}
        if "access_key_id" not in found:
            return self.present()
        token = self.tokens.get(found["access_key_id"])
        if token is None:
            raise TokenError(f"The token whose keys are in {self.next_file.path} is gone: run the rotation again.")
        pair = self.file.read() or {}
        self._refuse_disabled(token)
        self._refuse_disabled(self.tokens.get(pair["access_key_id"]) if "access_key_id" in pair else None)
        if self.write:
            os.replace(self.next_file.path, self.file.path)
        return self._settle(token)

    def unstage(self) -> None:
        """Take back the token of stage(): only for a caller that knows that the host does not use it yet."""
        pair = self.file.read() or {}
        token = find(self.tokens.all(), self._next.name)
        if token is not None and checked_id(token) != pair.get("access_key_id"):
            self._note(shown(token), {})
            if self.write:
                self.tokens.delete(checked_id(token))
        if self.next_file.read() is not None:
            self._note({"file": self.next_file.path}, {})
            if self.write:
                self.next_file.remove()

    def absent(self) -> None:
        """Remove every token of the host, and the files."""
        for token in self._family():
            self._note(shown(token), {})
            if self.write:
                self.tokens.delete(checked_id(token))
        for file in (self.next_file, self.file):
            if file.read() is not None:
                self._note({"file": file.path}, {})
                if self.write:
                    file.remove()

    # Pieces ----------------------------------------------------------------------------------------------------------

    @property
    def _next(self) -> Wish:
        return replace(self.wish, name=f"{self.wish.name}/next")

    def _family(self) -> list[Token]:
        """The tokens of this host, in any stage."""
        name = full_name(self.wish.name)
        starts = (f"{name}/former/",)
        return [
            token
            for token in self.tokens.all()
            if token.get("name") in (name, f"{name}/next") or str(token.get("name")).startswith(starts)
        ]

    def _note(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        self.before += [before] if before else []
        self.after += [after] if after else []

    def _refuse_frozen(self) -> None:
        refuse_frozen(self.params["record_dir"], self.params["bucket"], normalise_prefix(self.params["prefix"] or ""))

    def _refuse_disabled(self, token: Token | None) -> None:
        """Raise where a token of the host is behind a fence: writing it anew, or another beside it, might open that."""
        if token is not None and token.get("status") == DISABLED:
            raise TokenError(
                f"The API token {token.get('name')!r} is disabled, by a person or by a running maintenance: a rotation "
                "would let the host in again, so nothing was changed."
            )

    def _listed(self) -> list[Token]:
        """Every token, or none when an earlier look found none of this name."""
        known = self.params.get("known_tokens")
        return [] if known is not None and self.wish.name not in known else self.tokens.all()

    def _make(self, wish: Wish, file: KeyFile, listed: list[Token]) -> str | None:
        if self.write:
            file.write(name=full_name(wish.name), account_id=self.cloudflare.account_id)
        # A token that is there is of a run that died before it could keep the pair, which is lost.
        there = find(listed, wish.name) is not None
        done = ensure(self.tokens, wish, roll=there, write=self.write, hide=self.hide, listed=listed)
        self._note(shown(done.before), {**shown(done.after), "new_keys": True})
        if not self.write or done.secret is None:
            return None
        self.hide(done.secret)
        key_id = checked_id(done.after)
        file.write(
            name=full_name(wish.name),
            account_id=self.cloudflare.account_id,
            access_key_id=key_id,
            secret_access_key=done.secret,
        )
        return key_id

    def _updated(self, token: Token) -> str:
        if token.get("name") != full_name(self.wish.name):
            raise TokenError(
                f"The token whose keys are in {self.file.path} is called {token.get('name')!r} and not "
                f"{full_name(self.wish.name)!r}: it was renamed, so it is left alone; rename it back."
            )
        desired = {"status": token.get("status"), **planned(token, self.wish)}
        if shown(desired) != shown(token) and self.write:
            group_id = self.tokens.group_id()
            self.tokens.update(checked_id(token), planned(token, self.wish, group_id))
        self._note(shown(token), shown(desired))
        return checked_id(token)

    def _settle(self, token: Token) -> str:
        """Name the token in use by its name, after an older one that had it."""
        former = find((found for found in self.tokens.all() if found["id"] != token["id"]), self.wish.name)
        if former is not None:
            self._dismiss(former)
        desired = planned(token, self.wish)
        self._note(shown(token), shown({"status": token.get("status"), **desired}))
        if self.write:
            self.tokens.update(checked_id(token), desired)
        return checked_id(token)

    def _dismiss(self, former: Token) -> None:
        """Let a token end: at once, or when no backup that began with it can run any more."""
        key_id = checked_id(former)
        if self.former_seconds == 0:
            self._note(shown(former), {})
            if self.write:
                self.tokens.delete(key_id)
            return
        end = seconds(self.cloudflare.server_time() + timedelta(seconds=self.former_seconds))
        wish = replace(self.wish, name=f"{self.wish.name}/former/{key_id[:8]}", expires_on=end)
        desired = {**planned(former, wish), "policies": former["policies"]}
        self._note(shown(former), shown({"status": former.get("status"), **desired}))
        if self.write:
            self.tokens.update(key_id, desired)

    def _remove_expired(self) -> None:
        for token in self._family():
            if "/former/" in str(token.get("name")) and token.get("status") == "expired":
                self._note(shown(token), {})
                if self.write:
                    self.tokens.delete(checked_id(token))
