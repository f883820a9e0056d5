# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every request of a maintenance run fails once, in the ways that a network knows: the locks come back all the same.

The module runs in a fork that has loaded it already, which saves a second for each case, and its repository has a key
that opens at once, which saves restic another few. Nothing else is quicker here than it is anywhere else.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections import Counter
from typing import Any

from tests.matrix.fault_cases import HASH, POLL, POLLS, Row, Step, address
from tests.matrix.outcome import MISSED, Outcome
from tests.matrix.scene import Case
from tests.support.waiting import happens

API_TIMEOUT = 2
LONGEST = 300.0
# What restic has written and got no answer for, it writes again, which the lock refuses for the 15 minutes that restic
# then tries. So long nobody waits here: it is stopped as if it had taken too long.
STUBBORN = 90


def prune(case: Case, **more: Any) -> tuple[int, dict[str, Any], str]:
    """Run the module: its exit status, its result, and what it wrote besides."""
    process = case.start_module(api_timeout=API_TIMEOUT, open_timeout=20, **more)
    status = process.wait(LONGEST)
    process.send_signal(signal.SIGKILL)
    output = case.told()
    try:
        result = json.loads(output)
    except ValueError:
        result = {}
    return -9 if status is None else status, result, case.wrong() + ("" if result else output)


def record(case: Case) -> list[Step]:
    """What an undisturbed run asks for, in order."""
    since = case.bed.stand_in.last_request()
    status, result, errors = prune(case)
    assert status == 0 and result["packs_removed"] > 0 and len(result["windows"]) == 1, (status, result, errors)
    found, seen = [], Counter[Any]()
    for entry in case.bed.stand_in.requests(since):
        where = re.sub(HASH, "HASH", address(entry).replace(case.bed.bucket, "BUCKET"))
        who = "API" if entry["kind"] == "rest" else "node" if "holdfast" in entry["agent"] else "restic"
        alike = (who, entry["kind"], entry["method"], where)
        if POLL not in where or who != "node" or seen[alike] < POLLS:
            found.append(Step(*alike, seen[alike]))
        seen[alike] += 1
    return found


def run(case: Case, row: Row) -> Outcome:
    """One case."""
    step, fault = row
    stand_in, bed = case.bed.stand_in, case.bed
    before, since = set(bed.keys()), stand_in.last_request()
    stand_in.fault(**step.fault(fault, bed.bucket))
    status, result, errors = prune(case, **({"time_limit": STUBBORN} if step.stalls(fault) else {}))
    ended = time.time()
    stand_in.clear_faults()
    locked = happens(case.locked)
    late = max([entry["to"] - ended for entry in case.exposures() if entry["to"]], default=0.0)
    problems = [] if locked else ["the locks are not back"]
    came = step.is_in(stand_in.requests(since), bed.bucket)
    if "Traceback" in errors + str(result):
        problems.append("a traceback")
    problems += [problem for problem in (untrue(case, before, status, result), case.lost()) if problem]
    if not case.locked():
        problems.append("the locks were lifted again")
    end = "OPEN" if not locked else "locked" if came or problems else MISSED
    return Outcome(end, max(late, 0.0), "; ".join(problems))


def untrue(case: Case, before: set[str], status: int, result: dict[str, Any]) -> str:
    """What the module says that is not so; empty when all of it is."""
    gone = before - set(case.bed.keys())
    snapshots = {key.rpartition("/")[2] for key in gone if key.startswith("snapshots/")}
    packs = sum(key.startswith("data/") for key in gone)
    if not result or bool(status) != bool(result.get("failed")):
        return f"exit status {status}, and the result says {result}"
    if status and not result.get("msg"):
        return "it failed and does not say why"
    if {one["id"] for one in result.get("removed", [])} != snapshots:
        return f"it says {result.get('removed')} were removed, and {snapshots} were"
    if result.get("packs_removed", 0) != packs or result.get("changed", False) != bool(gone):
        return f"it says that {result.get('packs_removed')} packs are gone, {packs} are"
    if not status and (len(snapshots) != 2 or not packs):
        return "it succeeded and did not do its work"
    return ""
