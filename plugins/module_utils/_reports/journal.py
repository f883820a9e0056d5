# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps the journal: one line of JSON for each repository and run, each with the hash of the line before it.

One file a year beside the records, journal-YEAR.jsonl. The chain goes on from one file to the next: a line that was changed,
removed or inserted breaks it, and `check` says where. A line that a crash has cut is never removed: the hash of the next line
includes it, and that line tells of it.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from .._common.clock import awake
from .._common.dates import format_date
from .._common.errors import HoldfastError
from .._common.private_file import make_private, open_private, read_private, write_private
from .._common.progress import Place, unended
from .._common.window_notes import NotedWindow, noted_windows
from .entries import Entry, cleaned, did_not_end, wrote_no_line
from .state import State, empty, looked, take, worth_a_line

VERSION = 1
START = "0" * 64
STATUS = "status.json"
LOCK = "journal.lock"
_FILE = re.compile(r"journal-[0-9]{4}\.jsonl")
# No entry comes near it (see entries.py); a longer line was not written here.
MAX_LINE = 1 << 20
_MOST_TOLD = 20
# In how many bytes at the end of the journal the lines are that a process wrote just before it was killed.
_RECENT = 8 << 20
_PATIENCE = 60.0
TORN = "The line before this one was cut, as by a crash while it was written."


class RunJournalError(HoldfastError):
    """The journal or the state cannot be read or written."""


@dataclass
class Checked:
    """The result of a check of the whole chain.

    Args:
        files: The files of the journal, the oldest first.
        lines: How many lines they have.
        hash: That of the last line.
        broken: Where the chain is broken, in sentences.
        torn: Which lines a crash has cut.
        unnoted: Whether the last line is one of them, so that no line tells of it yet.
    """

    files: list[str] = field(default_factory=list)
    lines: int = 0
    hash: str = START
    broken: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    unnoted: bool = False

    def told(self) -> dict[str, Any]:
        told = asdict(self)
        for name in ("broken", "torn"):
            more = len(told[name]) - _MOST_TOLD
            told[name][_MOST_TOLD:] = [f"{more} more."] if more > 0 else []
        return told


class RunJournal:
    """The journal in a folder of records.

    Args:
        folder: The folder, which is made when it is not there.
    """

    def __init__(self, folder: str) -> None:
        self.folder = os.path.expanduser(folder)

    # Writing ---------------------------------------------------------------------------------------------------------

    def append(self, entries: Iterable[Mapping[str, Any]], now: datetime | None = None) -> State:
        """Write the entries, and bring status.json up to date; returns the state. Several may do so at the same time.

        Args:
            entries: What happened, see entries.py.
            now: The clock of this machine.

        Raises:
            RunJournalError: Something cannot be read or written.
            ValueError: An entry has no run or no result.
        """
        now = now or datetime.now(timezone.utc)
        written = format_date(now.replace(microsecond=0))
        fresh = [cleaned(entry) for entry in entries]
        with self._held():
            state, lines = self._known()
            left, noted = list(unended(self.folder, now)), list(noted_windows(self.folder))
            told = {window.get("holder") for entry in fresh for window in entry.get("windows") or ()}
            alone = [window for window in noted if window.holder not in told and window.left(now)]
            lines += self._of_killed(left, alone)
            for entry in fresh:
                if worth_a_line(state, entry, written):
                    lines.append(entry)
                else:
                    looked(state, entry, written)
            self._write(state, lines, written)
            written_down = [window.path for window in noted if window.holder in told or window in alone]
            for path in [*(path for path, _place in left), *written_down]:
                with suppress(OSError):
                    os.unlink(path)
        return state

    def _of_killed(self, left: list[tuple[str, Place]], windows: list[NotedWindow]) -> list[Entry]:
        """Lines of runs that did not end, and of windows that no run wrote down, but for those that one which was killed, too,
        has written and not removed.
        """
        found = [did_not_end(place, os.path.relpath(path, self.folder)) for path, place in left]
        found += [wrote_no_line(window, os.path.relpath(window.path, self.folder)) for window in windows]
        # A line that was cut tells nothing.
        recent = [_parsed(raw) or {} for raw in (self.newest(_RECENT) if found else ())]
        told = {line.get("id") for line in recent}
        told |= {window.get("holder") for line in recent for window in line.get("windows") or ()}
        # One that was killed while it kept its own file has two of them.
        return list({entry["id"]: entry for entry in found if entry["id"] not in told}.values())

    def _write(self, state: State, lines: list[Entry], written: str) -> None:
        end, names = state["journal"], self._files()
        if names and not self._last_line().endswith(b"\n"):
            self._append(names[-1], b"\n")
        # A clock that was set back does not take the chain back to an older file.
        name = max([f"journal-{written[:4]}.jsonl", *names[-1:]])
        content = b""
        for entry in lines:
            line = {"v": VERSION, "n": end["lines"] + 1, "prev": end["hash"], "written": written, **entry}
            raw = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
            content += raw + b"\n"
            take(state, line)
            end.update(file=name, lines=end["lines"] + 1, hash=_hash(raw))
        if content:
            self._append(name, content)
        state["written"] = written
        path = self._path(STATUS)
        try:
            write_private(path, json.dumps(state, sort_keys=True, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            raise RunJournalError(f"{path} cannot be written: {error.strerror}.") from error

    def _append(self, name: str, content: bytes) -> None:
        path = self._path(name)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "ab", buffering=0) as stream:
                before = os.fstat(descriptor).st_size
                try:
                    while content:
                        content = content[stream.write(content) :]
                    os.fsync(descriptor)
                except OSError:
                    with suppress(OSError):
                        os.truncate(descriptor, before)
                    raise
        except OSError as error:
            raise RunJournalError(f"{path} cannot be written: {error.strerror}.") from error

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Be the only one who writes here."""
        path = self._path(LOCK)
        try:
            make_private(self.folder)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise RunJournalError(f"{path} cannot be opened: {error.strerror}.") from error
        with os.fdopen(descriptor, "r+b") as stream:
            end = awake() + _PATIENCE
            while not _locked(stream.fileno()):
                if awake() > end:
                    raise RunJournalError(
                        f"{path} has been held by another process for {_PATIENCE:g} seconds; nothing was written."
                    )
                time.sleep(0.02)
            yield

    # Reading ---------------------------------------------------------------------------------------------------------

    def state(self) -> State | None:
        """What status.json holds; None where it is not there, or is none.

        Raises:
            RunJournalError: It cannot be read.
        """
        path = self._path(STATUS)
        try:
            saved = json.loads(read_private(path))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        except OSError as error:
            raise RunJournalError(f"{path} cannot be read: {error.strerror}.") from error
        known = isinstance(saved, dict) and saved.get("v") == VERSION and saved.keys() >= empty().keys()
        return saved if known else None

    def check(self) -> Checked:
        """Look at every line, and at whether status.json belongs to them. Nothing is changed."""
        saved = self.state()
        found, gone = self._scanned(None, saved)
        if saved is None and found.lines:
            gone = f"{STATUS} is not there or cannot be read, so that nothing says whether lines are gone from the end."
        found.broken += [gone] if gone else []
        return found

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """Every line of all files: where it is, and its bytes."""
        for name in self._files():
            try:
                with open_private(self._path(name)) as stream:
                    number = 0
                    while raw := stream.readline(MAX_LINE):
                        number += 1
                        yield f"{name} line {number}", raw
            except OSError as error:
                raise RunJournalError(f"{self._path(name)} cannot be read: {error.strerror}.") from error

    def newest(self, most: int) -> Iterator[bytes]:
        """The newest lines, the oldest of them first, of at most so many bytes; the newest file alone is read."""
        for name in self._files()[-1:]:
            try:
                with open_private(self._path(name)) as stream:
                    if stream.seek(0, os.SEEK_END) > most:
                        stream.seek(-most, os.SEEK_END)
                        stream.readline()
                    else:
                        stream.seek(0)
                    yield from stream.read(most).splitlines()
            except OSError as error:
                raise RunJournalError(f"{self._path(name)} cannot be read: {error.strerror}.") from error

    def _known(self) -> tuple[State, list[Entry]]:
        """The state as of the last line, and what is to be noted of the journal itself."""
        saved, last = self.state(), self._last_line()
        if saved is not None and (last.endswith(b"\n") or not last) and saved["journal"]["hash"] == _hash(last):
            return saved, []
        # A crash came between the two files, or they were changed.
        state = empty()
        found, gone = self._scanned(state, saved)
        state["journal"].update(file=(found.files or [""])[-1], lines=found.lines, hash=found.hash)
        notes: list[Entry] = (
            [{"run": "journal", "result": "failed", "text": TORN, "torn": True}] if found.unnoted else []
        )
        return state, notes + ([{"run": "journal", "result": "failed", "text": gone}] if gone else [])

    def _scanned(self, state: State | None, saved: State | None) -> tuple[Checked, str]:
        """Look at all lines, bring the state to what they say, and tell whether lines are gone that were known before."""
        known: dict[str, Any] = saved["journal"] if saved else {"lines": 0, "hash": START}
        found, torn, gone = Checked(files=self._files()), "", known["lines"] > 0
        for place, raw in self.lines():
            line = _parsed(raw)
            if torn and (line is None or line.get("torn") is not True):
                found.broken.append(f"{torn} is no line of a journal, and the next line does not tell of it.")
            torn = place if line is None else ""
            if line is None:
                found.torn.append(place)
            else:
                found.broken += _misplaced(place, line, found)
                if state is not None:
                    # A line that was changed tells what it can.
                    with suppress(TypeError, ValueError, AttributeError, KeyError):
                        take(state, line)
            found.lines += 1
            found.hash = _hash(raw)
            if found.lines == known["lines"]:
                gone = found.hash != known["hash"]
        found.unnoted = bool(torn)
        what = f"Lines are gone or were changed: {STATUS} knew {known['lines']} lines, the last with the hash {known['hash']}."
        return found, what if gone else ""

    def _last_line(self) -> bytes:
        """The last line of the newest file, with its line end where it has one; empty where there is no line."""
        for name in reversed(self._files()):
            try:
                with open_private(self._path(name)) as stream:
                    size = stream.seek(0, os.SEEK_END)
                    stream.seek(max(0, size - MAX_LINE))
                    lines = stream.read().splitlines(keepends=True)
            except OSError as error:
                raise RunJournalError(f"{self._path(name)} cannot be read: {error.strerror}.") from error
            if lines:
                return lines[-1]
        return b""

    def _files(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.folder) if _FILE.fullmatch(name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunJournalError(f"{self.folder} cannot be read: {error.strerror}.") from error

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _hash(raw: bytes) -> str:
    """The hash of a line without its end; that of the start where there is no line."""
    return hashlib.sha256(raw.removesuffix(b"\n")).hexdigest() if raw else START


def _parsed(raw: bytes) -> dict[str, Any] | None:
    """A line, or None for what is none."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    known = isinstance(line, dict) and isinstance(line.get("n"), int) and isinstance(line.get("prev"), str)
    return line if known else None


def _misplaced(place: str, line: Mapping[str, Any], before: Checked) -> list[str]:
    """The problem of a line's place in the chain."""
    if line["prev"] != before.hash:
        return [f"{place} does not hold the hash of the line before it."]
    if line["n"] != before.lines + 1:
        return [f"{place} has the number {line['n']}, and is the line {before.lines + 1}."]
    return []
