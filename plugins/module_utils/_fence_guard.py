# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guard does about fences: it enables the token of a host behind whose fence nobody is at work any more.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from typing import Any, Protocol

from ansible_collections.holdfast.restic_r2.plugins.module_utils._cloudflare import Cloudflare
from ansible_collections.holdfast.restic_r2.plugins.module_utils._dates import format_date
from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._fences import Fence, fences, take_down
from ansible_collections.holdfast.restic_r2.plugins.module_utils._leases import window_of
from ansible_collections.holdfast.restic_r2.plugins.module_utils._lock_rules import Rule
from ansible_collections.holdfast.restic_r2.plugins.module_utils._tokens import Tokens


class Result(Protocol):
    """What is told about one bucket."""

    written: bool
    fences: list[dict[str, Any]]
    problems: list[str]


def take_down_overdue(cloudflare: Cloudflare, rules: list[Rule], force: bool, result: Result) -> list[Rule]:
    """Enable the tokens behind overdue fences, with force behind all, and return the rules without these fences.

    A token that cannot be enabled keeps its fence, and a person is told. One behind which a window is open keeps it too,
    because the window would be open to the host. Safe to call again, when somebody else wrote meanwhile.
    """
    now = cloudflare.server_time()
    taken = {fence["prefix"]: fence for fence in result.fences}
    for fence in fences(rules):
        if not (force or fence.overdue(now)) or window_of(rules, fence.prefix) is not None:
            continue
        if result.written:
            try:
                Tokens(cloudflare).enable(fence.token_id)
            except HoldfastError as error:
                result.problems.append(_not_enabled(fence, error))
                continue
        lease = format_date(fence.lease)
        taken[fence.prefix] = {"prefix": fence.prefix, "token_id": fence.token_id, "lease": lease}
        rules = take_down(rules, fence.prefix)
    result.fences = list(taken.values())
    return rules


def told(fence: dict[str, Any], written: bool) -> str:
    """One fence as a sentence."""
    word = "enabled again" if written else "would be enabled again"
    return f"{word}: the token {fence['token_id']} of {fence['prefix'] or 'the host'} (fence, lease {fence['lease']})."


def _not_enabled(fence: Fence, error: HoldfastError) -> str:
    return (
        f"The host's token {fence.token_id} was disabled for maintenance, which has been over since "
        f"{format_date(fence.lease)}, and could not be enabled again, so that it makes no backups: {error} Run the relock "
        "playbook with a token that has the permission 'Account API Tokens Write', or enable it in the dashboard."
    )
