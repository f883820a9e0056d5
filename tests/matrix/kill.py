# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signals to everybody at every step of maintenance: whatever dies, the locks come back.

Every step is taken with every target and every signal. Where only the module or its keeper is hit, the module runs without
ansible-playbook above it, in a fork that has loaded it already, as in the matrix of faults.

Where the keeper lives, what was open must be locked again without anybody's help; where it was killed too, after the
guard's next run. How soon that was is measured; `make proof` asserts that it was within a second.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

from tests.matrix.kill_cases import BY_NAME, ENDING, Row, Step
from tests.matrix.outcome import MISSED, Outcome
from tests.matrix.scene import LATENCY, Case
from tests.support.preloaded import Forked
from tests.support.processes import Process, describe, gone, groups, tree
from tests.support.waiting import DEADLINE, happens

Running = subprocess.Popen[str] | Forked

# Seconds: the promise, and what the rest of an undisturbed maintenance may take on a busy machine.
LIMIT = 1.0
REST = 4 * DEADLINE
# A request that is under way when the signal comes may open a window until then.
UNDER_WAY = 0.3
# What is ansible-core's own.
ANSIBLE = ("ansible", "worker")
ROLES = {"namespace": "everything", "runner": "ansible"}
# How a container dies, and how AWX runs, cancels and times out a job.
WRAPPERS = {
    "namespace": ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
    "runner": ("ansible-runner", "0"),
}
# After how many seconds a job times out: twice as many in each new try, as it may take longer to come to its step.
TIME_OUT = 45


def reach(case: Case, step: Step, process: Running, role: str) -> bool:
    """Wait until maintenance has come so far; False when it never does."""
    if step.wanted is None:
        return happens(lambda: any(part.role == "module" for part in tree(process.pid, role)))
    try:
        _await(case, step, process)
    except TimeoutError:
        return False
    return True


def _await(case: Case, step: Step, process: Running) -> int:
    wanted = step.wanted or {}
    wanted = {**wanted, "path": f"{case.bed.bucket}.*{wanted.get('path', '')}"}
    since = _await(case, step.after, process) if step.after else case.since
    for left in range(step.skip, -1, -1):
        since = _request(case, process, since=since, arrived=step.sent or left > 0, **wanted)
    return since


def _request(case: Case, process: Running, **wanted: Any) -> int:
    """The number of a request that is awaited for as long as there is somebody who could make it."""
    deadline = time.monotonic() + REST
    while True:
        over = gone(process.pid) or time.monotonic() >= deadline
        try:
            return int(case.bed.stand_in.wait_for_request(timeout=5, **wanted)["n"])
        except TimeoutError:
            if over:
                raise


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


def run(case: Case, row: Row, *, in_time: bool, attempt: int = 0) -> Outcome:
    """One case.

    Args:
        in_time: Whether a lock that comes back later than promised is a fault.
        attempt: How many tries there were before.
    """
    step, target, number = BY_NAME[row[0]], row[1], row[2]
    case.bed.stand_in.settings(latency=LATENCY)
    if target == "time-out":
        wanted = step.wanted or {}
        path = f"{case.bed.bucket}.*{wanted.get('path', '')}"
        case.bed.stand_in.fault(**{**wanted, "path": path}, skip=step.skip, delay=60.0, times=50)
    alone = target in ("module", "keeper")
    wrapper = ("ansible-runner", str(TIME_OUT << attempt)) if target == "time-out" else WRAPPERS.get(target, ())
    process: Running = case.start_module() if alone else case.start(*wrapper)
    role = "module" if alone else "ansible"
    try:
        if not reach(case, step, process, role):
            return Outcome(MISSED) if target == "time-out" else Outcome("", None, "this step never came")
        processes = tree(process.pid, role)
        if gone(process.pid):
            return Outcome(MISSED) if target == "time-out" else _missed(step, "its end came before this step")
        moment = time.time()
        if target == "time-out":
            happens(lambda: gone(process.pid), 2 * DEADLINE + (TIME_OUT << attempt))
            case.bed.stand_in.clear_faults()
            moment = time.time()
        elif not hit(processes, ROLES.get(target, target), number):
            hit(processes, "everything", signal.SIGKILL)
            return _missed(step, f"there was no {target} at this step")
        ours = [part for part in processes if part.role not in ANSIBLE]
        happens(lambda: all(gone(part.pid) for part in ours), REST)
        left = [describe(part) for part in ours if not gone(part.pid)]
        happens(lambda: gone(process.pid))
    finally:
        end(process)
        if alone:
            print("the module said:", case.told()[-2000:], case.wrong()[-2000:])
    return judge(case, target, number, moment, left, in_time)


def _missed(step: Step, problem: str) -> Outcome:
    return Outcome(MISSED) if step in ENDING else Outcome("", None, problem)


def end(process: Running) -> None:
    """End it, if it still runs.

    Once in some hundred cases of SIGINT, ansible-playbook stays behind when everything that it ran has gone. Nothing of
    the collection runs in it then, and everything is locked: it is told, with what it waits for, and no fault of ours.
    """
    if isinstance(process, subprocess.Popen) and not gone(process.pid):
        process.send_signal(signal.SIGABRT)  # faulthandler writes where each thread is
        print("ansible-playbook did not end:", process.communicate(timeout=DEADLINE)[0])
    process.send_signal(signal.SIGKILL)
    if isinstance(process, subprocess.Popen):
        print("ansible-playbook said:", (process.communicate(timeout=DEADLINE)[0] or "")[-2000:])
    else:
        process.wait(DEADLINE)


def judge(case: Case, target: str, number: signal.Signals, moment: float, left: list[str], in_time: bool) -> Outcome:
    """What became of the locks and of the repository."""
    role = ROLES.get(target, target)
    # When the module lives on, it may go on with its work, and the window is rightly open.
    lived_on = role == "ansible" or target == "time-out" or (target == "groups" and number != signal.SIGKILL)
    keeper_lived = number != signal.SIGKILL or role not in ("keeper", "everything")
    end, seconds = "locked", None
    if happens(case.locked, DEADLINE if keeper_lived else 1):
        # A later window is that of a module that went on with its work.
        open_then = [entry for entry in case.exposures() if entry["from"] <= moment + UNDER_WAY]
        ends = [entry["to"] for entry in open_then if entry["to"] > moment]
        seconds = max([end - moment for end in ends], default=0.0)
    else:
        end = "guard" if case.guard() else "OPEN"
    problem = "" if end != "OPEN" else "the locks are not back"
    if left:
        problem = f"left running: {', '.join(left)}"
    elif keeper_lived and end == "guard":
        problem = "the keeper lived and left it to the guard"
    elif in_time and keeper_lived and not lived_on and (seconds or 0.0) > LIMIT:
        load = os.getloadavg()[0]
        problem = f"the keeper lived, and {seconds:.2f} s is more than {LIMIT:.0f} s, with a load of {load:.1f}"
    elif not keeper_lived and seconds:
        end = "another one"  # the module noticed, and its second keeper closed
    if not problem and role != "everything" and target != "time-out" and case.restic_locks():
        problem = "restic left a lock that keeps backups out"
    problem = problem or case.lost()
    if seconds is not None and lived_on:
        end, seconds = "work went on", None
    return Outcome(end, seconds, problem)
