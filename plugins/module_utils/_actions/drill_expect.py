# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares a restored tree with what is expected of its files: number, size, and the dates in them. It follows no link.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

from .._common.dates import parse_date
from .._common.durations import parse_duration
from .._common.errors import HoldfastError
from .restore_target import entries

# How much of the beginning and of the end of a file is searched for a date, and in how many files.
_SEARCHED, _MOST_SEARCHED = 1 << 20, 1000


class ExpectError(HoldfastError):
    """The expectation cannot be understood."""


@dataclass
class Expect:
    """What is expected of the files that a pattern fits.

    Attributes:
        path: The pattern, as the snapshot has the paths; `*` stands for any text.
        count: How many there must be at least.
        size: How many bytes they must have together at least.
        max_age: How old the newest of them may be.
        dated: What finds the date in such a file; its time of change counts when there is none.
    """

    path: str
    count: int = 1
    size: int = 0
    max_age: Optional[str] = None
    dated: Optional[str] = None
    found: int = 0
    bytes: int = 0
    newest: Optional[datetime] = None
    searched: int = field(default=0, repr=False)

    def take(self, path: str, status: os.stat_result) -> None:
        """A file that the pattern fits."""
        self.found += 1
        self.bytes += status.st_size
        if self.max_age and self.dated and self.searched < _MOST_SEARCHED:
            self.searched += 1
            self._newer(_date_in(path, self.dated))
        elif self.max_age and not self.dated:
            self._newer(datetime.fromtimestamp(max(0, min(status.st_mtime, 1 << 36)), timezone.utc))

    def _newer(self, moment: Optional[datetime]) -> None:
        if moment and (self.newest is None or moment > self.newest):
            self.newest = moment

    def problem(self, now: datetime) -> Optional[str]:
        """The problem, in a sentence."""
        if self.found < self.count:
            return f"{self.found} files fit {self.path}, and {self.count} are expected."
        if self.bytes < self.size:
            return f"The files that fit {self.path} have {self.bytes} bytes, and {self.size} are expected."
        if not self.max_age:
            return None
        if self.newest is None:
            return f"None of the {self.found} files that fit {self.path} holds a date where {self.dated!r} finds one."
        start = parse_duration(self.max_age, "max_age").before(now)
        if start is None or self.newest < start:
            return f"The newest date in the files that fit {self.path} is {self.newest:%Y-%m-%d %H:%M}, over {self.max_age} ago."
        if self.newest > now + timedelta(days=1):
            return f"The newest date in the files that fit {self.path} is {self.newest:%Y-%m-%d %H:%M}, which is still to come."
        return None


def expects(given: Sequence[Mapping[str, Any]]) -> list[Expect]:
    """The expectations of a job, checked."""
    found = []
    for one in given:
        try:
            re.compile(one.get("dated") or "")
        except re.error as error:
            raise ExpectError(f"dated {one['dated']!r} is no regular expression: {error}.") from error
        parse_duration(one.get("max_age") or "", "max_age")
        found.append(Expect(**{name: value for name, value in one.items() if value is not None}))
    return found


def problems(expected: Sequence[Expect], tree: str, now: datetime) -> list[str]:
    """The lacks of the restored tree, in sentences.

    Args:
        expected: What is expected.
        tree: Where it was restored.
        now: R2's time.
    """
    length = len(tree.rstrip("/"))
    fits = [(re.compile(fnmatch.translate(one.path)), one) for one in expected]
    if fits:
        for path, status in entries(tree):
            if stat.S_ISREG(status.st_mode):
                name = os.fsencode(path[length:]).decode("utf-8", "replace")
                for fit, one in fits:
                    if fit.match(name):
                        one.take(path, status)
    return [told for one in expected for told in [one.problem(now)] if told]


def _date_in(path: str, pattern: str) -> Optional[datetime]:
    """The newest date that the pattern finds at the beginning or the end of a file."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        text = file.read(_SEARCHED)
        file.seek(max(len(text), file.seek(0, os.SEEK_END) - _SEARCHED))
        text += b"\n" + file.read(_SEARCHED)
    dates = [_date(match) for match in re.finditer(pattern, text.decode("utf-8", "replace"))]
    return max((date for date in dates if date), default=None)


def _date(match: re.Match[str]) -> Optional[datetime]:
    text = (match[1] if match.re.groups else match[0]) or ""
    return (
        parse_date(text)
        or parse_date(re.sub(r" +", "T", text.strip()).replace("TUTC", "Z"))
        or parse_date(re.sub(r" +", "T", text.strip()) + "Z")
    )
