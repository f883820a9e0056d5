# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which tokens a fence has to hold, and whether it can: it holds for all that reach the repository, or there is none.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from .._clients import Clients
from .._common.clock import awake
from .._common.errors import HoldfastError
from .._locks import fences
from .._locks.rules import Rule
from .._locks.store import cloudflare_client
from .._r2.api import Denied
from .._tokens.api import Tokens
from .._tokens.desired import ACTIVE, DISABLED, Token, bucket_resource, checked_id, is_ours, writes_to
from .._tokens.key_file import kept_pair
from .fence import FenceHolder, FenceSpec, refused
from .spec import spec_of

# The lease is extended while maintenance goes on; when the node dies, the hosts make no backups for as long.
_LEASE_SECONDS = 3600.0
_CAP_SECONDS = 86400.0
# Between two looks whether the fence of another process has come down.
_LOOK = 2.0
NEVER = "never"
_PERMISSION = "Account API Tokens Write"


@dataclass
class NoFence:
    """In place of a fence: nothing keeps the hosts out, for this reason."""

    reason: str
    behind: None = None

    def lost(self) -> None:
        """There is nothing that could be lost."""

    def __enter__(self) -> NoFence:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        pass


class Unfenced(HoldfastError):
    """The hosts cannot be kept out, so that nothing is unlocked."""


@dataclass(frozen=True)
class Reach:
    """Which tokens reach a repository, and may be disabled for its maintenance.

    Args:
        resource: The bucket, as policies name it.
        keys: The access key ids that hosts are known to use, which are ids of tokens.
        spared: Those of the node itself.
    """

    resource: str
    keys: frozenset[str]
    spared: frozenset[str]

    def of(self, tokens: Iterable[Token]) -> list[Token]:
        """Return all that could change an object of the bucket, and are not the node's own."""
        return [
            token
            for token in tokens
            if checked_id(token) not in self.spared and (token["id"] in self.keys or writes_to(token, self.resource))
        ]

    def foreign(self, tokens: Iterable[Token]) -> list[Token]:
        """Return those that still work and are not known to be a host's."""
        return [
            token
            for token in self.of(tokens)
            if token.get("status") == ACTIVE and not is_ours(token) and token["id"] not in self.keys
        ]


def fence_for(clients: Clients, warn: Callable[[str], object]) -> FenceHolder | NoFence:
    """Return the fence that a module's parameters ask for; inside its block nothing is open to any host.

    Args:
        clients: The clients of the repository.
        warn: Told why there is none although there could be.
    """
    params = clients.params
    if params["fence"] == NEVER:
        return NoFence("asked for by fence=never")
    keys = kept_pair(params["record_dir"], clients.bucket, clients.prefix) or clients.host_keys
    reach = _reach(clients, keys)
    maker = {**params, "api_token": params["fence_api_token"] or params["api_token"]}
    tokens = _told(clients, keys, reach, maker)
    desired = _await_others(clients, [token["id"] for token in reach.of(tokens)])
    tokens = Tokens(cloudflare_client(maker)).all()
    left = fences.fence_of(desired, clients.prefix)
    going = [
        token["id"]
        for token in reach.of(tokens)
        if token.get("status") == ACTIVE or (left and token.get("status") == DISABLED and token["id"] in left.tokens)
    ]
    if not reach.of(tokens):
        return NoFence("no token reaches the repository but the node's own")
    if not going:
        warn(f"No token that reaches {clients.bucket} works; they are left so, and there is no need for a fence.")
        return NoFence("no token of a host works")
    return FenceHolder(_spec(clients, keys if keys and keys[0] in going else None, reach, going, maker))


def _told(
    clients: Clients, keys: tuple[str, str, str | None] | None, reach: Reach, maker: dict[str, Any]
) -> list[Token]:
    """Every token of the account, of which it is known which are to be disabled; raises Unfenced where that cannot be told."""
    problem = _unknowable(clients, keys, reach)
    if problem:
        raise _unfenced(clients, f"{problem}.", "Give it keys of its own")
    try:
        tokens = Tokens(cloudflare_client(maker)).all()
    except Denied as error:
        raise _unfenced(
            clients,
            f"the API token may not list the account's tokens. {error}",
            f"Give fence_api_token (in the playbooks holdfast_token_maker, else holdfast_api_token) the permission "
            f"{_PERMISSION!r}",
        ) from error
    foreign = reach.foreign(tokens)
    if foreign:
        names = ", ".join(f"{token.get('name')!r} ({token['id']})" for token in foreign)
        raise _unfenced(
            clients,
            f"the owner of {names}, which reaches the bucket too, is not known.",
            "Remove or disable what should not be there",
        )
    if (
        keys
        and keys[0] not in {token["id"] for token in tokens}
        and not refused(clients.s3_with(keys)(), clients.prefix)
    ):
        raise _unfenced(
            clients,
            f"its keys {keys[0]} work, but belong to none of the account's tokens (a user's token, for example).",
            "Give it keys of an account token",
        )
    return tokens


def _reach(clients: Clients, keys: tuple[str, str, str | None] | None) -> Reach:
    params = clients.params
    resource = bucket_resource(clients.cloudflare.account_id, params["jurisdiction"], clients.bucket)
    return Reach(resource, frozenset({keys[0]} if keys else ()), frozenset({clients.keys[0]}))


def _unknowable(clients: Clients, keys: tuple[str, str, str | None] | None, reach: Reach) -> str | None:
    """Why the hosts' tokens cannot be known from the tokens of the account."""
    if keys and keys[2]:
        return "its host has temporary credentials, which cannot be disabled"
    if reach.keys & reach.spared:
        return "its host has the keys of the node itself"
    return None


def _unfenced(clients: Clients, problem: str, remedy: str) -> Unfenced:
    return Unfenced(
        f"The hosts of {clients.bucket} cannot be kept out while it is maintained, so that nothing was unlocked: {problem} "
        f"{remedy}, or set fence to never (in the playbooks holdfast_fence): then a host can delete anything in the seconds "
        "in which its repository is open."
    )


def _await_others(clients: Clients, tokens: list[str]) -> list[Rule]:
    """Wait until no live fence of another process holds these tokens or is on this repository; returns the lock document."""
    end = awake() + clients.params["lock_wait"]
    while True:
        rules = clients.cloudflare.lock_rules(clients.bucket)
        now = clients.cloudflare.server_time()
        other = fences.rival(rules, clients.prefix, tokens, "", now)
        if other is None or other.overdue(now) or awake() + _LOOK > end:
            return rules
        time.sleep(_LOOK)


def _spec(
    clients: Clients,
    keys: tuple[str, str, str | None] | None,
    reach: Reach,
    tokens: list[str],
    maker: dict[str, Any],
) -> FenceSpec:
    return FenceSpec(
        parts=(),
        **spec_of(clients),
        reason="fence",
        lease_seconds=_LEASE_SECONDS,
        cap_seconds=_CAP_SECONDS,
        tokens=tuple(tokens),
        makers=partial(cloudflare_client, maker),
        reaching=reach.of,
        host_s3=clients.s3_with(keys) if keys else None,
        spread_seconds=float(clients.params["fence_seconds"]),
    )


def fence_told(fence: object) -> dict[str, Any] | None:
    """The report of a fence, as the module returns it; None when it was never put up."""
    if isinstance(fence, NoFence):
        return {"tokens": [], "disabled": None, "enabled": None, "seconds": 0.0, "without": fence.reason}
    if not isinstance(fence, FenceHolder) or not fence.report.get("opened"):
        return None
    report = fence.report
    return {
        "tokens": list(fence.spec.tokens),
        "disabled": report["opened"],
        "enabled": report["closed"],
        "seconds": report["seconds"],
        "without": None,
    }
