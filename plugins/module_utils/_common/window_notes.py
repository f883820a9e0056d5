# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A note of each window beside the record, until the journal has the window: also where all that could tell of it was killed.

It is told, and decides nothing: the lock document alone says what is open.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

from .dates import format_date, parse_date
from .errors import HoldfastError
from .private_file import open_private, write_at_once
from .process_identity import gone, identity, playbooks_above

_START, _END = "window-", ".json"
_LARGEST = 8192
# What is told of a window once it is over.
_REPORTED = ("opened", "closed", "seconds", "ended_by", "in_force", "lease")
# Where it cannot be seen whether a run goes on, it may do so for a day.
_UNSEEN = timedelta(days=1)


class WindowNote:
    """The note of one window. Without a folder, or where it cannot be written, there is none.

    Args:
        folder: The folder of the record.
        holder: Who holds the window, as in the lock document.
        reason: What it is for.
        parts: The parts of the repository that it opens.
        longest: The seconds after which it is over, whatever happens.
        now: The time of the node.
    """

    def __init__(
        self,
        folder: str,
        holder: str,
        reason: str,
        parts: tuple[str, ...],
        longest: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path_of(folder, holder) if folder else ""
        self._now = now
        self._data: dict[str, Any] = {"holder": holder, "reason": reason, "parts": list(parts)}
        self._longest = longest

    def begin(self) -> None:
        """Write it, before anything is opened."""
        if not self._path:
            return
        began, own = self._now(), os.getpid()
        self._data.update(
            began=_at(began), until=_at(began + self._longest), processes=[[own, identity(own)], *playbooks_above()]
        )
        self._write()

    def settle(self, report: Mapping[str, Any]) -> None:
        """The window is over; or it was never open, and there is nothing to tell.

        Args:
            report: That of its keeper.
        """
        if report.get("opened") or report.get("in_force") is False:
            self._data["report"] = {name: report.get(name) for name in _REPORTED}
            self._write()
        elif self._path:
            with suppress(OSError):
                os.unlink(self._path)

    def _write(self) -> None:
        if self._path:
            self._data["written"] = _at(self._now())
            with suppress(OSError):
                write_at_once(self._path, (json.dumps(self._data) + "\n").encode())


def _at(seconds: float) -> str:
    return format_date(datetime.fromtimestamp(int(seconds), timezone.utc))


def path_of(folder: str, holder: str) -> str:
    return os.path.join(folder, f"{_START}{holder}{_END}")


@dataclass(frozen=True)
class NotedWindow:
    """What a note says.

    Args:
        path: The note.
        holder: Who held the window.
        reason: What it was for.
        parts: What it opened.
        began: When it was about to be opened, by the clock of the node.
        until: When it is over at the latest, by the same clock.
        written: When the note was written last, by the same clock.
        processes: The process that opened it and those of its ansible-playbook, with their identities.
        report: What its keeper told at its end; None before.
    """

    path: str
    holder: str
    reason: str
    parts: list[Any]
    began: datetime
    until: datetime
    written: datetime
    processes: list[tuple[int, str]] = field(default_factory=list)
    report: Optional[dict[str, Any]] = None

    def left(self, now: datetime) -> bool:
        """Whether no run is there any more that will write the window down."""
        if self.report is None and now < self.until:
            return False  # its keeper may be at work
        ended = [gone(pid, known) for pid, known in self.processes]
        # Without an ansible-playbook here, another machine has it.
        if None in ended or len(ended) < 2:
            return now - self.written > _UNSEEN
        return all(ended)


def noted_windows(record_dir: str) -> Iterator[NotedWindow]:
    """The windows that are noted below a folder of records; a note that cannot be read tells of none."""
    for folder, folders, files in os.walk(record_dir):
        folders.sort()
        for name in sorted(files):
            if name.startswith(_START) and name.endswith(_END):
                found = _read(os.path.join(folder, name))
                if found:
                    yield found


def _read(path: str) -> Optional[NotedWindow]:
    with (
        suppress(OSError, ValueError, RecursionError, HoldfastError, TypeError, KeyError),
        open_private(path) as stream,
    ):
        data = json.loads(stream.read(_LARGEST))
        times = {name: parse_date(data[name]) for name in ("began", "until", "written")}
        if isinstance(data, dict) and None not in times.values():
            processes = [(int(pid), str(known)) for pid, known in data["processes"]]
            report = data.get("report")
            return NotedWindow(
                path, str(data["holder"]), str(data["reason"]), list(data["parts"]), processes=processes,
                report=report if isinstance(report, dict) else None, **times,  # type: ignore[arg-type]
            )  # fmt: skip
    return None
