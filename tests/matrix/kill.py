# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signals to everybody at every step of maintenance: whatever dies, the locks come back.

`python -m tests.matrix.kill` takes every step with every target and one signal each, in turn; with --all, every signal.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench._processes import Process, gone, groups, tree
from tests.matrix.scene import Case, Template, fail, in_shards, template, wait, write_result

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TARGETS = ("module", "keeper", "ansible", "groups", "everything")
# A request that is under way when the signal comes may open a window until then.
UNDER_WAY = 0.3
ROLES = {"namespace": "everything", "runner": "ansible"}
# How a container dies, and how AWX runs, cancels and times out a job.
WRAPPERS = {
    "namespace": ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
    "runner": ("ansible-runner", "0"),
    "time-out": ("ansible-runner", "25"),
}

# name, which request, how many of them to let go by, and whether to wait for its answer
STEPS: tuple[tuple[str, dict[str, Any], int, bool], ...] = (
    ("first request", {}, 0, False),
    ("gate", {"kind": "ListObjectsV2"}, 0, True),
    ("unlock snapshots, sent", {"method": "PUT", "path": "/lock$"}, 0, False),
    ("unlock snapshots, answered", {"method": "PUT", "path": "/lock$"}, 0, True),
    ("forget", {"method": "DELETE", "path": "/snapshots/"}, 0, False),
    ("forgotten", {"method": "DELETE", "path": "/snapshots/"}, 0, True),
    ("lock snapshots, sent", {"method": "PUT", "path": "/lock$"}, 1, False),
    ("lock snapshots, answered", {"method": "PUT", "path": "/lock$"}, 1, True),
    ("repack", {"method": "PUT", "path": "/data/"}, 0, True),
    ("unlock index and data, sent", {"method": "PUT", "path": "/lock$"}, 2, False),
    ("unlock index and data, answered", {"method": "PUT", "path": "/lock$"}, 2, True),
    ("delete index", {"method": "DELETE", "path": "/index/"}, 0, False),
    ("delete packs", {"method": "DELETE", "path": "/data/"}, 0, False),
    ("packs deleted", {"method": "DELETE", "path": "/data/"}, 0, True),
    ("lock index and data, sent", {"method": "PUT", "path": "/lock$"}, 3, False),
    ("lock index and data, answered", {"method": "PUT", "path": "/lock$"}, 3, True),
)


@dataclass
class Outcome:
    """How one case ended."""

    name: str
    end: str
    seconds: float | None
    problem: str = ""


def reach(case: Case, step: tuple[str, dict[str, Any], int, bool]) -> bool:
    """Wait until maintenance has come so far; False when it never does."""
    _name, wanted, skip, answered = step
    wanted = {**wanted, "path": f"{case.bed.bucket}.*{wanted.get('path', '')}"}
    since = case.since
    for left in range(skip, -1, -1):
        try:
            found = case.bed.stand_in.wait_for_request(
                timeout=60, since=since, arrived=not answered or left > 0, **wanted
            )
        except TimeoutError:
            return False
        since = found["n"]
    return True


def hit(processes: list[Process], target: str, number: signal.Signals) -> bool:
    """Send the signal; False when there is nobody to send it to."""
    if target == "groups":
        for group in groups(processes):
            os.killpg(group, number)
        return True
    chosen = [part.pid for part in processes if target in ("everything", part.role)]
    for pid in chosen:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
    return bool(chosen)


def run(case: Case, step: tuple[str, dict[str, Any], int, bool], target: str, number: signal.Signals) -> Outcome | None:
    """One case; None when the target was not there at this step."""
    name = f"{step[0]:34} {target:11} {number.name}"
    if target == "time-out":
        case.bed.stand_in.fault(**{**step[1], "path": f"{case.bed.bucket}{step[1]['path']}"}, delay=40.0)
    with case.start(*WRAPPERS.get(target, ())) as process:
        if not reach(case, step):
            process.kill()
            return Outcome(name, "", None, "this step never came")
        processes = tree(process.pid)
        moment = time.time()
        if target == "time-out":
            wait(lambda: gone(process.pid), 60)
            moment = time.time()
        elif not hit(processes, ROLES.get(target, target), number):
            process.communicate(timeout=300)
            return None
        # When the module lives on, it may go on with its work, and the window is rightly open.
        lived_on = target in ("ansible", "runner", "time-out") or (target == "groups" and number != signal.SIGKILL)
        wait(lambda: all(gone(part.pid) for part in processes), 120)
        left = [part for part in processes if not gone(part.pid)]
        process.kill()
        process.communicate(timeout=300)
    return judge(case, name, moment, left, lived_on=lived_on)


def judge(case: Case, name: str, moment: float, left: list[Process], *, lived_on: bool) -> Outcome:
    """What became of the locks and of the repository."""
    end, seconds = "locked", None
    if wait(case.locked, 1):
        # A later window is that of a module that went on with its work.
        open_then = [entry for entry in case.exposures() if entry["from"] <= moment + UNDER_WAY]
        ends = [entry["to"] for entry in open_then if entry["to"] > moment]
        seconds = max([end - moment for end in ends], default=0.0)
    else:
        end = "guard" if case.guard() else "OPEN"
    problem = "" if end != "OPEN" else "the locks are not back"
    if left:
        problem = problem or f"left running: {', '.join(part.role for part in left)}"
    problem = problem or case.lost()
    if seconds is not None and lived_on:
        end, seconds = "work went on", None
    return Outcome(name, end, seconds, problem)


def cases(everything: bool) -> Iterator[tuple[Any, str, signal.Signals]]:
    for (row, step), (column, target) in itertools.product(enumerate(STEPS), enumerate(TARGETS)):
        for number in SIGNALS if everything else (SIGNALS[(row + column) % len(SIGNALS)],):
            yield step, target, number
    for step in STEPS if everything else STEPS[1::3]:
        yield step, "namespace", signal.SIGKILL
    for step in (STEPS[4], STEPS[11]):
        for number in (signal.SIGINT, signal.SIGTERM):
            yield step, "runner", number
        yield step, "time-out", signal.SIGKILL


def main(there: Template, everything: bool, shard: int, shards: int) -> list[Outcome]:
    outcomes = []
    for number, (step, target, kind) in enumerate(itertools.islice(cases(everything), shard, None, shards)):
        outcome = run(there.copy(number), step, target, kind)
        if outcome is None:
            continue
        outcomes.append(outcome)
        seconds = "" if outcome.seconds is None else f"{outcome.seconds:.2f} s"
        print(f"{outcome.name}  {outcome.end:12} {seconds:8} {outcome.problem}", flush=True)
    return outcomes


def work(shard: int, shards: int) -> list[Outcome]:
    with template() as found:
        return main(found, "--all" in sys.argv, shard, shards)


if __name__ == "__main__":
    all_outcomes = in_shards(work)
    write_result(
        "kill-matrix",
        {
            "cases": len(all_outcomes),
            "relocked": sum(outcome.end != "OPEN" for outcome in all_outcomes),
            "lost": sum(bool(outcome.problem) for outcome in all_outcomes),
            "worst_seconds_keeper": round(max((o.seconds or 0.0 for o in all_outcomes), default=0.0), 2),
            "by_guard": sum(outcome.end == "guard" for outcome in all_outcomes),
        },
    )
    fail([f"{outcome.name.strip()}: {outcome.problem}" for outcome in all_outcomes if outcome.problem])
