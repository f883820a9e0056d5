# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cases of the fault matrix: the requests of a maintenance run, and what happens to each of them.

The whole gives each fault to every call of the lock document, to every other request that writes or deletes, and to the
first of every kind of pure read. Every other read gets one of them, in turn. A sample has every request, and each fault
for one of those that are alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tests.support.sampling import covering

FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "429": {"status": 429, "retry_after": 2, "times": 2},
    "time-out": {"delay": 3.0},
    "cut before": {"cut": "before"},
    "cut after": {"cut": "after"},
}
# For backups that begin meanwhile.
HELD = "held"
# What waits for longer than it takes here: boto3 gives up after 30 seconds, restic after 5 minutes. So restic sees what
# something in between does that gives up earlier.
TIME_OUTS: dict[str, dict[str, Any]] = {"node": {"delay": 31.0}, "restic": {"delay": 3.0, "cut": "before"}}
# How often the module looks for restic's lock before it opens a window depends on how quick restic is.
POLL = "list-type=2&prefix=locks"
POLLS = 3
# Names of objects, the folders of packs, and the account.
HASH = r"\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b|(?<=/data/)[0-9a-f]{2}\b"
AGENTS = {"API": "holdfast", "node": "holdfast", "restic": r"^(?!.*holdfast)"}


def address(entry: dict[str, Any]) -> str:
    """The path of a request in the stand-in's log, with its query."""
    return entry["path"] + (f"?{entry['query']}" if entry["query"] else "")


@dataclass(frozen=True)
class Step:
    """One request of the run: one of those that look alike but for hashes, by its number among them."""

    who: str
    kind: str
    method: str
    address: str
    number: int

    def __str__(self) -> str:
        short = re.sub(
            r"fetch-owner=true&|&?encoding-type=url|list-type=2&?|^.*/accounts/\w+|/BUCKET", "", self.address
        )
        short = re.sub("%2F|[^A-Za-z0-9=]+", "-", short.replace("HASH", "x")).strip("-")
        return f"{self.who}-{self.method}-{short}-{self.number + 1}"

    @property
    def of_lock(self) -> bool:
        return self.address.endswith("/lock")

    def pattern(self, bucket: str) -> str:
        return "^" + re.escape(self.address).replace("HASH", "[0-9a-f]{2,64}").replace("BUCKET", bucket) + "$"

    @property
    def kind_of_read(self) -> tuple[str, ...]:
        """What asks for it, and how; not for what."""
        return self.who, self.kind, re.sub(r"prefix=[^&]+|/BUCKET/[^?]+", "", self.address)

    @property
    def pure(self) -> bool:
        """Whether it only reads, and not the lock document."""
        return self.method in ("GET", "HEAD") and not self.of_lock

    @property
    def alike(self) -> tuple[str, ...]:
        """What is the same for all requests of which each fault must hit one."""
        return self.kind_of_read if self.pure else (self.who, self.method, self.address)

    def fault(self, name: str, bucket: str) -> dict[str, Any]:
        """The fault for the stand-in."""
        what = (
            TIME_OUTS.get(self.who, FAULTS[name])
            if name == "time-out"
            else {HELD: True}
            if name == HELD
            else FAULTS[name]
        )
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
            and re.search(pattern, address(entry))
        ]
        return len(alike) > self.number

    def stalls(self, fault: str) -> bool:
        """Whether restic will try in vain for as long as it is let."""
        held = self.method == "PUT" and "/locks/" not in self.address
        return self.who == "restic" and held and fault == "cut after"


Row = tuple[Step, str]


def whole(found: list[Step]) -> list[Row]:
    """Those first that take long: the answer to a write of the lock document is waited for after all has ended."""
    names, kinds = list(FAULTS), set()
    chosen: list[Row] = []
    for position, step in enumerate(found):
        every = not step.pure or step.kind_of_read not in kinds
        kinds.add(step.kind_of_read)
        chosen += [(step, fault) for fault in (names if every else [names[position % len(names)]])]
    return sorted(chosen, key=lambda case: (not case[0].of_lock, case[0].method in ("GET", "HEAD")))


def sample(found: list[Step], seed: str) -> list[Row]:
    """Every request, and each fault for one of those that are alike."""
    rows, chosen = whole(found), set[Row]()
    for alike in sorted({step.alike for step in found}):
        mine = [row for row in rows if row[0].alike == alike]
        chosen.update(covering(mine, f"{seed} {alike}", together=1))
    return [row for row in rows if row in chosen]


def case_id(row: Row) -> str:
    return f"{row[0]}-{row[1].replace(' ', '-')}"
