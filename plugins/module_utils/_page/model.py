# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Holds what the page shows. Pure data; None stands for what is not known, never for zero.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Optional

# From the worst to the best: the order in which hosts are shown.
DANGER, UNKNOWN, ATTENTION, PROTECTED = "danger", "unknown", "attention", "protected"
STATES = (DANGER, UNKNOWN, ATTENTION, PROTECTED)


@dataclass(frozen=True)
class Problem:
    """Why something is not well, and what to do about it."""

    state: str
    text: str
    what_to_do: str = ""
    code: str = ""
    job: str = ""


@dataclass(frozen=True)
class Job:
    """A job of a host.

    Args:
        max_age: After how many hours its newest snapshot is too old.
        oldest: When the oldest snapshot that could be restored was stored, by R2's clock; so `newest`.
        days: On how many days a snapshot was stored that could be restored.
        stored: When its snapshots were stored, as far as they are known one by one.
    """

    name: str
    max_age: float
    newest: Optional[datetime] = None
    oldest: Optional[datetime] = None
    snapshots: Optional[int] = None
    days: Optional[int] = None
    stored: tuple[datetime, ...] = ()


@dataclass(frozen=True)
class Window:
    """A time in which something was unlocked. `closed` is None as long as it is open, or when that is not known.

    Where the journal adds up windows, `count` says how many; then it tells of no single one.
    """

    opened: Optional[datetime]
    closed: Optional[datetime]
    seconds: Optional[float]
    parts: tuple[str, ...] = ()
    reason: str = ""
    ended_by: str = ""
    lease: Optional[datetime] = None
    count: int = 1


@dataclass(frozen=True)
class Drill:
    """A restore that was tried out."""

    at: Optional[datetime]
    well: bool
    job: str = ""
    bytes: Optional[float] = None
    seconds: Optional[float] = None
    text: str = ""

    @property
    def speed(self) -> Optional[float]:
        """Bytes in a second."""
        return self.bytes / self.seconds if self.bytes and self.seconds else None


@dataclass(frozen=True)
class Signal:
    """A sign of an attack, and the newest snapshot from before it."""

    code: str
    since: Optional[datetime]
    evidence: str = ""
    job: str = ""
    snapshot: str = ""
    last_good: Optional[datetime] = None
    last_good_id: str = ""


@dataclass(frozen=True)
class Snapshot:
    """One of the newest snapshots; `at` is when it was stored, `bytes` what it says that it holds."""

    id: str
    at: datetime
    job: str = ""
    bytes: Optional[float] = None


@dataclass(frozen=True)
class Hold:
    """Snapshots that retention leaves alone."""

    name: str
    until: Optional[datetime] = None
    reason: str = ""
    snapshots: Optional[int] = None


@dataclass(frozen=True)
class Event:
    """A run, as the journal has it."""

    at: Optional[datetime]
    run: str
    well: bool
    text: str = ""
    by: str = ""


@dataclass(frozen=True)
class Host:
    """A host with its repository.

    Args:
        heard: When the newest run looked at it, whatever it found.
        proved: When its locks were last proved to be in force.
        refuted: Whether the newest look found locks that are not in force.
        maintained: When the newest maintenance that succeeded ended.
        unlocked: For how many seconds that maintenance had something unlocked.
        read_from: Since when everything was read at least once.
        sizes: Days with the bytes that were stored on them.
        snapshots: The newest snapshots of each job, the newest first.
        snapshots_seen: When these were seen.
        running: What works on it just now, a line for each run.
        problems: Filled by `judged`.
    """

    name: str
    repository: str
    jobs: tuple[Job, ...] = ()
    heard: Optional[datetime] = None
    proved: Optional[datetime] = None
    refuted: bool = False
    proved_by: str = ""
    open: tuple[Window, ...] = ()
    windows: tuple[Window, ...] = ()
    maintained: Optional[datetime] = None
    unlocked: Optional[float] = None
    read_from: Optional[datetime] = None
    drill: Optional[Drill] = None
    holds: tuple[Hold, ...] = ()
    signals: tuple[Signal, ...] = ()
    bytes: Optional[float] = None
    sizes: tuple[tuple[datetime, float], ...] = ()
    findings: tuple[Problem, ...] = ()
    events: tuple[Event, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    snapshots_seen: Optional[datetime] = None
    running: tuple[str, ...] = ()
    unreadable: str = ""
    state: str = UNKNOWN
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Limits:
    """After how many hours of silence nothing is known any more, and after how many days something is due again."""

    silence: float = 48.0
    maintenance: float = 40.0
    read: float = 100.0
    drill: float = 100.0


@dataclass(frozen=True)
class Fleet:
    """What a page is about.

    Args:
        made: When it was looked at.
        price: What a gigabyte (10^9 bytes) costs in a month.
        strangers: Repositories on the node that belong to no host of the inventory.
    """

    made: datetime
    hosts: tuple[Host, ...]
    price: float
    currency: str = "$"
    limits: Limits = field(default_factory=Limits)
    strangers: tuple[str, ...] = ()

    def of_state(self, state: str) -> list[Host]:
        return [host for host in self.hosts if host.state == state]
