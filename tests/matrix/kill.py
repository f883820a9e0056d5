# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signals to everybody at every step of maintenance: whatever dies, the locks come back.

`python -m tests.matrix.kill` takes every step with every target and one signal each, in turn; with --all, every signal.

Where the keeper lives, what was open must be locked a second after the signal, or after the end of the work that was let
go on; where it was killed too, after the guard's next run.
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
from tests.matrix.scene import LATENCY, Case, each, fail, original, wait, write_result

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TARGETS = ("module", "keeper", "ansible", "groups", "everything")
PROCESSES = 5
# Seconds.
LIMIT = 1.0
# A request that is under way when the signal comes may open a window until then.
UNDER_WAY = 0.3
ROLES = {"namespace": "everything", "runner": "ansible"}
# How a container dies, and how AWX runs, cancels and times out a job.
WRAPPERS = {
    "namespace": ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
    "runner": ("ansible-runner", "0"),
    "time-out": ("ansible-runner", "45"),
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


def summary(name: str, outcomes: list[Outcome]) -> None:
    """Write the figures, and end with a true status."""
    figures = {
        "cases": len(outcomes),
        "relocked": sum(outcome.end != "OPEN" for outcome in outcomes),
        "lost": sum(bool(outcome.problem) for outcome in outcomes),
        "worst_seconds_keeper": round(
            max((one.seconds or 0.0 for one in outcomes if one.end == "locked"), default=0.0), 2
        ),
        "by_guard": sum(outcome.end == "guard" for outcome in outcomes),
    }
    write_result(name, figures)
    fail([f"{outcome.name.strip()}: {outcome.problem}" for outcome in outcomes if outcome.problem])


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
        case.bed.stand_in.fault(**{**step[1], "path": f"{case.bed.bucket}{step[1]['path']}"}, delay=60.0)
    with case.start(*WRAPPERS.get(target, ())) as process:
        if not reach(case, step):
            process.kill()
            return Outcome(name, "", None, "this step never came")
        processes = tree(process.pid)
        if gone(process.pid):
            return Outcome(name, "", None, "its end came before this step")
        moment = time.time()
        if target == "time-out":
            wait(lambda: gone(process.pid), 60)
            moment = time.time()
        elif not hit(processes, ROLES.get(target, target), number):
            hit(processes, "everything", signal.SIGKILL)
            process.communicate(timeout=300)
            return None
        # When the module lives on, it may go on with its work, and the window is rightly open.
        lived_on = target in ("ansible", "runner", "time-out") or (target == "groups" and number != signal.SIGKILL)
        wait(lambda: all(gone(part.pid) for part in processes), 300)
        left = [part for part in processes if not gone(part.pid)]
        process.kill()
        process.communicate(timeout=300)
    killed = number == signal.SIGKILL and ROLES.get(target, target) in ("keeper", "everything")
    return judge(case, name, moment, left, lived_on=lived_on, keeper_lived=not killed)


def judge(case: Case, name: str, moment: float, left: list[Process], *, lived_on: bool, keeper_lived: bool) -> Outcome:
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
        problem = f"left running: {', '.join(part.role for part in left)}"
    elif keeper_lived and end == "guard":
        problem = "the keeper lived and left it to the guard"
    elif keeper_lived and not lived_on and (seconds or 0.0) > LIMIT:
        problem = f"the keeper lived, and {seconds:.2f} s is more than {LIMIT:.0f} s"
    elif not keeper_lived and seconds:
        end = "another one"  # the module noticed, and its second keeper closed
    problem = problem or case.lost()
    if seconds is not None and lived_on:
        end, seconds = "work went on", None
    return Outcome(name, end, seconds, problem)


def cases(everything: bool) -> Iterator[tuple[Any, str, signal.Signals]]:
    """Those first that take long."""
    for step in (STEPS[4], STEPS[11]):
        yield step, "time-out", signal.SIGKILL
        for number in (signal.SIGINT, signal.SIGTERM):
            yield step, "runner", number
    for (row, step), (column, target) in itertools.product(enumerate(STEPS), enumerate(TARGETS)):
        for number in SIGNALS if everything else (SIGNALS[(row + column) % len(SIGNALS)],):
            yield step, target, number
    for step in STEPS if everything else STEPS[1::3]:
        yield step, "namespace", signal.SIGKILL


def main(everything: bool) -> list[Outcome]:
    outcomes = []
    for outcome in each(run, cases(everything), original(), PROCESSES, latency=LATENCY):
        if outcome is not None:
            outcomes.append(outcome)
            seconds = "" if outcome.seconds is None else f"{outcome.seconds:.2f} s"
            print(f"{outcome.name}  {outcome.end:12} {seconds:8} {outcome.problem}", flush=True)
    return outcomes


if __name__ == "__main__":
    summary("kill-matrix", main("--all" in sys.argv))
