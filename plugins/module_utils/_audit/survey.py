# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks a bucket, in as few rounds as can be, for all that is judged of a repository.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Optional, TypeVar

from .._common.errors import HoldfastError
from .._common.parallel import in_parallel
from .._locks.probe import LockProbe
from .._locks.rules import lock_set
from .._r2.s3 import S3, S3Error, S3Object
from .._restic.view import LOCK_BYTES

# A backup writes packs first, then the index, then the snapshot: listed backwards, what each names is listed, too.
# More are not listed, unless so many are known: the packs of eight terabytes. Each takes half a KiB of memory.
MOST_LISTED = 500_000
_IN_TURN = ("snapshots/", "index/", "data/")
_RESTIC_NAME = re.compile(r"[0-9a-f]{64}")
_REQUESTS = 8
_Item = TypeVar("_Item")


class TooManyObjectsError(HoldfastError):
    """The bucket holds more objects than are listed."""


@dataclass(frozen=True)
class Survey:
    """The objects of a repository in a bucket, and others beside them.

    Args:
        objects: What the lock set holds, by key.
        locks: What is below locks/, by key.
        top: The names of what is directly below the repository's prefix; folders end with a slash.
        uploads: The keys of unfinished multipart uploads, without the prefix.
        states: The state of each prefix of the lock set by a probe; empty without one.
    """

    objects: dict[str, S3Object] = field(default_factory=dict)
    locks: dict[str, S3Object] = field(default_factory=dict)
    top: frozenset[str] = frozenset()
    uploads: tuple[str, ...] = ()
    states: dict[str, str] = field(default_factory=dict)

    def restic_locks(self) -> dict[str, S3Object]:
        """Those that restic could have written: a host that writes others must not hold up maintenance."""
        return {
            key: item
            for key, item in self.locks.items()
            if _RESTIC_NAME.fullmatch(key.rpartition("/")[2]) and 0 < item.size <= LOCK_BYTES
        }

    def odd_locks(self) -> list[str]:
        """Objects among restic's locks that restic does not write, without the prefix."""
        odd = self.locks.keys() - self.restic_locks().keys()
        return sorted(key[key.rindex("locks/") :] for key in odd)


def survey(
    s3: S3, prefix: str, probe: Optional[LockProbe] = None, uploads: bool = False, most: Optional[int] = MOST_LISTED
) -> Survey:
    """Look at all of it.

    Args:
        s3: The bucket.
        prefix: The prefix of the repository.
        probe: Asks whether the locks are in force; None to leave that out.
        uploads: Ask for uploads that were not ended.
        most: How many objects are listed in each folder at most; None for any number.

    Raises:
        TooManyObjectsError: There are more.
    """
    work: dict[str, Callable[[], Any]] = {"found": lambda: _found(s3, prefix, most)}
    if uploads:
        work["uploads"] = lambda: _uploads(s3, prefix)
    if probe:
        work["states"] = probe.states
    answers = in_parallel(lambda name: work[name](), work, len(work))
    objects, locks, top = answers["found"]
    return Survey(objects, locks, top, answers.get("uploads", ()), answers.get("states", {}))


def _found(s3: S3, prefix: str, most: Optional[int]) -> tuple[dict[str, S3Object], dict[str, S3Object], frozenset[str]]:
    held = tuple(rule["prefix"] for rule in lock_set(prefix))
    few = s3.few(prefix)
    if few is None:
        return _many(s3, prefix, held, most)
    objects = {item.key: item for item in few if item.key.startswith(held)}
    locks = {item.key: item for item in few if item.key.startswith(f"{prefix}locks/")}
    return objects, locks, frozenset(_top(item.key[len(prefix) :] for item in few))


def _top(keys: Iterable[str]) -> Iterable[str]:
    return (first + slash for first, slash, _rest in (key.partition("/") for key in keys))


def _many(
    s3: S3, prefix: str, held: tuple[str, ...], most: Optional[int]
) -> tuple[dict[str, S3Object], dict[str, S3Object], frozenset[str]]:
    """The same where one answer does not hold all keys."""

    def listed(*prefixes: str) -> dict[str, S3Object]:
        return {item.key: item for one in prefixes for item in at_most(s3, one, most)}

    in_turn = [prefix + name for name in _IN_TURN]
    work: dict[str, Callable[[], Any]] = {
        "data": lambda: listed(*in_turn),
        "rest": lambda: listed(*(one for one in held if one not in in_turn)),
        "locks": lambda: listed(f"{prefix}locks/"),
        "top": lambda: frozenset(_bounded(s3, prefix, s3.folders(prefix), most)),
    }
    found = in_parallel(lambda name: work[name](), work, _REQUESTS)
    return {**found["data"], **found["rest"]}, found["locks"], found["top"]


def at_most(s3: S3, prefix: str, most: Optional[int] = MOST_LISTED) -> Iterator[S3Object]:
    """The objects below a prefix; raises TooManyObjectsError when there are more than so many."""
    return _bounded(s3, prefix, s3.iterate(prefix), most)


def _bounded(s3: S3, prefix: str, found: Iterable[_Item], most: Optional[int]) -> Iterator[_Item]:
    for number, item in enumerate(found):
        if most is not None and number >= most:
            raise TooManyObjectsError(
                f"Bucket {s3.bucket} holds more than {most} objects below {prefix}, far more than are known: the host may be "
                "filling it. No more were listed, and no window is opened. Look at the host; if all is well, run restic_audit "
                "with baseline=update, which lists any number."
            )
        yield item


def _uploads(s3: S3, prefix: str) -> tuple[str, ...]:
    """Keys that may only read may not be told, and nothing hangs on it."""
    try:
        return tuple(key[len(prefix) :] for key in s3.uploads(prefix))
    except S3Error as error:
        if error.status in (401, 403):
            return ()
        raise
