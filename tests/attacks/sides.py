# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two sides on which each attack is tried, and what is judged of each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set

from tests.attacks.attack import POLICIES, Attack
from tests.attacks.host import LOCK_REMOVED, Host
from tests.attacks.scene import Copy, options


@dataclass
class Verdict:
    """What became of one side.

    Args:
        lost: The snapshots that should have been kept and do not come back.
        of: How many should have been kept.
        ended: How maintenance ended, shortly.
        codes: The codes of all findings.
        refused: What the service refused to the host, and how often.
        problem: What must not be, besides a loss.
    """

    lost: list[str]
    of: int
    ended: str
    codes: list[str] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    problem: str = ""


def with_attack(attack: Attack, host: Host, work: Callable[[], Any]) -> Any:
    """Do the work while the attack goes on."""
    ended = threading.Event()
    thread = threading.Thread(target=attack.meanwhile, args=(host, ended))
    thread.start()
    try:
        return work()
    finally:
        ended.set()
        thread.join(timeout=120)


def plain(attack: Attack, copy: Copy, host: Host, before: dict[str, Any]) -> Verdict:
    """restic with the manual recipe: disable all rules, forget and prune, enable them."""
    bed, policy = copy.bed, POLICIES[attack.policy]

    def recipe() -> Any:
        off = [{**rule, "enabled": False} for rule in lock_set("")]
        bed.cloudflare.replace_lock_rules(bed.bucket, off)
        done = bed.restic.run(["forget", *options(policy), "--prune"], timeout=300)
        bed.lock()
        return done

    done = with_attack(attack, host, recipe)
    kept = copy.template.kept[attack.policy]
    return Verdict(lost(copy, kept, before, host), len(kept), "done" if done.exit_code == 0 else "stuck")


def lost(copy: Copy, kept: list[str], before: dict[str, Any], host: Host) -> list[str]:
    """What does not come back, even for somebody who knows exactly what the attacker added and takes it away."""
    after = copy.objects()
    if all(after.get(key) == value for key, value in before.items()):
        return []
    bad = copy.unrestorable(kept)
    added = host.added & set(after)
    if bad and added:
        copy.bed.unlock()
        for key in sorted(added):
            copy.bed.s3.delete(key)
        copy.bed.lock()
        bad = copy.unrestorable(bad)
    return bad


def ours(attack: Attack, copy: Copy, host: Host, before: dict[str, Any]) -> Verdict:
    """The maintenance of this collection."""
    arguments = {"record_dir": str(copy.bed.record_dir), "lock_wait": 1, **POLICIES[attack.policy]}
    result = with_attack(attack, host, lambda: copy.bed.module("restic_prune", **arguments))
    after = copy.objects()
    changed = {key for key, value in before.items() if after.get(key) != value}
    kept = copy.template.kept[attack.policy]
    bad = copy.unrestorable(kept) if changed else []
    verdict = Verdict(bad, len(kept), "refused" if "failed" in result else "done")
    verdict.codes = sorted({finding["code"] for finding in result.get("findings", ())})
    verdict.refused = dict(host.refused)
    worked = sorted(set(host.done) - {LOCK_REMOVED})
    verdict.problem = f"not refused: {', '.join(worked)}" if worked else problem(copy, result, changed, verdict)
    return verdict


def problem(copy: Copy, result: dict[str, Any], changed: set[str], verdict: Verdict) -> str:
    """What must not be, apart from lost snapshots."""
    bed = copy.bed
    if bed.stand_in.rules(bed.bucket) != lock_set(""):
        return "the lock set is not as it was"
    windows = [entry for entry in bed.stand_in.ledger()["exposures"] if entry["bucket"] == bed.bucket]
    if any(entry["to"] is None for entry in windows):
        return "a window is open"
    if verdict.ended == "done" and not changed:
        return "it says that it is done and has changed nothing"
    if verdict.ended == "refused" and not verdict.codes:
        return f"refused without a finding: {result['msg']}"
    return ""
