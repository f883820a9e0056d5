# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the stored data of a repository through, part by part, and remembers what was read.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Optional

from .._audit.survey import at_most
from .._clients import Clients
from .._common.beside_record import damaged, load_beside, save_beside
from .._common.clock import elapsed
from .._common.dates import format_date, parse_date
from .._common.durations import parse_duration
from .._common.errors import HoldfastError
from .._common.process_signals import dies_with_parent, ended_by_signals
from .._common.progress import Progress
from .._common.record import RecordError, folder, load, no_record
from .._restic.answers import Completed, short
from .._restic.cli import Restic, ResticError
from .._restic.process import half_of_memory
from .._restic.reading import Part, Reading, ReadingError, due_parts, from_data, overdue, parts_of, to_data

FILE = "reading"
MINIMUM = (0, 18, 0)
_DAMAGED = "repository contains errors"
_PACK = re.compile(r"data/([0-9a-f]{2})/\1[0-9a-f]{62}")
_ID = re.compile(r"[0-9a-f]{64}")
# How many damaged packs are remembered and told; a repository with more is lost as a whole.
_MOST_DAMAGED = 1000

Packs = Mapping[int, tuple[int, int]]


class ReadThroughError(HoldfastError):
    """The reading found damage, or could not be done."""


@dataclass(frozen=True)
class How:
    """How to read.

    Attributes:
        within: How soon everything must have been read, as restic writes lengths of time.
        seconds: How long one run may take.
        limit_download: The most to download, in KiB per second; 0 for no limit.
    """

    within: str
    seconds: int
    limit_download: int = 0
    check_mode: bool = False


@dataclass
class ReadThrough:
    """What one run read, and what is left.

    Attributes:
        read: The parts that were read and are whole.
        left: Those that are due and were not read.
        share: Which share of the prefixes was read within that time, 0 to 1.
        damaged: The packs that were found to be damaged.
    """

    changed: bool = False
    read: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    packs: int = 0
    bytes: int = 0
    seconds: float = 0.0
    time: Optional[str] = None
    oldest: Optional[str] = None
    share: float = 0.0
    complete: bool = False
    damaged: list[str] = field(default_factory=list)


def length(text: str, now: datetime, name: str = "read_within") -> timedelta:
    """A length of time, as restic writes it, before now."""
    start = parse_duration(text, name).before(now)
    if start is None or now - start < timedelta(days=1):
        raise ReadThroughError(f"{name} is {text!r}: write a day or more, as in 90d.")
    return now - start


def load_reading(path: str) -> Optional[Reading]:
    """What was read of the repository whose record is in this folder; None when nothing was."""
    data = load_beside(path, FILE)
    try:
        return None if data is None else from_data(data)
    except ReadingError as error:
        raise damaged(path, FILE) from error


def reading_finding(path: str, now: datetime, within: str) -> Optional[str]:
    """The problem of the reading of a repository, in a sentence; nothing when all is well, or there is no record."""
    record = load(path)
    if record is None:
        return None
    created = parse_date(record.created)
    if created is None:
        raise RecordError(f"The record in {path} does not say when it was made; restore it from a copy.")
    return overdue(load_reading(path), created, now, length(within, now))


class Reader:
    """One run. `outcome` tells at any time what was read.

    Args:
        clients: The clients of the repository.
        record_dir: Where the records are.
        how: How to read.
    """

    def __init__(self, clients: Clients, record_dir: str, how: How) -> None:
        self.outcome = ReadThrough()
        self._clients = clients
        self._how = how
        self._record_dir = record_dir
        self._path = folder(record_dir, clients.bucket, clients.prefix)
        self._began = elapsed()
        self._progress = Progress(self._path, "check", self._name, still=how.seconds)

    def run(self) -> None:
        """Read all parts that are due. The outcome is there also when this raises."""
        try:
            with self._progress.told(), ended_by_signals(f"The reading of {self._name}", self._interrupted):
                self._run()
        finally:
            self.outcome.seconds = round(elapsed() - self._began, 1)

    def _interrupted(self) -> str:
        return f"the {len(self.outcome.read)} parts that were read are remembered, and the next run goes on."

    @property
    def _name(self) -> str:
        return f"{self._clients.bucket}/{self._clients.prefix}".rstrip("/")

    def _run(self) -> None:
        clients, how = self._clients, self._how
        if load(self._path) is None:
            raise no_record(self._record_dir, clients.bucket, clients.prefix)
        restic = clients.open_repository()
        restic.require(MINIMUM, "Reading a repository through")
        # Its answer tells the time, which this machine may not know.
        clients.cloudflare.lock_rules(clients.bucket)
        now = clients.cloudflare.server_time()
        reading = load_reading(self._path) or Reading(now)
        packs = self._packs()
        parts = parts_of(sum(size for _count, size in packs.values()))
        due = due_parts(reading, now, length(how.within, now), parts, self._name)
        self.outcome.left = [part.subset for part in due]
        if not how.check_mode:
            self._read_all(restic, reading, due, packs)
        self.outcome.oldest = format_date(reading.oldest().replace(microsecond=0))
        self.outcome.complete = reading.complete()
        self.outcome.share = reading.share(now, length(how.within, now))
        self.outcome.time = format_date(now.replace(microsecond=0))
        if self.outcome.damaged:
            raise ReadThroughError(_damage(self._name, self.outcome.damaged))
        if due and not self.outcome.read and not how.check_mode:
            raise ReadThroughError(
                f"Not one part of {self._name} could be read in {how.seconds} seconds: give it more (holdfast_check_seconds), or "
                "a higher holdfast_limit_download."
            )

    def _packs(self) -> Packs:
        """How many packs there are below each prefix, and their size."""
        found: dict[int, tuple[int, int]] = {}
        for one in at_most(self._clients.s3, f"{self._clients.prefix}data/"):
            match = _PACK.fullmatch(one.key[len(self._clients.prefix) :])
            if match:
                count, size = found.get(int(match[1], 16), (0, 0))
                found[int(match[1], 16)] = (count + 1, size + one.size)
        return found

    def _remaining(self) -> float:
        return max(0.0, self._how.seconds - (elapsed() - self._began))

    def _read_all(self, restic: Restic, reading: Reading, due: list[Part], packs: Packs) -> None:
        self._progress.step("reading data", sum(_bytes(part, packs) for part in due))
        for part in due:
            self._progress.at(self.outcome.bytes)
            if self._remaining() < 1:
                return
            at = self._clients.cloudflare.server_time()
            try:
                bad = self._read(restic, part)
            except ResticError:
                if self._remaining() < 1:
                    return
                raise
            if bad:
                self.outcome.damaged += bad
                reading.note_damage(bad, at)
            else:
                reading.note(part, at, packs)
                self.outcome.read.append(part.subset)
                self.outcome.left.remove(part.subset)
                self.outcome.packs += sum(packs.get(prefix, (0, 0))[0] for prefix in part.prefixes)
                self.outcome.bytes += _bytes(part, packs)
            self.outcome.changed = True
            save_beside(self._path, FILE, to_data(reading))

    def _read(self, restic: Restic, part: Part) -> list[str]:
        """Read one part; which packs of it are damaged.

        A backup, or maintenance, that ends meanwhile can look like an error; then it is read once more.
        """
        before = restic.index_ids()
        completed = self._check(restic, part)
        if completed.exit_code != 0 and restic.index_ids() != before:
            completed = self._check(restic, part)
        if completed.exit_code == 0:
            return []
        if _DAMAGED not in completed.stderr:
            raise restic.error("check", completed)
        packs, errors = broken_packs(completed.stdout), _errors(completed.stderr)
        if not packs:
            raise ReadThroughError(
                f"Repository {self._name} has errors, the first: {restic.repository.scrub(errors[0])}. See docs/recovery.md."
            )
        return packs

    def _check(self, restic: Restic, part: Part) -> Completed:
        limit = [f"--limit-download={self._how.limit_download}"] if self._how.limit_download else []
        return restic.run(
            ["check", "--no-lock", "--json", f"--read-data-subset={part.subset}", *limit],
            timeout=self._remaining(),
            # A host chooses how large the folders are that it backs up, and restic reads several of them at a time.
            memory=half_of_memory(),
            preexec_fn=dies_with_parent(),
        )


def _bytes(part: Part, packs: Packs) -> int:
    return sum(packs.get(prefix, (0, 0))[1] for prefix in part.prefixes)


def broken_packs(stdout: str) -> list[str]:
    """The ids of the packs that restic check found to be damaged, from its summary."""
    for line in reversed(stdout.splitlines()):
        try:
            summary = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(summary, dict) and summary.get("message_type") == "summary":
            found = summary.get("broken_packs") or []
            return sorted({pack for pack in found if isinstance(pack, str) and _ID.fullmatch(pack)})[:_MOST_DAMAGED]
    return []


def _errors(stderr: str) -> list[str]:
    """The errors of restic check."""
    found = []
    for line in stderr.splitlines():
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict) and message.get("message_type") == "error":
            found.append(short(str(message.get("message"))))
    return found or [_DAMAGED]


def _damage(name: str, packs: list[str]) -> str:
    more = f" and {len(packs) - 3} more" if len(packs) > 3 else ""
    return (
        f"Stored data of {name} is damaged: pack {', '.join(packs[:3])}{more}. Nothing was changed. Repair it as "
        "docs/recovery.md says (A pack that is missing or damaged), while the host still has the files."
    )
