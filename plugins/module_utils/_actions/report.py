# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the page of a fleet on the maintenance node, from the state and the journal that are there.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from .._audit.newest import remembered
from .._common.errors import HoldfastError
from .._common.progress import doing, places
from .._common.record import folder
from .._page.as_data import as_data
from .._page.from_status import host_of, with_snapshots
from .._page.judge import judged
from .._page.model import PROTECTED, Fleet, Host, Limits
from .._page.render import pages
from .._reports.entries import repository
from .._reports.journal import RunJournal

DATA, INDEX = "report.json", "index.html"
# How many bytes at the end of the journal are read for the history of hosts, and how many runs of each are told.
HISTORY, MOST_RUNS = 8 << 20, 30
_MOST_RUNNING = 5
_OURS = re.compile(r"hosts/[A-Za-z0-9_-]{1,80}\.html")


class ReportError(HoldfastError):
    """The page cannot be written."""


@dataclass(frozen=True)
class PageRequest:
    """The hosts and settings of a page, and its folder.

    Args:
        hosts: As `host_of` takes each of them.
        price: What a gigabyte costs in a month.
        silence: After how many hours of silence a host is unknown.
        mode: The permissions of the files.
    """

    record_dir: str
    report_dir: str
    hosts: Sequence[Mapping[str, Any]]
    templates: Mapping[str, str]
    price: float
    silence: float
    mode: int = 0o640


@dataclass(frozen=True)
class Written:
    """The page that was written."""

    changed: bool
    path: str
    data: dict[str, Any]

    @property
    def unwell(self) -> list[dict[str, Any]]:
        return [
            {
                "name": host["name"],
                "state": host["state"],
                "text": " ".join(one["text"] for one in host["problems"][:3]),
            }
            for host in self.data["hosts"]
            if host["state"] != PROTECTED
        ]


def write_report(request: PageRequest, *, now: datetime | None = None, check: bool = False) -> Written:
    """Make the page, all files of it in one step each, and index.html last.

    Args:
        check: Only say what would be changed.

    Raises:
        HoldfastError: The state cannot be read, or the page cannot be made or written.
    """
    fleet = judged(_fleet(request, now or datetime.now(timezone.utc)))
    data = as_data(fleet)
    path = os.path.join(request.report_dir, INDEX)
    before = _before(request.report_dir)
    changed = _said(before) != _said(data) or not os.path.exists(path)
    if not check:
        made = dict(pages(fleet, request.templates))
        made[DATA] = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
        _write(request, made)
        _remove(request.report_dir, {host.get("page") for host in before.get("hosts", ())} - set(made))
    return Written(changed, path, data)


def _fleet(request: PageRequest, now: datetime) -> Fleet:
    journal = RunJournal(request.record_dir)
    state = journal.state() or {"repositories": {}}
    known = state["repositories"]
    lines = _history(journal)
    hosts = []
    for one in request.hosts:
        name = f"{one['bucket']}/{one.get('prefix') or ''}".rstrip("/")
        beside = folder(request.record_dir, one["bucket"], one.get("prefix") or "")
        host = with_snapshots(host_of(one, known.get(name), lines.get(name, ())), remembered(beside))
        hosts.append(replace(host, running=_running(beside, now)))
    strangers = sorted(set(known) - {host.repository for host in hosts})
    return Fleet(
        now, tuple(_last_of_all(hosts)), request.price, limits=Limits(request.silence), strangers=tuple(strangers)
    )


def _running(path: str, now: datetime) -> tuple[str, ...]:
    """The runs that are at work on a repository, or were killed."""
    return tuple(f"{place.run}: {doing(place, now)}" for place in places(path)[:_MOST_RUNNING])


def _last_of_all(hosts: Iterable[Host]) -> list[Host]:
    """Each host once: two of one name would have one page."""
    return list({host.name: host for host in hosts}.values())


def _history(journal: RunJournal) -> dict[str, deque[Mapping[str, Any]]]:
    """The newest lines of each repository; a damaged line is left out; verify tells of it."""
    found: dict[str, deque[Mapping[str, Any]]] = {}
    for raw in journal.newest(HISTORY):
        with suppress(ValueError):
            line = json.loads(raw)
            if isinstance(line, dict) and line.get("bucket"):
                found.setdefault(repository(line), deque(maxlen=MOST_RUNS)).append(line)
    return found


def _before(folder: str) -> dict[str, Any]:
    """The data of the page that is there."""
    with suppress(OSError, ValueError), open(os.path.join(folder, DATA), encoding="utf-8") as stream:
        data = json.load(stream)
        if isinstance(data, dict) and isinstance(data.get("hosts"), list):
            return data
    return {}


def _said(data: Mapping[str, Any]) -> Any:
    """What a page says, whenever it was made."""
    return {name: value for name, value in data.items() if name != "made"}


def _write(request: PageRequest, files: Mapping[str, str]) -> None:
    """Replace each file. index.html is the last, so that what it links to is there."""
    for name in sorted(files, key=lambda name: name == INDEX):
        replace_file(os.path.join(request.report_dir, name), files[name].encode("utf-8", "replace"), request.mode)


def replace_file(path: str, content: bytes, mode: int) -> None:
    """Replace a file in one step; its folder is made when it is not there, for those who can read the file."""
    # No fsync, which takes seconds for a thousand files: after a loss of power the page is made again.
    temporary, folder = "", os.path.dirname(path)
    try:
        _make(folder, mode | 0o100 | (mode & 0o044) >> 2)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
        os.replace(temporary, path)
        temporary = ""
    except OSError as error:
        raise ReportError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)


def _make(folder: str, mode: int) -> None:
    if not os.path.isdir(folder):
        _make(os.path.dirname(folder) or ".", mode)
        os.mkdir(folder)
        os.chmod(folder, mode)


def _remove(folder: str, names: Iterable[Any]) -> None:
    """Pages of hosts that are no longer there; only such as were written before."""
    for name in names:
        if isinstance(name, str) and _OURS.fullmatch(name):
            with suppress(OSError):
                os.unlink(os.path.join(folder, name))
