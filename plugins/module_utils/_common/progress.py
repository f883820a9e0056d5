# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a long run is: a small file beside the record, there as long as the run goes on. It is told, and decides nothing.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from typing import Any, Optional

from .dates import format_date, parse_date
from .errors import HoldfastError
from .private_file import open_private, write_at_once
from .process_identity import gone, identity, playbooks_above
from .record import folder as folder_of
from .untrusted import shown

_START, _END = "progress-", ".json"
# What a run is called that did not come to its end, once another of its kind has begun.
_UNENDED = "unended-"
# What a reader takes: more bytes are no file of ours, and more runs at a time are not told one by one.
LARGEST = 4096
MOST = 1000
_TEXT = 120
# Between two writes, in seconds. A new step is written at once.
_EVERY = 1.0
# A run that has not moved for so many seconds is a finding, unless it says that it may take longer; and the most that it may say.
STALLED, _LONGEST = 2 * 3600, 7 * 86400
# Where it cannot be seen whether a process is still there, a run that has not moved for so much longer is taken for dead.
_UNSEEN = 86400
# From then on, the line says that nothing moves.
_STILL = 600.0
# An expected end is a guess, and a poor one before so many seconds and such a share.
_GUESS_AFTER, _GUESS_FROM = 20.0, 0.01


@dataclass(frozen=True)
class Place:
    """Where a run is. Times are those of the node's clock.

    Args:
        run: What it is, as in the journal.
        repository: The bucket, and the prefix if there is one.
        step: What it does just now.
        began: When the run began.
        since: When the step began.
        moved: When something last went on.
        share: How much of the step is done, from 0 to 1; None when that is not known.
        done: The bytes of it that are done.
        total: All bytes of it.
        ends: When the step is expected to end.
        pid: The process, on the node.
        still: For how many seconds nothing may move before that is a finding.
        process: Which process that is, see process_identity.py.
        alone: It came to its end after its ansible-playbook was gone, so that nobody was told what came of it.
    """

    run: str
    repository: str
    step: str
    began: datetime
    since: datetime
    moved: datetime
    share: Optional[float] = None
    done: Optional[int] = None
    total: Optional[int] = None
    ends: Optional[datetime] = None
    pid: int = 0
    still: int = STALLED
    process: str = ""
    alone: bool = False

    def stalled(self, now: datetime) -> bool:
        return (now - self.moved).total_seconds() > self.still

    def ended(self, now: datetime) -> bool:
        """Whether its process is there no more, so that the run did not come to its end."""
        known = gone(self.pid, self.process)
        return (now - self.moved).total_seconds() > self.still + _UNSEEN if known is None else known


class Progress:
    """Writes where a run is. Without a folder, or where it cannot be written, nothing is: the run goes on all the same.

    Safe for threads.

    Args:
        folder: The folder of the record.
        run: What the run is, as in the journal.
        repository: The bucket, and the prefix if there is one.
        now: The time of the node.
        clock: Seconds of a clock that cannot be set.
        still: For how many seconds nothing may move, where that is longer than usual.
    """

    def __init__(
        self,
        folder: str = "",
        run: str = "",
        repository: str = "",
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        still: int = STALLED,
    ) -> None:
        self._path = path_of(folder, run) if folder else ""
        self._now, self._clock = now, clock
        self._mutex = threading.Lock()
        self._on = False
        self._written: Optional[float] = None
        self._still = max(still, STALLED)
        at = _at(now())
        own = os.getpid()
        self._above = playbooks_above() if folder else []
        self._place = Place(
            shown(run, _TEXT), shown(repository, _TEXT), "", at, at, at, pid=own, still=self._still, process=identity(own),
        )  # fmt: skip

    @contextmanager
    def told(self) -> Iterator[None]:
        """Inside the block it is written where the run is. At its end the file is removed, however that comes.

        It is kept for the journal where ansible-playbook was killed meanwhile, and will write nothing.
        """
        with self._mutex:
            self._on = bool(self._path)
            keep_unended(self._path, _at(self._now()))
        try:
            yield
        finally:
            with self._mutex:
                self._on = False
                with suppress(OSError):
                    if any(gone(pid, known) for pid, known in self._above):
                        left = replace(self._place, alone=True, moved=_at(self._now()))
                        write_place(_kept(self._path), left)
                    if self._path:
                        os.unlink(self._path)

    def step(self, name: str, total: Optional[int] = None, still: int = 0) -> None:
        """A new step begins.

        Args:
            name: What is done in it.
            total: The bytes that it will read or write, where they are known.
            still: For how many seconds nothing may move in it, where that is longer than in the others.
        """
        with self._mutex:
            at = _at(self._now())
            done = None if total is None else 0
            self._place = replace(
                self._place, step=shown(name, _TEXT), since=at, moved=at, share=None, done=done, total=total, ends=None,
                still=max(still, self._still),
            )  # fmt: skip
            self._write(at_once=True)

    def moved(self) -> None:
        """Something went on."""
        self.at()

    def at(self, done: Optional[int] = None, share: Optional[float] = None, total: Optional[int] = None) -> None:
        """So far is the step.

        Args:
            done: The bytes that are done.
            share: The share that is done, where it is not that of the bytes.
            total: All bytes, where they became known since the step began.
        """
        with self._mutex:
            self._place = further(self._place, _at(self._now()), done, share, total)
            self._write()

    def _write(self, at_once: bool = False) -> None:
        clock = self._clock()
        if not self._on or not (at_once or self._written is None or clock - self._written >= _EVERY):
            return
        self._written = clock
        with suppress(OSError):
            write_place(self._path, self._place)


def beside_record(
    record_dir: Optional[str], bucket: str, prefix: str, run: str, still: int = STALLED, inside: Optional[str] = None
) -> Progress:
    """Tells beside the record of a repository where a run is; nothing where there is no folder of records.

    Args:
        record_dir: The folder of records.
        bucket: The bucket, which must have been validated.
        prefix: The prefix, likewise.
        run: What the run is.
        still: For how many seconds nothing may move, where that is longer than usual.
        inside: The folder itself, on a machine that has no records.
    """
    folder = folder_of(record_dir, bucket, prefix) if record_dir else inside or ""
    return Progress(folder, run, f"{bucket}/{prefix}".rstrip("/"), still=still)


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), timezone.utc)


def further(place: Place, at: datetime, done: Optional[int], share: Optional[float], total: Optional[int]) -> Place:
    """The place when so much is done."""
    total = place.total if total is None else total
    done = min(done, total) if done is not None and total is not None else done
    if share is None and done is not None and total:
        share = done / total
    if share is None:
        return replace(place, moved=at, total=total, done=place.done if done is None else done)
    share = min(max(share, 0.0), 1.0)
    if done is None and total is not None:
        done = int(share * total)
    return replace(
        place, moved=at, share=round(share, 4), done=done, total=total, ends=_expected(place.since, at, share)
    )


def _expected(since: datetime, at: datetime, share: float) -> Optional[datetime]:
    """When the step ends if it goes on as fast as until now."""
    if share < _GUESS_FROM or (at - since).total_seconds() < _GUESS_AFTER:
        return None
    with suppress(OverflowError):
        return (at + (at - since) * ((1 - share) / share)).replace(microsecond=0)
    return None


# The file ------------------------------------------------------------------------------------------------------------


def to_data(place: Place) -> dict[str, Any]:
    return {name: format_date(value) if isinstance(value, datetime) else value for name, value in asdict(place).items()}


def path_of(folder: str, run: str) -> str:
    return os.path.join(folder, f"{_START}{run}{_END}")


def write_place(path: str, place: Place) -> None:
    write_at_once(path, (json.dumps(to_data(place)) + "\n").encode(), durable=False)


def from_data(data: Any) -> Optional[Place]:
    """The place, or None when the data does not tell one."""
    if not isinstance(data, dict):
        return None
    times = {name: parse_date(data.get(name)) for name in ("began", "since", "moved")}
    texts = {name: data.get(name) for name in ("run", "repository", "step")}
    if None in times.values() or not all(isinstance(text, str) for text in texts.values()):
        return None
    share, numbers = data.get("share"), {name: _count(data.get(name)) for name in ("done", "total", "pid", "still")}
    known = isinstance(share, (int, float)) and not isinstance(share, bool) and 0 <= share <= 1
    found: dict[str, Any] = {
        **times,
        **{name: shown(text, _TEXT) for name, text in texts.items()},
        **numbers,
        "pid": numbers["pid"] or 0,
        "still": min(numbers["still"] or STALLED, _LONGEST),
        "share": float(share) if known else None,  # type: ignore[arg-type]
        "ends": parse_date(data.get("ends")),
        "process": data["process"] if isinstance(data.get("process"), str) else "",
        "alone": data.get("alone") is True,
    }
    return Place(**{field.name: found[field.name] for field in fields(Place)})


def _count(value: Any) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None


def places(folder: str) -> list[Place]:
    """The runs that are told of in the folder of a record; a file that cannot be read tells of none."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith(_START) and name.endswith(_END))
    except OSError:
        return []
    return [place for place in (read_place(os.path.join(folder, name)) for name in names[:MOST]) if place]


def read_place(path: str) -> Optional[Place]:
    with suppress(OSError, ValueError, RecursionError, HoldfastError), open_private(path) as stream:
        text = stream.read(LARGEST + 1)
        return from_data(json.loads(text)) if len(text) <= LARGEST else None
    return None


def all_places(record_dir: str) -> Iterator[Place]:
    """The runs of all repositories below a folder of records."""
    for path, folders, files in os.walk(record_dir):
        folders.sort()
        if any(name.startswith(_START) for name in files):
            yield from places(path)


# Runs that did not end ------------------------------------------------------------------------------------------------


def keep_unended(path: str, now: datetime) -> None:
    """Keep the file of a run that did not end until it is written down; the next run of its kind needs the place."""
    left = read_place(path) if path else None
    if left and left.ended(now):
        with suppress(OSError):
            os.replace(path, _kept(path))


def _kept(path: str) -> str:
    return os.path.join(os.path.dirname(path), _UNENDED + os.path.basename(path)[len(_START) :])


def unended(record_dir: str, now: datetime) -> Iterator[tuple[str, Place]]:
    """The runs below the folder of all records that did not come to their end, each with its file."""
    for folder, folders, files in os.walk(record_dir):
        folders.sort()
        for name in sorted(files)[:MOST]:
            if name.startswith((_START, _UNENDED)) and name.endswith(_END):
                path = os.path.join(folder, name)
                place = read_place(path)
                if place and (name.startswith(_UNENDED) or place.ended(now)):
                    yield path, place


# Told to people ------------------------------------------------------------------------------------------------------


def line(place: Place, now: datetime) -> str:
    """Where a run is, as a line: `backup-web1: repacking, 34 %, 12.0 GiB of 35.0 GiB, about 20 minutes left`."""
    return f"{place.repository}: {doing(place, now)}"


def doing(place: Place, now: datetime) -> str:
    """The line without the repository."""
    told = [place.step or place.run]
    if place.share is not None:
        told.append(f"{int(place.share * 100)} %")
    if place.total:
        told.append(f"{size(place.done or 0)} of {size(place.total)}")
    elif place.done:
        told.append(size(place.done))
    still = (now - place.moved).total_seconds()
    if still > _STILL:
        told.append(f"nothing has moved for {length(still)}")
    elif place.ends is not None:
        told.append(f"about {length(max(0.0, (place.ends - now).total_seconds()))} left")
    else:
        told.append(f"for {length(max(0.0, (now - place.since).total_seconds()))}")
    return ", ".join(told)


def lines(found: Iterable[Place], now: datetime, most: int) -> list[str]:
    """A line for each run, those that began first at the top, and one for all those that are too many."""
    sorted_ = sorted(found, key=lambda place: (place.began, place.repository, place.run))
    more = len(sorted_) - most
    return [line(place, now) for place in sorted_[:most]] + ([f"and {more} more runs"] if more > 0 else [])


def stalled(folder: str, now: datetime) -> list[str]:
    """A sentence for each run that has not moved for long.

    Args:
        folder: The folder of a record.
        now: The time of the node.
    """
    return [
        f"The {place.run} that began at {format_date(place.began)} has not moved since {format_date(place.moved)} "
        f"({place.step or 'its beginning'}): it hangs, or was killed. End its process ({place.pid} on the node) where "
        f"that is still there, then run {place.run} again."
        for place in places(folder)
        if place.stalled(now)
    ]


def length(seconds: float) -> str:
    """A length of time in one word and a number."""
    for name, unit in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * unit or (unit == 60 and seconds >= 60):
            count = round(seconds / unit)
            return f"{count} {name}{'' if count == 1 else 's'}"
    count = round(seconds)
    return f"{count} second{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """Bytes as restic writes them, with one digit behind the point."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
