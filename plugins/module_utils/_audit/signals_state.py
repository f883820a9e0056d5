# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers signals: which snapshots were looked at, what was seen in them, and what a person has accepted.

One file beside the baseline, on the maintenance node, where no backed-up host can write. A signal stays in it whatever becomes
of its snapshot, until a person accepts it.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Optional

from .._common.dates import format_date, parse_date
from .._common.errors import HoldfastError
from .._common.private_file import write_private
from .._common.record import RecordError, stored
from .checks import WARN, Finding
from .signals import LOST, NOT_LOOKED_AT

NAME = "signals"
VERSION = 1
# So many snapshots that one signal is about are named.
_MOST_NAMED = 1000


class SignalsError(HoldfastError):
    """The file is damaged, that of another repository, or has no such signal."""


@dataclass(frozen=True)
class Anchor:
    """With what the next snapshot of a job is compared.

    Args:
        snapshot: The id of the last snapshot into whose trees was looked.
        stored: When it was stored.
        files: How many files it has; None when they were not counted.
        last: The id of the last snapshot that was judged.
        hits: How many files have changed or vanished since the first of both, as the later ones say of themselves.
        seen: When the last snapshot was stored that was compared with it; empty before the first.
    """

    snapshot: str
    stored: str
    files: Optional[int] = None
    last: str = ""
    hits: int = 0
    seen: str = ""


@dataclass(frozen=True)
class Accepted:
    """Who accepted a signal, when, and why."""

    by: str
    at: str
    reason: str


@dataclass(frozen=True)
class Raised:
    """A signal in the history of a job.

    Args:
        code: A fixed name.
        job: The history, as it is told.
        snapshots: The ids of the snapshots that it is about; the first is the one in which it was seen.
        stored: When that one was stored.
        good: The id of the last snapshot before it; empty when there is none.
        good_stored: When that was stored.
        evidence: What was seen.
        accepted: The person who accepted it, if one did.
        name: The name of the job; empty where the history is that of no job.
    """

    code: str
    job: str
    snapshots: tuple[str, ...]
    stored: str
    good: str
    good_stored: str
    evidence: str
    accepted: Optional[Accepted] = None
    name: str = ""

    def finding(self, prefix: str = "") -> Finding:
        """The same for people; its object is named with the prefix of the repository, as in all findings."""
        before = f"The last snapshot before it is {self.good[:12]}, stored {self.good_stored}." if self.good else ""
        where = f"Snapshot {self.snapshots[0][:12]} of {self.job}, stored {self.stored}:" if self.code != LOST else ""
        if self.code == LOST:
            what = (
                f"Nothing that was stored before {self.stored} is removed until a person accepts this. Restore the file "
                "from a copy, or look at the snapshots yourself, and accept it with the step accept of recover."
            )
        elif self.code == NOT_LOOKED_AT:
            what = "Run it again; if it stays, look at the snapshots yourself, and accept it with the step accept of recover."
        else:
            what = (
                f"Nothing that was stored before {self.stored} is removed until a person accepts this. Look at the host; "
                "restore from the last snapshot before it, or accept it with the step accept of recover."
            )
        text = " ".join(part for part in (where, self.evidence, before) if part)
        return Finding(self.code, WARN, text, what, (f"{prefix}snapshots/{self.snapshots[0]}",))


@dataclass(frozen=True)
class State:
    """What is remembered of one repository.

    Args:
        repository_id: Of which.
        judged: The ids of the snapshots that were looked at.
        anchors: With what to compare next, by job.
        raised: The signals, those that were accepted among them.
    """

    repository_id: str
    judged: frozenset[str] = frozenset()
    anchors: dict[str, Anchor] = field(default_factory=dict)
    raised: tuple[Raised, ...] = ()

    @property
    def open(self) -> list[Raised]:
        """The signals that no person has accepted."""
        return [signal for signal in self.raised if not signal.accepted]

    @property
    def hold_before(self) -> Optional[datetime]:
        """Nothing that was stored before this may be removed; None when there is nothing to hold."""
        times = [time for time in (parse_date(signal.stored) for signal in self.open) if time]
        return max(times, default=None)


def load(folder: str, repository_id: str) -> Optional[State]:
    """What is remembered in the folder of a record, None when there is nothing.

    Raises:
        SignalsError: It cannot be understood, or is about another repository.
        RecordError: It cannot be read.
    """
    content = stored(folder, NAME)
    if content is None:
        return None
    path = os.path.join(folder, NAME)
    advice = "restore it from a copy. Maintenance removes nothing until then."
    try:
        data = json.loads(content)
        if data["version"] != VERSION:
            raise SignalsError(f"{path} has version {data['version']}, which this collection does not know.")
        found = _from_json(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SignalsError(f"{path} is damaged: {advice}") from error
    if found.repository_id != repository_id:
        raise SignalsError(f"{path} is that of another repository, {found.repository_id}: {advice}")
    return found


def save(folder: str, state: State) -> None:
    """Write it, whole or not at all."""
    path = os.path.join(folder, NAME)
    try:
        write_private(path, (json.dumps(_as_json(state), sort_keys=True) + "\n").encode())
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {error.strerror}.") from error


def accept(state: State, ids: Collection[str], by: Accepted, prefix: str) -> State:
    """Accept signals by the ids of their findings.

    Raises:
        SignalsError: There is no such signal.
    """
    known = {signal.finding(prefix).id for signal in state.raised}
    strange = sorted(set(ids) - known)
    if strange:
        raise SignalsError(
            f"There is no signal {strange[0]!r}; nothing was accepted. The step judge of recover shows those that are there."
        )
    raised = tuple(
        replace(signal, accepted=by) if signal.finding(prefix).id in ids and not signal.accepted else signal
        for signal in state.raised
    )
    return replace(state, raised=raised)


def about(
    code: str,
    job: str,
    snapshots: Iterable[str],
    stored_at: datetime,
    good: Optional[Anchor],
    text: str,
    name: str = "",
) -> Raised:
    """A signal in these snapshots of a job."""
    names = tuple(snapshots)[:_MOST_NAMED]
    before = (good.snapshot, good.stored) if good else ("", "")
    return Raised(code, job, names, format_date(stored_at), *before, text, name=name)


def together(raised: Sequence[Raised], most: int) -> tuple[Raised, ...]:
    """At most so many of what was not looked at: what is too many is told as one signal, which holds as much as they do."""
    if len(raised) <= most:
        return tuple(raised)
    kept, rest = raised[: most - 1], sorted(raised[most - 1 :], key=lambda signal: signal.stored, reverse=True)
    names = [name for signal in rest for name in signal.snapshots]
    text = f"{len(names)} snapshots of {len(rest)} histories were not looked at. Of this one: {rest[0].evidence}"
    return (*kept, replace(rest[0], snapshots=tuple(names[:_MOST_NAMED]), evidence=text))


def _as_json(state: State) -> dict[str, Any]:
    return {
        "version": VERSION,
        "repository_id": state.repository_id,
        "judged": sorted(state.judged),
        "anchors": {job: asdict(anchor) for job, anchor in state.anchors.items()},
        "raised": [asdict(signal) for signal in state.raised],
    }


def _from_json(data: dict[str, Any]) -> State:
    return State(
        repository_id=data["repository_id"],
        judged=frozenset(data["judged"]),
        anchors={job: Anchor(**anchor) for job, anchor in data["anchors"].items()},
        raised=tuple(map(_raised, data["raised"])),
    )


def _raised(data: dict[str, Any]) -> Raised:
    accepted = Accepted(**data["accepted"]) if data["accepted"] else None
    found = Raised(**{**data, "snapshots": tuple(data["snapshots"]), "accepted": accepted})
    if not found.snapshots or parse_date(found.stored) is None:
        raise ValueError("no snapshot, or no time")
    return found
