# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard's work on fences: it enables the tokens behind a fence whose lease expired.

First the fence is made the guard's own, in the same write that closes windows. Only what is read back then counts: the
document is closed, and no other process is at work behind this fence. Then the tokens are enabled, and the rule goes.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol, cast

from .._common.dates import format_date
from .._common.errors import HoldfastError
from .._locks.fences import Fence, fences, take_down, take_over
from .._locks.rules import Rule
from .._locks.store import LockStore
from .._locks.windows import window_of
from .._r2.api import Cloudflare
from .._tokens.api import Tokens

# How long the guard may take to enable what it took over; after that the next one does it.
_LEASE = timedelta(minutes=5)


class Result(Protocol):
    """The result for one bucket."""

    written: bool
    fences: list[dict[str, Any]]
    problems: list[str]


def take_over_overdue(cloudflare: LockStore, rules: list[Rule], holder: str, force: bool, result: Result) -> list[Rule]:
    """Return the rules with all overdue fences, with force all fences, given to this holder.

    One behind which a window is open is left, because the window would be open to the hosts. Safe to call again, when
    another process wrote meanwhile.
    """
    now = cloudflare.server_time()
    taken = {fence["prefix"]: fence for fence in result.fences}
    for fence in fences(rules):
        if not (force or fence.overdue(now)) or fence.holder == holder or window_of(rules, fence.prefix) is not None:
            continue
        lease = format_date(fence.lease)
        taken[fence.prefix] = {"prefix": fence.prefix, "tokens": list(fence.tokens), "enabled": [], "lease": lease}
        rules = take_over(rules, fence, holder=holder, lease=now + _LEASE)
    result.fences = list(taken.values())
    return rules


def enable_behind(
    cloudflare: LockStore, rules: list[Rule], holder: str, result: Result, ready: Callable[[], None]
) -> list[Fence]:
    """Enable the tokens behind the fences that are this holder's in what was read back; returns those that are done.

    `ready` is called before each is enabled, and raises where these rules are too old for that. A fence of which a token
    cannot be enabled stays, and a person is told.
    """
    told = {fence["prefix"]: fence for fence in result.fences}
    mine = [fence for fence in fences(rules) if fence.holder == holder]
    # A fence that another process has taken over meanwhile is no longer ours.
    result.fences = [told[fence.prefix] for fence in mine]
    done = []
    for fence in mine:
        try:
            for token_id in fence.tokens:
                if Tokens(cast(Cloudflare, cloudflare)).enable(token_id, ready):
                    told[fence.prefix]["enabled"].append(token_id)
            done.append(fence)
        except HoldfastError as error:
            result.problems.append(_not_enabled(told[fence.prefix], error))
            result.fences.remove(told[fence.prefix])
    return done


def settled(rules: list[Rule], holder: str, done: list[Fence], now: datetime) -> list[Rule]:
    """The rules without these fences, and with the others of this holder left to the next guard."""
    for fence in fences(rules):
        if fence.holder != holder or window_of(rules, fence.prefix) is not None:
            continue
        if fence in done:
            rules = take_down(rules, fence.prefix, holder)
        elif not fence.overdue(now):
            rules = take_over(rules, fence, holder=holder, lease=now)
    return rules


def sentence_of(fence: dict[str, Any], written: bool) -> str:
    """One fence as a sentence."""
    where = f"{fence['prefix'] or 'the host'} (fence, lease {fence['lease']})"
    if not written:
        return f"would be enabled again: the tokens {', '.join(fence['tokens'])} of {where}."
    if not fence["enabled"]:
        return f"taken away: a fence that was left of {where}, no token was disabled."
    return f"enabled again: the tokens {', '.join(fence['enabled'])} of {where}."


def _not_enabled(fence: dict[str, Any], error: HoldfastError) -> str:
    return (
        f"The tokens {', '.join(fence['tokens'])} of {fence['prefix'] or 'the host'} were disabled for maintenance, which was "
        f"to be over by {fence['lease']}, and could not all be enabled again, so that there are no backups: {error} Run the "
        "relock playbook with a token that has the permission 'Account API Tokens Write', or enable them in the dashboard."
    )
