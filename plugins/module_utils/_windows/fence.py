# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fence: the tokens that reach a repository are disabled while it is maintained, so that nothing is open to its hosts.

It is held as a window is, by a keeper in a process of its own, which takes it down even if its parent dies. First
the rule that tells of it is written, then the tokens are disabled, and the other way round at the end.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, cast

from .._common.clock import awake, elapsed
from .._common.errors import HoldfastError
from .._locks import fences
from .._locks.mutex import MutexScope
from .._locks.rules import Rule
from .._locks.store import LockStore
from .._r2.api import CLOSING, Cloudflare
from .._r2.s3 import S3, S3Error
from .._tokens.api import Tokens
from .._tokens.desired import ACTIVE, DISABLED, Token
from .control import Control
from .keeper import Keeper
from .session import WindowError, WindowSession
from .spec import WindowSpec

# R2 says that changed keys may take up to a minute to be known everywhere.
# https://developers.cloudflare.com/r2/reference/consistency/
SPREAD_SECONDS = 60.0
# How long keys may go on being taken after that, where they can be tried from here.
_SLOW_SPREAD = 60.0
_MUTEX_TIMEOUT = 30.0
# What is read may be older than what was written less than so many seconds ago.
_SEEN = 2.0
# A change of a token without an answer may still take effect: look again after so many seconds.
_AFTERSHOCKS = (1.0, 5.0, 25.0)


@dataclass(frozen=True)
class FenceSpec(WindowSpec):
    """Which tokens are disabled. As a window it has no parts: nothing is unlocked by it.

    `makers` makes clients whose token may change tokens, `reaching` tells which of all tokens reach the repository, and
    `host_s3` makes a client with the host's own keys.
    """

    tokens: tuple[str, ...] = ()
    makers: Callable[..., Cloudflare] | None = field(default=None, repr=False)
    reaching: Callable[[list[Token]], list[Token]] | None = field(default=None, repr=False)
    host_s3: Callable[..., S3] | None = field(default=None, repr=False)
    spread_seconds: float = SPREAD_SECONDS

    def opened(self, rules: list[Rule], holder: str, lease: datetime, now: datetime) -> list[Rule]:
        return fences.put_up(rules, self.prefix, tokens=self.tokens, holder=holder, lease=lease, now=now)

    def extended(self, rules: list[Rule], holder: str, lease: datetime) -> list[Rule]:
        return fences.extend(rules, self.prefix, holder=holder, lease=lease)


class FenceKeeper(Keeper):
    """Disables the tokens, and enables them in the end."""

    spec: FenceSpec

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        # Those that were not certainly left as they were; None where a keeper that died may have disabled them all.
        self.disabled: list[str] | None = None
        self.unanswered = True

    # Putting it up ---------------------------------------------------------------------------------------------------

    def _open(self, cloudflare: LockStore) -> None:
        # A fence whose keeper died is taken over, with the tokens that were disabled for it.
        left = fences.fence_of(cloudflare.lock_rules(self.spec.bucket), self.spec.prefix)
        self.disabled, self.unanswered = list(left.tokens) if left else [], False
        super()._open(cloudflare)
        self.mutex.release()
        # A writer that read the document before may have written it since without our rule, and no token is disabled without.
        self._pause(min(_SEEN, self.spec.spread_seconds))
        fences.check_behind(cloudflare.lock_rules(self.spec.bucket), self.spec.prefix, self.holder, self._now())
        tokens = self._tokens()
        for token_id in self.spec.tokens:
            self._disable(tokens, token_id)
        # However soon one request is refused, others may be taken elsewhere for as long.
        self._pause(self.spec.spread_seconds)
        self._prove_refused()
        self._prove_disabled(tokens)
        fences.check_behind(cloudflare.lock_rules(self.spec.bucket), self.spec.prefix, self.holder, self._now())
        self.log.line(f"disabled: {', '.join(self.spec.tokens)}")

    def _disable(self, tokens: Tokens, token_id: str) -> None:
        found, ours = tokens.get(token_id), self.disabled or []
        status = (found or {}).get("status")
        if status == DISABLED and token_id not in ours:
            raise HoldfastError(
                f"The token {token_id} of {self.spec.repository} was disabled by another process meanwhile."
            )
        if found is None or status not in (ACTIVE, DISABLED):
            return  # it has ended
        self.disabled = list(dict.fromkeys([*ours, token_id]))
        try:
            tokens.set_status(token_id, DISABLED)
        finally:
            self.unanswered = self.unanswered or tokens.unanswered

    def _prove_refused(self) -> None:
        """Wait until R2 refuses the host's keys, where they are known here."""
        if self.spec.host_s3 is None:
            return
        host = self.spec.host_s3(timeout=5, attempts=2)
        deadline, pause = awake() + _SLOW_SPREAD, 0.2
        while not refused(host, self.spec.prefix):
            if awake() >= deadline:
                raise HoldfastError(
                    f"The token of {self.spec.repository} is disabled, but R2 still takes its keys after "
                    f"{self.spec.spread_seconds + _SLOW_SPREAD:.0f} seconds; nothing was unlocked, try later."
                )
            self._pause(pause)
            pause = min(pause * 2, 2.0)

    def _prove_disabled(self, tokens: Tokens) -> None:
        """No token that reaches the repository works: none was enabled again, and none was made meanwhile."""
        if self.spec.reaching is None:
            return
        for token in self.spec.reaching(tokens.all()):
            if token.get("status") not in (DISABLED, "expired"):
                raise HoldfastError(
                    f"The token {token.get('name')!r} ({token.get('id')}) reaches {self.spec.repository} and was made or "
                    "enabled by another process meanwhile; nothing was unlocked, run again."
                )

    def _extend(self, cloudflare: LockStore) -> None:
        try:
            super()._extend(cloudflare)
        except fences.WindowOpen as error:
            self.log.line(f"not extended now: {error}")

    # Taking it down --------------------------------------------------------------------------------------------------

    def _enable(self, cloudflare: LockStore, retry_timeout: float) -> None:
        """Enable the tokens, once no window is open to them, and take the rule away."""
        spec = self.spec
        self._pause(max(self.written_at + _SEEN - elapsed(), 0.0))
        rules = self._read(cloudflare)
        fences.check_no_window(rules, spec.prefix)
        there = fences.fence_of(rules, spec.prefix)
        # The process that took it over enables these tokens, and a document in which it is still ours is an older one.
        ours = there is None or there.holder == self.holder
        if ours:
            left = (there.tokens if there else spec.tokens) if self.disabled is None else self.disabled
            if cloudflare.lost_answers or self.basis_age > _SEEN:
                # Our rule may have come late and overwritten the fence for which these were disabled: no guard knows of it.
                left = list(dict.fromkeys([*left, *spec.tokens]))
            self._enable_tokens(cloudflare, [one for one in left if not _behind_another(rules, spec.prefix, one)])
        # Unlike a window, a fence may stay up for longer: its writes must not undo what others write.
        seconds, limited = min(retry_timeout, _MUTEX_TIMEOUT), self.control.limited
        with MutexScope(spec.bucket, lambda: self.mutex, seconds, insist=True, limited=limited) as mine:
            if spec.shared:
                mine.take()
            update = cloudflare.update_lock_rules(
                spec.bucket,
                lambda rules: fences.take_down(rules, spec.prefix, self.holder) if ours else rules,
                retry_timeout=retry_timeout,
                ready=mine.ready,
            )
            mine.unanswered = update.unanswered
        if not self.report["closed"]:
            self.report["closed_by_other"] = not self.doubtful and (there is None or not ours)

    def _enable_tokens(self, cloudflare: LockStore, desired: list[str]) -> None:
        tokens = self._tokens()
        for token_id in desired:
            tokens.enable(token_id, self._check_age)
        for seconds in _AFTERSHOCKS if self.unanswered or tokens.unanswered else ():
            self._pause(seconds)
            # Others may have put up a fence since, for which these are disabled.
            others = [fence for fence in fences.fences(self._read(cloudflare)) if fence.holder != self.holder]
            for token_id in desired:
                theirs = any(token_id in fence.tokens for fence in others)
                if not theirs and (tokens.get(token_id) or {}).get("status") == DISABLED:
                    tokens.enable(token_id, self._check_age)
        self.disabled, self.unanswered = [], False

    def _check_age(self) -> None:
        fences.check_age(elapsed() - self.read_at)

    def _give_up(self, problem: Exception) -> None:
        spec = self.spec
        self.report["in_force"] = False
        off = list(spec.tokens) if self.disabled is None else self.disabled
        left, also = f"The rule of the fence of {spec.repository} could not be taken away, which no backup minds", ""
        if off:
            left = (
                f"Tokens of {spec.repository} could not be enabled again ({', '.join(off)}), and their hosts make no backups "
                "until they are"
            )
            also = ", or enable them in Cloudflare's dashboard"
        self.report["error"] = (
            f"{left}: {problem} Run the relock playbook with a token that has the permission 'Account API Tokens "
            f"Write'{also}."
        )
        self.log.line(self.report["error"], urgent=True)

    def _tokens(self) -> Tokens:
        # Tokens are Cloudflare's: the store of another provider would have a fence of its own.
        make = self.spec.makers or cast("Callable[..., Cloudflare]", self.spec.cloudflare)
        client = make(sleep=self._pause, monotonic=elapsed, retry_timeout=self.spec.open_timeout)
        client.priority = CLOSING if self.closing else client.priority
        return Tokens(client, self._pause)


class FenceHolder(WindowSession):
    """One fence, as a context manager; inside its block, and after await_open(), the tokens are disabled."""

    keeper = FenceKeeper
    spec: FenceSpec

    def __enter__(self) -> FenceHolder:
        """Begin to put it up; it is up once await_open() has returned."""
        try:
            self._start(only_close=False)
        except BaseException:
            if self.running:
                self._finish()
            raise
        return self

    @property
    def behind(self) -> str:
        """The holder, which a window behind this fence has to name."""
        return self.holder

    def lost(self) -> str | None:
        """Why the fence is not to be relied upon any more, or None while it is. Never blocks."""
        return self.over()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.running:
            return  # it did not come up, which was told
        lost = self.over()
        try:
            super().__exit__(kind, error, traceback)
        except WindowError:
            # One that was taken down before anything was changed has left nothing that could be proved.
            if self.report.get("in_force") is not None or self.report.get("ended_by") != Control.CLOSE:
                raise
        if error is None and (lost or self.report.get("ended_by") != Control.CLOSE):
            raise WindowError(
                f"The fence of {self.spec.repository} ended before maintenance did: {lost or self.report.get('ended_by')}.",
                window=self.report,
            )


def _behind_another(rules: list[Rule], prefix: str, token_id: str) -> bool:
    return any(fence.prefix != prefix and token_id in fence.tokens for fence in fences.fences(rules))


def refused(s3: S3, prefix: str) -> bool:
    """Whether R2 certainly does not take these keys."""
    try:
        s3.first_key(prefix)
    except S3Error as error:
        return error.status in (401, 403)
    return False
