# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every request of a maintenance run fails once, in the ways that a network knows: the locks come back all the same.

`python -m tests.matrix.fault` gives each fault to every call of the lock document, to every other request that writes or
deletes, and to the first of every kind of pure read. Every other read gets one of them, in turn; with --all, each.

The module runs in a fork that has loaded it already, which saves a second for each case, and its repository has a key
that opens at once, which saves restic another few. Nothing else is quicker here than it is anywhere else.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.matrix.kill import Outcome, summary
from tests.matrix.scene import Case, each, original, template
from tests.support.waiting import happens

PROCESSES = 8
FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "429": {"status": 429, "retry_after": 2, "times": 2},
    "time-out": {"delay": 3.0},
    "cut before": {"cut": "before"},
    "cut after": {"cut": "after"},
}
API_TIMEOUT = 2
# What waits for longer than it takes here: boto3 gives up after 30 seconds, restic after 5 minutes. So restic sees what
# something in between does that gives up earlier.
TIME_OUTS: dict[str, dict[str, Any]] = {"node": {"delay": 31.0}, "restic": {"delay": 3.0, "cut": "before"}}
# How often the module looks for restic's lock before it opens a window depends on how quick restic is.
POLL = "list-type=2&prefix=locks"
POLLS = 3
# Names of objects, the folders of packs, and the account.
HASH = r"\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b|(?<=/data/)[0-9a-f]{2}\b"
AGENTS = {"API": "holdfast", "node": "holdfast", "restic": r"^(?!.*holdfast)"}
LONGEST = 300.0
# What restic has written and got no answer for, it writes again, which the lock refuses for the 15 minutes that restic
# then tries. So long nobody waits here: it is stopped as if it had taken too long.
STUBBORN = 20
# The names of new packs are random, and by them the order in which objects are listed: what has to be asked for once more
# differs from run to run. A case whose request did not come this time counts for nothing, and only so many may be so.
MISSED, MOST_MISSED = "missed", 0.05


@dataclass(frozen=True)
class Step:
    """One request of the run: one of those that look alike but for hashes, by its number among them."""

    who: str
    kind: str
    method: str
    address: str
    number: int

    def __str__(self) -> str:
        short = re.sub(r"fetch-owner=true&|&?encoding-type=url|list-type=2&?|^.*/accounts/\w+", "", self.address)
        return f"{self.who:6} {self.method:6} {short.replace('HASH', '*')[-58:]} #{self.number + 1}"

    @property
    def of_lock(self) -> bool:
        return self.address.endswith("/lock")

    def pattern(self, bucket: str) -> str:
        return "^" + re.escape(self.address).replace("HASH", "[0-9a-f]{2,64}").replace("BUCKET", bucket) + "$"

    @property
    def kind_of_read(self) -> tuple[str, ...]:
        """What asks for it, and how; not for what."""
        return self.who, self.kind, re.sub(r"prefix=[^&]+|/BUCKET/[^?]+", "", self.address)

    def fault(self, name: str, bucket: str) -> dict[str, Any]:
        """The fault for the stand-in."""
        what = TIME_OUTS.get(self.who, FAULTS[name]) if name == "time-out" else FAULTS[name]
        place = {"method": self.method, "path": self.pattern(bucket), "agent": AGENTS[self.who], "skip": self.number}
        return {**place, **what}

    def is_in(self, log: list[dict[str, Any]], bucket: str) -> bool:
        """Whether this request came, so that it could be hit."""
        pattern, agent = self.pattern(bucket), AGENTS[self.who]
        alike = [
            entry
            for entry in log
            if entry["method"] == self.method
            and re.search(agent, entry["agent"])
            and re.search(pattern, _address(entry))
        ]
        return len(alike) > self.number

    def stalls(self, fault: str) -> bool:
        """Whether restic will try in vain for as long as it is let."""
        held = self.method == "PUT" and "/locks/" not in self.address
        return self.who == "restic" and held and fault == "cut after"


def prune(case: Case, **more: Any) -> tuple[int, dict[str, Any], str]:
    """Run the module: its exit status, its result, and what it wrote besides."""
    process = case.start_module(api_timeout=API_TIMEOUT, open_patience=20, **more)
    happens(process.ended, LONGEST)
    process.kill()
    output = case.told()
    try:
        result = json.loads(output)
    except ValueError:
        result = {}
    return -9 if process.status is None else process.status, result, case.wrong() + ("" if result else output)


def steps(case: Case) -> list[Step]:
    """What an undisturbed run asks for, in order."""
    since = case.bed.stand_in.last_request()
    status, result, errors = prune(case)
    assert status == 0 and result["packs_removed"] > 0 and len(result["windows"]) == 2, (status, result, errors)
    found, seen = [], Counter[Any]()
    for entry in case.bed.stand_in.requests(since):
        address = re.sub(HASH, "HASH", _address(entry).replace(case.bed.bucket, "BUCKET"))
        who = "API" if entry["kind"] == "rest" else "node" if "holdfast" in entry["agent"] else "restic"
        alike = (who, entry["kind"], entry["method"], address)
        if POLL not in address or who != "node" or seen[alike] < POLLS:
            found.append(Step(*alike, seen[alike]))
        seen[alike] += 1
    return found


def cases(found: list[Step], everything: bool) -> list[tuple[Step, str]]:
    """Those first that take long: the answer to a write of the lock document is waited for after all has ended."""
    names, kinds = list(FAULTS), set()
    chosen = []
    for position, step in enumerate(found):
        reads = step.method in ("GET", "HEAD") and not step.of_lock
        whole = everything or not reads or step.kind_of_read not in kinds
        kinds.add(step.kind_of_read)
        chosen += [(step, fault) for fault in (names if whole else [names[position % len(names)]])]
    return sorted(chosen, key=lambda case: (not case[0].of_lock, case[0].method in ("GET", "HEAD")))


def run(case: Case, step: Step, fault: str) -> Outcome:
    stand_in, bed = case.bed.stand_in, case.bed
    before, since = set(bed.keys()), stand_in.last_request()
    stand_in.fault(**step.fault(fault, bed.bucket))
    status, result, errors = prune(case, **({"prune_timeout": STUBBORN} if step.stalls(fault) else {}))
    ended = time.time()
    stand_in.clear_faults()
    name = f"{step!s:78} {fault:10} {'failed' if status else 'succeeded'}"
    locked = happens(case.locked, 1)
    late = max([entry["to"] - ended for entry in case.exposures() if entry["to"]], default=0.0)
    problems = [] if locked else ["the locks are not back"]
    came = step.is_in(stand_in.requests(since), bed.bucket)
    if "Traceback" in errors + str(result):
        problems.append("a traceback")
    problems += [problem for problem in (untrue(case, before, status, result), case.lost()) if problem]
    if not case.locked():
        problems.append("the locks were lifted again")
    end = "OPEN" if not locked else "locked" if came or problems else MISSED
    return Outcome(name, end, max(late, 0.0), "; ".join(problems))


def _address(entry: dict[str, Any]) -> str:
    return entry["path"] + (f"?{entry['query']}" if entry["query"] else "")


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


def main(everything: bool) -> list[Outcome]:
    source = original()
    with template(source) as there:
        found = steps(there.copy(0))
    outcomes = []
    for outcome in each(run, cases(found, everything), source, PROCESSES):
        outcomes.append(outcome)
        print(f"{outcome.seconds:5.2f} {outcome.name:100} {outcome.end:7} {outcome.problem}", flush=True)
    counted = [outcome for outcome in outcomes if outcome.end != MISSED]
    if len(counted) < (1 - MOST_MISSED) * len(outcomes):
        counted.append(Outcome("all cases", MISSED, None, f"only {len(counted)} of {len(outcomes)} requests came"))
    return counted


if __name__ == "__main__":
    summary("fault-matrix", main("--all" in sys.argv))
