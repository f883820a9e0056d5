# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cases of the kill matrix: moments of maintenance, whom a signal hits, and which signal."""

from __future__ import annotations

import itertools
import random
import re
import signal
from dataclasses import dataclass
from typing import Any

from tests.support.sampling import covering

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TARGETS = ("module", "keeper", "ansible", "groups", "everything")
# How all of a job ends at one blow. Such cases take longest: for a sample, they are of one kind.
JOBS = ("time-out", "runner", "namespace")


@dataclass(frozen=True)
class Step:
    """A moment of maintenance, found in the stand-in's log.

    Args:
        wanted: Which request; None before the first one.
        skip: How many of them to let go by.
        sent: Whether to wait only until it came in, not for its answer.
        after: Another step that comes before.
        keeper: Whether there is a keeper then, of a window or of restic's lock.
        window: Whether a window opens, is open or closes then.
    """

    name: str
    wanted: dict[str, Any] | None
    skip: int = 0
    sent: bool = False
    after: Step | None = None
    keeper: bool = True
    window: bool = True


_LOCK = {"method": "PUT", "path": "/lock$"}
_DELETE = {"kind": "DeleteObjects"}
_RESTICS = {"method": "PUT", "path": "/locks/"}
_LOCKED = Step("lock, answered", _LOCK, 1)
STEPS = (
    Step("before the first request", None, keeper=False, window=False),
    Step("first request", {}, sent=True, keeper=False, window=False),
    Step("audit", {"kind": "ListObjectsV2"}, keeper=False, window=False),
    # In the view, while all is locked. What the audit tries to write is refused.
    Step("restic reads", {"kind": "GetObject", "path": "/snapshots/"}, keeper=False, window=False),
    Step("repacked", {"method": "PUT", "path": "/data/", "status": 200}, keeper=False, window=False),
    Step("index written", {"method": "PUT", "path": "/index/", "status": 200}, keeper=False, window=False),
    # From here on, a process of its own removes restic's lock.
    Step("exclusive, sent", _RESTICS, sent=True, window=False),
    Step("exclusive, answered", _RESTICS, window=False),
    Step("unlock, sent", _LOCK, sent=True),
    Step("unlock, answered", _LOCK),
    Step("delete snapshots", _DELETE, sent=True),
    Step("snapshots deleted", _DELETE),
    Step("delete index", _DELETE, 1, sent=True),
    Step("delete packs", _DELETE, 2, sent=True),
    Step("packs deleted", _DELETE, 2),
    Step("lock, sent", _LOCK, 1, sent=True),
    _LOCKED,
    Step("looks once more", {"kind": "ListMultipartUploads"}, after=_LOCKED, window=False),
    Step("after the last request", {"method": "DELETE", "path": "/locks/"}, keeper=False, window=False),
)
# After these everything ends by itself, perhaps before a test on a busy machine has seen them.
ENDING = STEPS[-2:]
BY_NAME = {step.name: step for step in STEPS}
# The name of a step, the target, the signal.
Row = tuple[str, str, signal.Signals]


def whole() -> list[Row]:
    """Every case; those first that take long."""
    # A job times out while it waits for an answer.
    rows: list[Row] = [(step.name, "time-out", signal.SIGKILL) for step in STEPS if step.sent]
    alternating = itertools.cycle((signal.SIGINT, signal.SIGTERM))
    rows += [(step.name, "runner", number) for step, number in zip(STEPS, alternating)]
    rows += [(step.name, "namespace", signal.SIGKILL) for step in STEPS]
    return rows + [
        (step.name, target, number)
        for step, number, target in itertools.product(STEPS, SIGNALS, TARGETS)
        if step.keeper or target != "keeper"
    ]


def kind(row: Row) -> Row:
    """What a case is for a sample."""
    step, target, number = row
    return step, "job" if target in JOBS else target, number


def sample(seed: str) -> list[Row]:
    """Cases in which every step meets every target and every signal, and every target every signal in a window."""
    rows = whole()
    random.Random(seed).shuffle(rows)
    # Of each kind, the first one. Whom it hits in a window is a value of its own: only then is there anything to close.
    found = {(*kind(row), (kind(row)[1], BY_NAME[row[0]].window)): row for row in reversed(rows)}
    chosen = {found[one] for one in covering(list(found), seed)}
    return [row for row in whole() if row in chosen]


def case_id(row: Row) -> str:
    step, target, number = row
    return f"{re.sub('[^a-z]+', '-', step)}-{target}-{number.name}"
