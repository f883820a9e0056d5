# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans which part of a repository's data is read next, and tells whether all of it was read in time. Pure.

restic reads part n of t: the packs whose id begins with a byte that leaves n - 1 when it is divided by t. With t a power of two,
each part is a set of whole prefixes (00 to ff), and two parts of 2t make one of t. So what was read is remembered by prefix.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Optional

from .._common.dates import format_date, parse_date
from .._common.errors import HoldfastError

PREFIXES = 256
# A part has as much, so that an interruption costs little; and there are at least so many, so that the small repositories of a
# fleet are not all read in the same night.
_LARGEST_PART = 8 << 30
_FEWEST_PARTS = 8
# Everything is due again after this share of the time, so that a few missed runs do no harm.
_SHARE = 0.75
_PACK = re.compile(r"[0-9a-f]{64}")


class ReadingError(HoldfastError):
    """The file of the reading is damaged."""


class Part(NamedTuple):
    """Part `number` of `of`, as restic counts them, and when it was due."""

    number: int
    of: int
    due: datetime

    @property
    def subset(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def prefixes(self) -> range:
        return range(self.number - 1, PREFIXES, self.of)


class Read(NamedTuple):
    """When a prefix was read: all that was stored in it before that instant. And how much that was."""

    at: datetime
    packs: int
    size: int


@dataclass
class Reading:
    """What was read of a repository.

    Attributes:
        begun: When the first part of all was planned.
        prefixes: What was read, by the first byte of the packs' ids.
        damaged: When which pack was first found to be damaged, and was not found whole since.
    """

    begun: datetime
    prefixes: dict[int, Read] = field(default_factory=dict)
    damaged: dict[str, datetime] = field(default_factory=dict)

    def note(self, part: Part, at: datetime, packs: Mapping[int, tuple[int, int]]) -> None:
        """A part was read from this instant on, and is whole.

        Args:
            part: The part.
            at: When its reading began.
            packs: How many packs each prefix had then, and their size.
        """
        for prefix in part.prefixes:
            self.prefixes[prefix] = Read(at, *packs.get(prefix, (0, 0)))
        self.damaged = {pack: since for pack, since in self.damaged.items() if int(pack[:2], 16) not in part.prefixes}

    def note_damage(self, packs: Iterable[str], at: datetime) -> None:
        self.damaged = {**dict.fromkeys(packs, at), **self.damaged}

    def oldest(self) -> datetime:
        """All that was stored before this instant was read at it, or later; or nothing was, before the first reading."""
        return min((self.prefixes[one].at if one in self.prefixes else self.begun) for one in range(PREFIXES))

    def share(self, now: datetime, within: timedelta) -> float:
        """Which share of the prefixes was read within this time."""
        return sum(1 for read in self.prefixes.values() if now - read.at <= within) / PREFIXES

    def complete(self) -> bool:
        """Whether everything was read once."""
        return len(self.prefixes) == PREFIXES


def parts_of(size: int) -> int:
    """In how many parts a repository of this size is read."""
    parts = _FEWEST_PARTS
    while parts < PREFIXES and size > parts * _LARGEST_PART:
        parts *= 2
    return parts


def due_parts(reading: Reading, now: datetime, within: timedelta, of: int, name: str) -> list[Part]:
    """The parts that are due, that which waits longest first.

    Args:
        reading: What was read.
        now: R2's time.
        within: How soon everything must have been read.
        of: In how many parts.
        name: What spreads the repositories of a fleet over the time.
    """
    first = hashlib.sha256(name.encode()).digest()[0]
    cycle = within * _SHARE

    def due(prefix: int) -> datetime:
        if prefix in reading.prefixes:
            return reading.prefixes[prefix].at + cycle
        # In turn, those of a part together: the last bit counts most.
        turn = int(f"{prefix:08b}"[::-1], 2) + first
        return reading.begun + cycle * (turn % PREFIXES / PREFIXES)

    parts = [Part(number, of, min(map(due, range(number - 1, PREFIXES, of)))) for number in range(1, of + 1)]
    return sorted((part for part in parts if part.due <= now), key=lambda part: (part.due, part.number))


def overdue(reading: Optional[Reading], created: datetime, now: datetime, within: timedelta) -> Optional[str]:
    """The problem of the reading of a repository, in a sentence; nothing when all is well.

    Args:
        reading: What was read; None when nothing ever was.
        created: When the repository was made, which is when its time begins.
        now: R2's time.
        within: How soon everything must have been read.
    """
    if reading is not None and reading.damaged:
        names = sorted(reading.damaged)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        found = format_date(min(reading.damaged.values()).replace(microsecond=0))
        return (
            f"Stored data is damaged, found by the playbook check on {found}: pack {', '.join(names[:3])}{more}; repair it as "
            "docs/recovery.md says (A pack that is missing or damaged)."
        )
    since = created if reading is None else reading.oldest()
    if now - since <= within:
        return None
    days = f"{within.total_seconds() / 86400:g} days"
    if reading is None:
        return f"The stored data was never read, and all of it must be within {days}: schedule the playbook check."
    unread = int(100 * (1 - reading.share(now, within)))
    return (
        f"{unread or 1}% of the stored data was not read in the last {days}: run the playbook check, at least "
        "every few days, and give it the time that it needs (holdfast_check_seconds)."
    )


def to_data(reading: Reading) -> dict[str, Any]:
    """The reading as the file has it."""
    return {
        "begun": format_date(reading.begun),
        "prefixes": {
            f"{prefix:02x}": {"read": format_date(read.at), "packs": read.packs, "bytes": read.size}
            for prefix, read in sorted(reading.prefixes.items())
        },
        "damaged": {pack: format_date(at) for pack, at in sorted(reading.damaged.items())},
    }


def from_data(data: Any) -> Reading:
    """The reading of a file. Raises ReadingError when the file is damaged."""
    try:
        prefixes = {
            int(prefix, 16): Read(_date(read["read"]), int(read["packs"]), int(read["bytes"]))
            for prefix, read in data["prefixes"].items()
        }
        damaged = {pack: _date(at) for pack, at in data["damaged"].items()}
        begun = _date(data["begun"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReadingError("It does not say which data was read when.") from error
    if not all(0 <= prefix < PREFIXES for prefix in prefixes) or not all(map(_PACK.fullmatch, damaged)):
        raise ReadingError("It names a prefix or a pack that cannot be.")
    return Reading(begun, prefixes, damaged)


def _date(text: Any) -> datetime:
    found = parse_date(text)
    if found is None:
        raise ValueError(text)
    return found
