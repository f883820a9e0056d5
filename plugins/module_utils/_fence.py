# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fence: the token of a host is disabled while its repository is maintained, so that nothing is open to the host.

It is held as a window is, by a keeper in a process of its own, which takes it down whatever happens to its parent. First
the rule that tells of it is written, then the token is disabled, and the other way round at the end.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils import _fences as fences
from ansible_collections.holdfast.restic_r2.plugins.module_utils._clients import Clients
from ansible_collections.holdfast.restic_r2.plugins.module_utils._cloudflare import (
    CLOSING,
    Cloudflare,
    Denied,
    NotFound,
    Throttled,
    cloudflare_client,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._control import elapsed
from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._host_keys import kept_pair
from ansible_collections.holdfast.restic_r2.plugins.module_utils._keeper import Keeper
from ansible_collections.holdfast.restic_r2.plugins.module_utils._lock_rules import Rule
from ansible_collections.holdfast.restic_r2.plugins.module_utils._s3 import S3, S3Error, endpoint
from ansible_collections.holdfast.restic_r2.plugins.module_utils._token_plan import ACTIVE, DISABLED, Token, is_ours
from ansible_collections.holdfast.restic_r2.plugins.module_utils._tokens import Tokens
from ansible_collections.holdfast.restic_r2.plugins.module_utils._turn import InTurn
from ansible_collections.holdfast.restic_r2.plugins.module_utils._window import Window
from ansible_collections.holdfast.restic_r2.plugins.module_utils._window_spec import WindowSpec

# R2 says that changed keys may take up to a minute to be known everywhere.
# https://developers.cloudflare.com/r2/reference/consistency/
SPREAD_SECONDS = 60.0
_CLOSING_TURN = 30.0
# The lease is extended while maintenance goes on; when the node dies, the host makes no backups for as long.
_LEASE_SECONDS = 3600.0
_CAP_SECONDS = 86400.0


@dataclass(frozen=True)
class FenceSpec(WindowSpec):
    """Whose token is disabled. As a window it has no parts: nothing is unlocked by it.

    `makers` makes clients whose token may change tokens, and `host_s3` one with the host's own keys.
    """

    token_id: str = ""
    makers: Callable[..., Cloudflare] | None = field(default=None, repr=False)
    host_s3: Callable[..., S3] | None = field(default=None, repr=False)
    spread_seconds: float = SPREAD_SECONDS

    def opened(self, rules: list[Rule], holder: str, lease: datetime, now: datetime) -> list[Rule]:
        return fences.put_up(rules, self.prefix, token_id=self.token_id, holder=holder, lease=lease, now=now)

    def extended(self, rules: list[Rule], holder: str, lease: datetime) -> list[Rule]:
        return fences.extend(rules, self.prefix, holder=holder, lease=lease)


class FenceKeeper(Keeper):
    """Disables the token, and enables it in the end."""

    spec: FenceSpec
    # False only while it is certain that the token was not disabled by us.
    disabled = True

    def _open(self, cloudflare: Cloudflare) -> None:
        # A fence whose keeper died is taken over, with a token that was disabled for it.
        left = fences.fence_of(cloudflare.lock_rules(self.spec.bucket), self.spec.prefix)
        self.disabled = left is not None
        super()._open(cloudflare)
        self.turn.give_back()
        token = self._token()
        if token.get("status") == ACTIVE:
            host = self.spec.host_s3(timeout=5, attempts=2) if self.spec.host_s3 else None
            # Keys that do not work from here at all, for want of the right address, would prove nothing by a refusal.
            taken = host is not None and not _refused(host, self.spec.prefix)
            self._disable(token)
        elif self.disabled:
            taken = True
        else:
            raise HoldfastError(f"The token of {self.spec.repository} was disabled by somebody else meanwhile.")
        self._prove_disabled(taken)
        self.journal.line(f"the token {self.spec.token_id} of the host is disabled")

    def _disable(self, token: Token) -> None:
        before, self.disabled = self.disabled, True
        try:
            self._tokens().set_status(token, DISABLED)
        except (Denied, NotFound, Throttled):
            self.disabled = before
            raise

    def _prove_disabled(self, taken: bool) -> None:
        """Wait until R2 refuses the host's keys; where it did not take them before, for as long as that may take."""
        spec = self.spec
        if spec.host_s3 is None or not taken:
            self._pause(spec.spread_seconds)
            return
        host = spec.host_s3(timeout=5, attempts=2)
        deadline, pause = elapsed() + 2 * spec.spread_seconds, 0.2
        while not _refused(host, spec.prefix):
            if elapsed() >= deadline:
                raise HoldfastError(
                    f"The token of {spec.repository} is disabled, but R2 still takes its keys after "
                    f"{2 * spec.spread_seconds:.0f} seconds; nothing was unlocked, try later."
                )
            self._pause(pause)
            pause = min(pause * 2, 2.0)

    def _extend(self, cloudflare: Cloudflare) -> None:
        try:
            super()._extend(cloudflare)
        except fences.WindowOpen as error:
            self.journal.line(f"not extended now: {error}")

    def _enable(self, cloudflare: Cloudflare, patience: float) -> None:
        """Enable the token, once no window is open to it, and take the rule away."""
        spec = self.spec
        fences.check_no_window(cloudflare.lock_rules(spec.bucket), spec.prefix)
        if self.disabled:
            self._tokens().enable(spec.token_id)
        # Unlike a window, a fence may stay up for longer: its writes must not undo what others write.
        seconds, limited = min(patience, _CLOSING_TURN), self.control.limited
        with InTurn(spec.bucket, lambda: self.turn, seconds, insist=True, limited=limited) as mine:
            if spec.shared:
                mine.take()
            update = cloudflare.update_lock_rules(
                spec.bucket,
                lambda rules: fences.take_down(rules, spec.prefix, self.holder),
                patience=patience,
                ready=mine.ready,
            )
            mine.unanswered = update.unanswered
        self.report["closed_by_other"] = not (update.written or self.doubtful)

    def _give_up(self, problem: Exception) -> None:
        spec = self.spec
        self.report["in_force"] = False
        self.report["error"] = (
            f"The token {spec.token_id} of {spec.repository} could not be enabled again, and its host makes no backups "
            f"until it is: {problem} Run the relock playbook with a token that has the permission 'Account API Tokens "
            "Write', or enable it in Cloudflare's dashboard."
        )
        self.journal.line(self.report["error"], urgent=True)

    def _tokens(self) -> Tokens:
        make = self.spec.makers or self.spec.cloudflare
        client = make(sleep=self._pause, monotonic=elapsed, patience=self.spec.open_patience)
        client.priority = CLOSING if self.closing else client.priority
        return Tokens(client, self._pause)

    def _token(self) -> Token:
        token = self._tokens().get(self.spec.token_id)
        if token is None:
            raise HoldfastError(
                f"The token {self.spec.token_id} of {self.spec.repository} is gone: run the site playbook."
            )
        return token


class FenceHolder(Window):
    """One fence, as a context manager; inside its block the token is disabled."""

    keeper = FenceKeeper
    spec: FenceSpec


def _refused(s3: S3, prefix: str) -> bool:
    try:
        s3.first_key(prefix)
    except S3Error as error:
        return error.status in (401, 403)
    return False


def fence_for(clients: Clients, warn: Callable[[str], object]) -> AbstractContextManager[object]:
    """Return the fence that a module's parameters ask for; inside its block nothing is open to the host.

    Args:
        clients: The clients of the repository.
        warn: Told why there is none although there could be.
    """
    params = clients.params
    keys = None
    if params["fence"] != "never":
        keys = kept_pair(params["record_dir"], clients.bucket, clients.prefix)
    if keys is None:
        if params["fence"] == "always":
            raise HoldfastError(
                f"The token of the host of {clients.bucket} is not managed here, so that it cannot be disabled for the "
                "time of maintenance: run the site playbook with holdfast_manage_tokens, or set fence to auto."
            )
        return nullcontext()
    maker = {**params, "api_token": params["fence_api_token"] or params["api_token"]}
    token = Tokens(cloudflare_client(maker)).get(keys[0])
    left = fences.fence_of(clients.cloudflare.lock_rules(clients.bucket), clients.prefix)
    if token is None or (token.get("status") != ACTIVE and left is None):
        state = "gone" if token is None else token.get("status")
        warn(f"The token of the host of {clients.bucket} is {state}; it is left so, and there is no need for a fence.")
        return nullcontext()
    if not is_ours(token):
        # It could be disabled, but would be left so in the end: tokens of others are not enabled either.
        raise HoldfastError(
            f"The token of the host of {clients.bucket} is none that this collection made, so that it is not disabled for "
            "the time of maintenance, and nothing was unlocked: run the site playbook with holdfast_manage_tokens, or set "
            "fence to never."
        )
    return FenceHolder(_spec(clients, keys, maker))


def _spec(clients: Clients, keys: tuple[str, str, str | None], maker: dict[str, Any]) -> FenceSpec:
    """The fence for a host with these keys, whose token `maker` may change."""
    params = clients.params
    return FenceSpec(
        clients.bucket,
        clients.prefix,
        (),
        partial(cloudflare_client, dict(params)),
        partial(S3, endpoint(params), *clients.keys, bucket=clients.bucket),
        reason="fence",
        lease_seconds=_LEASE_SECONDS,
        cap_seconds=_CAP_SECONDS,
        close_patience=params["close_patience"],
        open_patience=params["open_patience"],
        log_path=params["log_path"],
        token_id=keys[0],
        makers=partial(cloudflare_client, maker),
        host_s3=partial(S3, endpoint(params), *keys, bucket=clients.bucket),
    )


def fence_told(fence: object) -> dict[str, Any] | None:
    """What became of a fence, as the module returns it; None when it was none, or was never put up."""
    if not isinstance(fence, FenceHolder) or not fence.report.get("opened"):
        return None
    report = fence.report
    return {
        "token_id": fence.spec.token_id,
        "disabled": report["opened"],
        "enabled": report["closed"],
        "seconds": report["seconds"],
    }
