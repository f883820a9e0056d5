# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every request of a maintenance run fails once, in every way that a network knows: the locks come back all the same.

`python -m tests.matrix.fault` gives every call of the lock document each fault, and every other request one of them, in
turn; with --all, every request gets each.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.matrix.kill import Outcome
from tests.matrix.scene import Case, Template, fail, in_shards, template, wait, write_result

FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "429": {"status": 429, "retry_after": 2, "times": 2},
    "time-out": {"delay": 3.0},
    "cut before": {"cut": "before"},
    "cut after": {"cut": "after"},
}


def prune(case: Case) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "keep_last": 1,
        "max_remove": "100%",
        "lock_wait": 0,
        "api_timeout": 2,
        "open_patience": 20,
    }
    return case.bed.module("restic_prune", **arguments)


def requests_of(there: Template) -> list[dict[str, Any]]:
    """What an undisturbed run asks for, in order."""
    case = there.copy(0)
    since = case.bed.stand_in.last_request()
    result = prune(case)
    assert result["packs_removed"] > 0 and len(result["windows"]) == 2, result
    return case.bed.stand_in.requests(since)


def cases(found: list[dict[str, Any]], everything: bool) -> Iterator[tuple[int, str]]:
    names = list(FAULTS)
    for position, request in enumerate(found):
        whole = everything or request["path"].endswith("/lock")
        for fault in names if whole else [names[position % len(names)]]:
            yield position, fault


def run(case: Case, position: int, request: dict[str, Any], fault: str) -> Outcome:
    stand_in = case.bed.stand_in
    stand_in.fault(skip=position, **FAULTS[fault])
    result = prune(case)
    stand_in.clear_faults()
    ended = time.time()
    said = "failed" if result.get("failed") else "succeeded"
    place = request["path"].split("?")[0].rpartition(case.bed.bucket[:3])[2][-40:]
    name = f"{position:3} {request['method']:6} {place:40} {fault:10} {said}"
    problem = "" if wait(case.locked, 1) else "the locks are not back"
    late = max([entry["to"] - ended for entry in case.exposures() if entry["to"]], default=0.0)
    if "Traceback" in str(result):
        problem = problem or "a traceback"
    return Outcome(name, "OPEN" if problem else "locked", max(late, 0.0), problem or case.lost())


def main(there: Template, everything: bool, shard: int, shards: int) -> list[Outcome]:
    found = requests_of(there)
    outcomes = []
    mine = itertools.islice(cases(found, everything), shard, None, shards)
    for number, (position, fault) in enumerate(mine, start=1):
        outcome = run(there.copy(number), position, found[position], fault)
        outcomes.append(outcome)
        print(f"{outcome.name:75} {outcome.end:8} {outcome.problem}", flush=True)
    return outcomes


def work(shard: int, shards: int) -> list[Outcome]:
    with template() as scene:
        return main(scene, "--all" in sys.argv, shard, shards)


if __name__ == "__main__":
    all_outcomes = in_shards(work)
    write_result(
        "fault-matrix",
        {
            "cases": len(all_outcomes),
            "relocked": sum(outcome.end != "OPEN" for outcome in all_outcomes),
            "lost": sum(bool(outcome.problem) for outcome in all_outcomes),
            "worst_seconds_keeper": round(max((o.seconds or 0.0 for o in all_outcomes), default=0.0), 2),
        },
    )
    fail([f"{outcome.name.strip()}: {outcome.problem}" for outcome in all_outcomes if outcome.problem])
