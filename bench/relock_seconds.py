# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long after a signal everything is locked again, when it hits maintenance while index/ and data/ are unlocked.

Each signal goes to the module alone, to its keeper alone, to ansible-playbook alone, to the process groups of
ansible-playbook and its workers together, in which the module is too, and to every process at once. Time runs from the
signal to the moment in which the stand-in protects the last prefix again. Where SIGKILL to every process took the keeper
along, nobody is left but the guard: there, time runs from its start, which comes at its next turn after the lease.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Any, Optional

from bench._scene import LATENCY, BenchRepository, scene
from tests.support.processes import Process, gone, groups, tree
from tests.support.waiting import wait_for

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
TARGETS = ("module", "keeper", "ansible", "groups", "everything")
SIZE = 100_000
# How long each delete in index/ takes: time enough to find the processes and to hit them.
SLOW = 3.0


def measure() -> dict[str, Any]:
    """Seconds by what was hit and by which signal; None where nobody told the module, which went on to its end."""
    figures: dict[str, Any] = {target: {} for target in TARGETS}
    with scene() as there:
        there.back_up(2, SIZE)
        for target in TARGETS:
            for number in SIGNALS:
                figures[target][number.name] = _case(there, target, number)
    return figures


def _case(there: BenchRepository, target: str, number: signal.Signals) -> Optional[float]:
    stand_in = there.bed.stand_in
    stand_in.settings(latency=0)
    # What a killed restic leaves would hold up the backup; nothing is running any more.
    for item in there.bed.s3.list("locks/"):
        there.bed.s3.delete(item.key)
    there.back_up(2, SIZE)
    stand_in.settings(latency=LATENCY)
    deletes = {"kind": "DeleteObjects", "path": f"^/{there.bed.bucket}"}
    stand_in.fault(**deletes, delay=SLOW, times=1000)
    since = stand_in.last_request()
    with there.start_maintenance() as process:
        stand_in.wait_for_request(timeout=120, since=since, arrived=True, **deletes)
        processes = tree(process.pid)
        assert not there.locked(), "the window closed too early"
        moment = time.time()
        _send(processes, target, number)
        stand_in.clear_faults()  # those deletes that came later need not be slow
        if (target, number) == ("everything", signal.SIGKILL):
            wait_for(lambda: all(gone(part.pid) for part in processes), "end of all processes")
            assert not there.locked(), "somebody closed the window before the guard"
            moment = time.time()
            # By force, because nobody waits for the end of the lease here.
            account = {name: there.bed.account[name] for name in ("account_id", "api_token", "api_url")}
            there.bed.ansible.module("r2_bucket_relock", buckets=[there.bed.bucket], force=True, **account)
        wait_for(there.locked, f"locked after {number.name} to {target}")
        process.communicate(timeout=120)
    wait_for(lambda: all(gone(part.pid) for part in processes), "end of all processes")
    relocked = max(entry["to"] for entry in there.exposures())
    destroyed = [entry for entry in stand_in.ledger()["destructive"] if entry["key"].startswith("data/")]
    went_on = any(entry["time"] > moment for entry in destroyed)
    return None if went_on else round(relocked - moment, 2)


def _send(processes: list[Process], target: str, number: signal.Signals) -> None:
    if target == "groups":
        for group in groups(processes):
            os.killpg(group, number)
        return
    hit = [part.pid for part in processes if target in ("everything", part.role)]
    assert target == "everything" or len(hit) == 1, f"one {target} was expected: {processes}"
    for pid in hit:
        with suppress(ProcessLookupError):  # one may end before its turn, because of the others
            os.kill(pid, number)
