# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at each new snapshot of a repository once, against the last one of its job, for what looks like ransomware.

The order of snapshots is that in which the service stored them, which no host can choose. A snapshot that cannot be looked at
is told, and held like a signal: a host must not be able to hide something by making it too large.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import accumulate, groupby
from typing import Optional, Protocol

from .._common.dates import format_date, parse_date
from .._common.errors import HoldfastError
from .._common.untrusted import shown
from .._restic.retention import Snapshot
from .index_claims import PackWeight
from .new_packs import PackFile
from .signals import LOST, NOT_LOOKED_AT, Came, Limits, Signal, hits_by_summary, packed_by_summary
from .signals_look import Looked
from .signals_state import Anchor, Raised, State, about, together
from .tree_changes import ChangesError

# A host names jobs. Of more than these none is begun, and so many signals of one job are kept.
MOST_JOBS, MOST_RAISED = 200, 20
# Of so many histories is told that snapshots of them were not looked at; of the others together.
MOST_LATE = 20
# Into how many pairs of snapshots is looked at a time.
MOST_LOOKS = 60
# Packs of this many bytes may have come that no snapshot tells of: of backups that were cut.
_UNTOLD = 4 << 20
# So much of what was replaced may be dense for the next snapshot to be compared with this one.
_HARMLESS = 0.25


class Comparing(Protocol):
    """What compares two snapshots: signals_look.Look."""

    @property
    def over(self) -> bool:
        """Whether there is no time left for another comparison."""

    def compare(self, before: str, after: str, files: Optional[int] = None, came: Optional[Came] = None) -> Looked:
        """What changed from one snapshot to another.

        Args:
            before: The id of the first one.
            after: The id of the second one.
            files: How many files the first one has, where that is known.
            came: What the repository got in between, where that is known.
        """


@dataclass
class SignalsPass:
    """One pass. `state` is what is remembered afterwards.

    Args:
        look: Compares two snapshots.
        limits: From when on a change is a signal.
        uploaded: When each snapshot was stored, by id.
        job_of: The job of a snapshot.
        packs: The packs that are there.
        weights: When each of them was stored, and how much content it holds, where that is known of all.
        state: What was remembered before.
        name_of: The name of the job of a snapshot; empty where it is part of a history of no job.
    """

    look: Comparing
    limits: Limits
    uploaded: Mapping[str, datetime]
    job_of: Callable[[Snapshot], str]
    packs: Collection[PackFile]
    state: State
    name_of: Callable[[Snapshot], str] = field(default=lambda snapshot: "")
    weights: Collection[tuple[int, PackWeight]] = ()
    looks: int = 0
    weighed: bool = True
    _late: list[Raised] = field(default_factory=list)
    _stored: _Sums = field(init=False)
    _told: _Sums = field(init=False)
    _plain: _Sums = field(init=False)
    _dense: _Sums = field(init=False)

    def run(self, snapshots: Iterable[Snapshot]) -> State:
        """Look at what is new among all snapshots."""
        there = {str(snapshot["id"]): snapshot for snapshot in snapshots if snapshot["id"] in self.uploaded}
        self._stored = _Sums((pack.stored, pack.size) for pack in self.packs)
        self._told = _Sums((self.uploaded[name].timestamp(), packed_by_summary(one)) for name, one in there.items())
        self._plain = _Sums((stored, weight.plain) for stored, weight in self.weights)
        self._dense = _Sums((stored, weight.dense) for stored, weight in self.weights)
        accepted = {name for signal in self._accepted() for name in signal.snapshots}
        judged = self.state.judged & there.keys() | accepted & there.keys()
        kept = [signal for signal in self.state.raised if signal.accepted or signal.code != NOT_LOOKED_AT]
        self.state = replace(self.state, judged=judged, raised=_still_needed(kept, there))
        by_job = sorted(there.values(), key=lambda one: (self._job(one), *self._order(one)))
        for job, members in groupby(by_job, key=self._job):
            self._job_of(job, list(members), there)
        anchors = {job: anchor for job, anchor in self.state.anchors.items() if anchor.snapshot in there}
        self.state = replace(self.state, anchors=anchors, raised=(*self.state.raised, *together(self._late, MOST_LATE)))
        return self.state

    def _accepted(self) -> list[Raised]:
        """Accepted signals that were seen in snapshots."""
        return [signal for signal in self.state.raised if signal.accepted and signal.code != LOST]

    def _job(self, snapshot: Snapshot) -> str:
        return shown(self.job_of(snapshot), 100)

    def _order(self, snapshot: Snapshot) -> tuple[datetime, str]:
        return self.uploaded[snapshot["id"]], snapshot["id"]

    def _job_of(self, job: str, members: list[Snapshot], there: Mapping[str, Snapshot]) -> None:
        """Look at the new snapshots of one job, oldest first; what is left after a failure waits for the next pass."""
        new = [one for one in members if one["id"] not in self.state.judged]
        for number, snapshot in enumerate(new):
            try:
                self._judge(job, snapshot, members, there)
            except (HoldfastError, ChangesError) as error:
                reason = f"{len(new) - number} snapshots were not looked at: {str(error).rstrip('.')}."
                waiting = [one["id"] for one in new[number:]]
                stored_at = self.uploaded[snapshot["id"]]
                good = self._anchor(job, members, there)
                self._late.append(
                    about(NOT_LOOKED_AT, job, waiting, stored_at, good, shown(reason, 300), self.name_of(snapshot))
                )
                return

    def _judge(self, job: str, snapshot: Snapshot, members: list[Snapshot], there: Mapping[str, Snapshot]) -> None:
        anchor = self._anchor(job, members, there)
        if anchor is None:
            if len(self.state.anchors) >= MOST_JOBS:
                raise ChangesError(f"there are more than {MOST_JOBS} jobs")
            self._judged(job, snapshot, self._begun(snapshot))
            return
        quiet = self._quiet(anchor, snapshot, there)
        if quiet is not None:
            self._judged(job, snapshot, replace(anchor, last=snapshot["id"], hits=quiet))
            return
        if self.looks >= MOST_LOOKS or self.look.over:
            raise ChangesError("the time for it is over")
        self.looks += 1
        looked = self.look.compare(anchor.snapshot, snapshot["id"], anchor.files, self._came(anchor, snapshot))
        self.weighed = self.weighed and looked.weighed
        stored_at = self.uploaded[snapshot["id"]]
        seen, good = self._at_once(anchor, snapshot, there, looked.signals) if looked.signals else ([], anchor)
        name = self.name_of(snapshot)
        found = [about(one.code, job, [snapshot["id"]], stored_at, good, one.evidence, name) for one in seen]
        self._raise(job, found)
        undecided = not found and looked.gone and (looked.lost is None or looked.lost >= _HARMLESS)
        following = replace(self._begun(snapshot), files=looked.files)
        # A slow change is compared with the snapshot before it began.
        kept = replace(anchor, last=snapshot["id"], hits=0 if looked.lost is None else anchor.hits)
        kept = replace(kept, seen=format_date(stored_at), files=looked.before)
        self._judged(job, snapshot, kept if undecided else following)

    def _came(self, anchor: Anchor, snapshot: Snapshot) -> Optional[Came]:
        """What the repository got between both; None where that is not known."""
        start, end = parse_date(anchor.stored), self.uploaded[snapshot["id"]].timestamp()
        if start is None or not self.weights:
            return None
        times = int(start.timestamp()), end
        return Came(self._plain.between(*times), self._dense.between(*times))

    def _at_once(
        self, anchor: Anchor, snapshot: Snapshot, there: Mapping[str, Snapshot], seen: list[Signal]
    ) -> tuple[list[Signal], Anchor]:
        """What is seen against the last snapshot of the job, which then is the last good one; if nothing is, it came slowly."""
        if anchor.last in ("", anchor.snapshot) or anchor.last not in there:
            return seen, anchor
        with suppress(HoldfastError, ChangesError):
            sudden = self.look.compare(anchor.last, snapshot["id"]).signals
            return (sudden, self._begun(there[anchor.last])) if sudden else (seen, anchor)
        return seen, anchor

    def _begun(self, snapshot: Snapshot) -> Anchor:
        return Anchor(snapshot["id"], format_date(self.uploaded[snapshot["id"]]), last=snapshot["id"])

    def _judged(self, job: str, snapshot: Snapshot, anchor: Anchor) -> None:
        anchors, judged = {**self.state.anchors, job: anchor}, self.state.judged | {snapshot["id"]}
        self.state = replace(self.state, anchors=anchors, judged=judged)

    def _raise(self, job: str, found: list[Raised]) -> None:
        """Keep signals; of a job in which there are many, the first are what matters."""
        waiting = sum(signal.job == job for signal in self.state.open)
        self.state = replace(self.state, raised=(*self.state.raised, *found[: max(0, MOST_RAISED - waiting)]))

    def _anchor(self, job: str, members: list[Snapshot], there: Mapping[str, Snapshot]) -> Optional[Anchor]:
        """With what to compare: the anchor; where it is gone, the oldest of the job that came after it and was judged."""
        anchor = self.state.anchors.get(job)
        if anchor and anchor.snapshot in there:
            return anchor
        judged = [one for one in members if one["id"] in self.state.judged]
        later = [one for one in judged if anchor and format_date(self.uploaded[one["id"]]) >= anchor.stored]
        if later:
            return self._begun(later[0])
        return self._begun(judged[-1]) if judged else None

    # What need not be looked into ------------------------------------------------------------------------------------

    def _quiet(self, anchor: Anchor, snapshot: Snapshot, there: Mapping[str, Snapshot]) -> Optional[int]:
        """How many files have changed since the anchor, when that is not enough to look into it; else None."""
        last = there.get(anchor.last)
        said = hits_by_summary(last, snapshot) if last else None
        if last is None or said is None:
            return None
        hits, files = said
        if hits == 0 and last.get("tree") == snapshot.get("tree"):
            return anchor.hits
        total = anchor.hits + hits
        if total > self.limits.quiet * files or self._untold(last, snapshot) or self._much(anchor, snapshot):
            return None
        return total

    def _much(self, anchor: Anchor, snapshot: Snapshot) -> bool:
        """Whether so much came since the last look, by the service's own list, that what snapshots say of it does not count."""
        if self.looks >= MOST_LOOKS or self.look.over:
            # A later snapshot is looked into: the time of the last look stays.
            return False
        start, end = parse_date(anchor.seen or anchor.stored), self.uploaded[snapshot["id"]].timestamp()
        if start is None:
            return True
        before, came = self._stored.between(0, start.timestamp()), self._stored.between(start.timestamp(), end)
        return came > self.limits.share * before + _UNTOLD

    def _untold(self, last: Snapshot, snapshot: Snapshot) -> bool:
        """Whether more came, by the service's own list, than the snapshots of that time tell of."""
        start, end = self.uploaded[last["id"]], self.uploaded[snapshot["id"]]
        times = start.timestamp(), end.timestamp()
        return self._stored.between(*times) > self._told.between(*times) * 3 // 2 + _UNTOLD


class _Sums:
    """Numbers by their times, to be summed up for any span of time: a host may have stored a million of each kind."""

    def __init__(self, found: Iterable[tuple[float, int]]) -> None:
        ordered = sorted(found)
        self._times = [time for time, _number in ordered]
        self._sums = [0, *accumulate(number for _time, number in ordered)]

    def between(self, start: float, end: float) -> int:
        """The sum of those from the start to the end, both included."""
        return self._sums[bisect_right(self._times, end)] - self._sums[bisect_left(self._times, start)]


def _still_needed(raised: Iterable[Raised], there: Collection[str]) -> tuple[Raised, ...]:
    """Without what was accepted and is about snapshots that are gone."""
    return tuple(signal for signal in raised if not signal.accepted or any(name in there for name in signal.snapshots))
