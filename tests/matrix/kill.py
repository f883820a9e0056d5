# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signals to everybody at every step of maintenance: whatever dies, the locks come back.

Every step is taken with every target and every signal. Where only the module or its keeper is hit, the module runs without
ansible-playbook above it, in a fork that has loaded it already, as in the matrix of faults.

Where the keeper lives, what was open must be locked a second after the signal, or after the end of the work that was let
go on; where it was killed too, after the guard's next run.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.matrix.scene import LATENCY, Case, each, original
from tests.support.fork import Fork
from tests.support.processes import Process, gone, groups, tree
from tests.support.results import fail, write_result
from tests.support.waiting import happens

Running = subprocess.Popen[str] | Fork

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TARGETS = ("module", "keeper", "ansible", "groups", "everything")
PROCESSES = 9
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


@dataclass(frozen=True)
class Step:
    """A moment of maintenance, found in the stand-in's log.

    Args:
        wanted: Which request; None before the first one.
        skip: How many of them to let go by.
        sent: Whether to wait only until it came in, not for its answer.
        after: Another step that comes before.
    """

    name: str
    wanted: dict[str, Any] | None
    skip: int = 0
    sent: bool = False
    after: Step | None = None


_LOCK = {"method": "PUT", "path": "/lock$"}
_LOCKED = Step("lock index and data, answered", _LOCK, 3)
STEPS = (
    Step("before the first request", None),
    Step("first request", {}, sent=True),
    Step("gate", {"kind": "ListObjectsV2"}),
    Step("unlock snapshots, sent", _LOCK, sent=True),
    Step("unlock snapshots, answered", _LOCK),
    Step("forget", {"method": "DELETE", "path": "/snapshots/"}, sent=True),
    Step("forgotten", {"method": "DELETE", "path": "/snapshots/"}),
    Step("lock snapshots, sent", _LOCK, 1, sent=True),
    Step("lock snapshots, answered", _LOCK, 1),
    Step("repack", {"method": "PUT", "path": "/data/"}),
    Step("unlock index and data, sent", _LOCK, 2, sent=True),
    Step("unlock index and data, answered", _LOCK, 2),
    Step("delete index", {"method": "DELETE", "path": "/index/"}, sent=True),
    Step("delete packs", {"method": "DELETE", "path": "/data/"}, sent=True),
    Step("packs deleted", {"method": "DELETE", "path": "/data/"}),
    Step("lock index and data, sent", _LOCK, 3, sent=True),
    _LOCKED,
    # What the last restic check reads last.
    Step("after the last request", {"kind": "GetObject", "path": "/data/"}, after=_LOCKED),
)
LAST = STEPS[-1]


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


def reach(case: Case, step: Step, process: Running, role: str) -> bool:
    """Wait until maintenance has come so far; False when it never does."""
    if step.wanted is None:
        return happens(lambda: any(part.role == "module" for part in tree(process.pid, role)), 60)
    try:
        _await(case, step)
    except TimeoutError:
        return False
    return True


def _await(case: Case, step: Step) -> int:
    wanted = step.wanted or {}
    wanted = {**wanted, "path": f"{case.bed.bucket}.*{wanted.get('path', '')}"}
    since = _await(case, step.after) if step.after else case.since
    for left in range(step.skip, -1, -1):
        found = case.bed.stand_in.wait_for_request(timeout=60, since=since, arrived=step.sent or left > 0, **wanted)
        since = int(found["n"])
    return since


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


def run(case: Case, step: Step, target: str, number: signal.Signals) -> Outcome | None:
    """One case; None when the target was not there at this step."""
    name = f"{step.name:34} {target:11} {number.name}"
    if target == "time-out":
        wanted = step.wanted or {}
        path = f"{case.bed.bucket}.*{wanted.get('path', '')}"
        case.bed.stand_in.fault(**{**wanted, "path": path}, skip=step.skip, delay=60.0, times=50)
    alone = target in ("module", "keeper")
    process: Running = case.start_module() if alone else case.start(*WRAPPERS.get(target, ()))
    role = "module" if alone else "ansible"
    try:
        if not reach(case, step, process, role):
            return Outcome(name, "", None, "this step never came")
        processes = tree(process.pid, role)
        if gone(process.pid):
            return None if step == LAST else Outcome(name, "", None, "its end came before this step")
        moment = time.time()
        if target == "time-out":
            happens(lambda: gone(process.pid), 60)
            case.bed.stand_in.clear_faults()
            moment = time.time()
        elif not hit(processes, ROLES.get(target, target), number):
            hit(processes, "everything", signal.SIGKILL)
            return None
        # When the module lives on, it may go on with its work, and the window is rightly open.
        lived_on = target in ("ansible", "runner", "time-out") or (target == "groups" and number != signal.SIGKILL)
        happens(lambda: all(gone(part.pid) for part in processes), 300)
        left = [part for part in processes if not gone(part.pid)]
    finally:
        end(process)
    killed = number == signal.SIGKILL and ROLES.get(target, target) in ("keeper", "everything")
    if step.name.startswith("unlock snapshots"):
        # Interrupted before it hears that its lock was written, restic leaves it (internal/repository/lock_file.go, newLock).
        # It is stale as soon as the dead process is reaped, and goes when maintenance asks for that, as here.
        happens(case.without_stale_locks, 30)
    restic_hit = ROLES.get(target, target) in ("everything", "time-out")
    return judge(case, name, moment, left, lived_on=lived_on, keeper_lived=not killed, restic_hit=restic_hit)


def end(process: Running) -> None:
    process.kill()
    if isinstance(process, subprocess.Popen):
        process.communicate(timeout=300)


def judge(
    case: Case,
    name: str,
    moment: float,
    left: list[Process],
    *,
    lived_on: bool,
    keeper_lived: bool,
    restic_hit: bool,
) -> Outcome:
    """What became of the locks and of the repository."""
    end, seconds = "locked", None
    if happens(case.locked, 1):
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
    if not problem and not restic_hit and case.restic_locks():
        problem = "restic left a lock that keeps backups out"
    problem = problem or case.lost()
    if seconds is not None and lived_on:
        end, seconds = "work went on", None
    return Outcome(name, end, seconds, problem)


def cases() -> Iterator[tuple[Step, str, signal.Signals]]:
    """Those first that take long."""
    for step in STEPS:
        if step.sent:  # a job times out while it waits for an answer
            yield step, "time-out", signal.SIGKILL
    for step, number in zip(STEPS, itertools.cycle((signal.SIGINT, signal.SIGTERM))):
        yield step, "runner", number
    for step in STEPS:
        yield step, "namespace", signal.SIGKILL
    for step, number, target in itertools.product(STEPS, SIGNALS, TARGETS):
        yield step, target, number


def main() -> list[Outcome]:
    outcomes: list[Outcome] = []
    for outcome in each(run, cases(), original(), PROCESSES, latency=LATENCY):
        if outcome is not None:
            outcomes.append(outcome)
            seconds = "" if outcome.seconds is None else f"{outcome.seconds:.2f} s"
            print(f"{outcome.name}  {outcome.end:12} {seconds:8} {outcome.problem}", flush=True)
    if not any(outcome.name.startswith(LAST.name) for outcome in outcomes):
        outcomes.append(Outcome(LAST.name, "", None, "every run ended before it could be hit"))
    return outcomes


if __name__ == "__main__":
    summary("kill-matrix", main())
