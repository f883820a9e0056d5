# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings the lifecycle rules of a bucket to the desired ones, safely.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .._clients import Clients
from .._locks.rules import is_ours, lock_set
from .._r2 import lifecycle_rules as lifecycle


@dataclass
class Outcome:
    """The rules before and after, in the one spelling that is shown."""

    before: list[lifecycle.Rule]
    after: list[lifecycle.Rule]
    warnings: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return self.before != self.after


def ensure(
    clients: Clients,
    *,
    abort_multipart_days: int,
    rules: list[dict[str, Any]],
    purge: bool,
    repository: str | None,
    check_mode: bool,
) -> Outcome:
    desired = lifecycle.desired_rules(abort_multipart_days, rules)
    current = clients.s3.lifecycle_rules()
    after = lifecycle.plan(current, desired, purge=purge)
    outcome = Outcome(lifecycle.normalised(current), lifecycle.normalised(after))
    outcome.warnings += _refuse_danger(clients, after, lifecycle.deleting(desired), repository)
    if outcome.changed and not check_mode:
        found = lifecycle.normalised(clients.s3.replace_lifecycle_rules(after))
        if found != outcome.after:
            raise lifecycle.LifecycleError(
                f"The lifecycle rules of bucket {clients.bucket} are not as written; another writer may have changed "
                "them at the same time. Run this again."
            )
    return outcome


def _refuse_danger(
    clients: Clients, after: list[lifecycle.Rule], asked: list[lifecycle.Rule], repository: str | None
) -> list[str]:
    """Raise when a rule would delete locked objects, also a rule that was there before. Returns warnings."""
    deleting = lifecycle.deleting(after)
    if not deleting:
        return []
    token = clients.params.get("api_token")
    locked = [rule["prefix"] for rule in lock_set(repository)] if repository is not None else []
    if token:
        # Locks of other tools, and rules that delete their objects, are not ours to judge.
        locked += [rule.get("prefix", "") for rule in clients.cloudflare.lock_rules(clients.bucket) if is_ours(rule)]
    for rule, prefix in lifecycle.endangered(deleting, locked):
        raise lifecycle.LifecycleError(
            f"The lifecycle rule {rule.get('ID')!r} of bucket {clients.bucket} would delete objects below "
            f"{lifecycle.prefix_of(rule) or 'the whole bucket'!r}, where {prefix!r} is locked. Nothing was changed; "
            "narrow the rule or remove it (purge removes the rules that are not named)."
        )
    if token or repository is not None:
        return []
    if asked:
        raise lifecycle.LifecycleError(
            f"Whether the lifecycle rule {asked[0]['ID']!r} would delete locked objects of bucket {clients.bucket} "
            "is unknown: set api_token or repository."
        )
    return [
        (
            f"Bucket {clients.bucket} has the lifecycle rule {deleting[0].get('ID')!r}, which deletes objects; whether it "
            "reaches what is locked was not looked at, for neither api_token nor repository is set."
        )
    ]
