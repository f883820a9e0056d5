# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a view of a repository: its judged objects and the additions of restic, and nothing else of the bucket.

restic reads, writes and deletes in the view. Reads come from the bucket, by exact key, and only as they were judged; what
is added goes into the bucket, never over anything; what is deleted is written down.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import IO, Optional, Union

from .._r2.s3 import S3, S3Error, S3Object
from .view_objects import CHUNK, FAILED, GONE, NO_RANGE, TOO_LARGE, Added, Source, ViewError, spooled

KINDS = ("data", "index", "keys", "locks", "snapshots")
_NAME = re.compile(r"config|(?:index|keys|snapshots)/[0-9a-f]{64}|data/([0-9a-f]{2})/\1[0-9a-f]{62}")
_LOCK = re.compile(r"locks/[0-9a-f]{64}")
# Where restic writes and deletes in the work of this collection; a repository is never made anew by the way.
_CHANGED = ("data", "index", "snapshots")

# restic's locks have some 200 bytes; what is larger could hold a text that becomes large when it is decompressed.
LOCK_BYTES = 2 << 10
LOCK_COUNT = 1000
# How many names below locks/ are looked at in search of locks.
_LOCK_NAMES = 10 * LOCK_COUNT
# More than any object that restic writes: packs have up to 128 MiB, and a blob of 8 MiB may come on top.
LARGEST = 512 << 20
_PROBLEMS = 100


@dataclass(frozen=True)
class Reading:
    """An object, or a range of it, to be read once."""

    size: int
    total: int
    chunks: Iterator[bytes]


class View:
    """The objects that restic sees of a repository. Safe for threads.

    Attributes:
        added: What restic added, by key below the prefix.
        deleted: The keys below the prefix that restic deleted, in order. They are all still there.
        lock_bodies: The locks that restic wrote, the last of them also when they are gone; they are nowhere else.
        problems: What must not be: objects that are not as they were judged, additions that met another object.
        requests: How many requests came, by method.
        full: Whether something was refused because it did not fit into the folder for additions.

    Args:
        s3: The bucket.
        prefix: The prefix of the repository, empty or with a slash at its end.
        judged: The objects that were judged, by their full key; only those with names that restic gives are in the view.
        locks: "own": restic sees no locks but its own. "live": it sees those of others too, and deletes them really.
        additions: "bucket", or a folder in which additions stay, so that the bucket remains as it is.
        most: How many bytes may be added to that folder.
        key: A key of our own, by its key below the prefix; restic sees it in place of those in the bucket.
        scratch: Where additions wait for being sent; the usual place for temporary files when None.
        announce: Told what is about to be added to the bucket.
        moved: Called at each request.
    """

    def __init__(
        self,
        s3: S3,
        prefix: str,
        judged: Mapping[str, S3Object],
        *,
        locks: str = "own",
        key: Optional[Mapping[str, bytes]] = None,
        additions: Union[str, Path] = "bucket",
        most: int = 10 << 30,
        scratch: Optional[str] = None,
        announce: Callable[[str, Added], object] = lambda key, added: None,
        moved: Callable[[], object] = lambda: None,
    ) -> None:
        self.s3 = s3
        self.announce = announce
        self.moved = moved
        self.prefix = prefix
        self.live = locks == "live"
        self._key = dict(key or {})
        self.folder = None if additions == "bucket" else Path(additions)
        self.most = most
        self.scratch = scratch
        self.added: dict[str, Added] = {}
        self.deleted: list[str] = []
        self.lock_bodies: dict[str, bytes] = {}
        self.problems: list[str] = []
        self.requests: Counter[str] = Counter()
        self.full = False
        self._mutex = threading.RLock()
        # Everything that is or was in the view, by key below the prefix; what is gone from it; locks of others.
        self._known: dict[str, S3Object] = {}
        self._gone: set[str] = set()
        self._others: dict[str, S3Object] = {}
        self._kept_here = 0
        self.extend(judged)

    # What is in the view ---------------------------------------------------------------------------------------------

    def extend(self, judged: Mapping[str, S3Object]) -> list[str]:
        """Add objects that were judged since, none of which may be another one now; returns the new keys."""
        with self._mutex:
            changed = [key for key, why in self.differences(judged).items() if why == "changed"]
            if changed:
                raise ViewError(f"{self.prefix}{min(changed)} is not as it was judged.")
            new = self.unknown(judged)
            for item in new.values():
                if not item.etag:
                    raise ViewError(f"The service does not say which object {item.key} is: it has no ETag.")
            self._known.update(new)
            return list(new)

    def unknown(self, objects: Mapping[str, S3Object]) -> dict[str, S3Object]:
        """The objects of a later listing that are not in the view, by key below the prefix."""
        with self._mutex:
            return {key: item for key, item in self._named(objects) if key not in self._known}

    def differences(self, objects: Mapping[str, S3Object]) -> dict[str, str]:
        """The objects that a later listing has otherwise: "missing" or "changed", by key below the prefix.

        What was deleted in the view is still there, and what was added is as it was written.
        """
        with self._mutex:
            known = dict(self._known)
        stored = {key: item for key, item in known.items() if item.etag}
        found = {key: objects.get(self.prefix + key) for key in stored}
        return {
            key: "missing" if item is None else "changed"
            for key, item in found.items()
            if item is None or (item.size, item.etag) != (stored[key].size, stored[key].etag)
        }

    def _named(self, objects: Mapping[str, S3Object]) -> Iterator[tuple[str, S3Object]]:
        for full, item in objects.items():
            key = full[len(self.prefix) :]
            if full.startswith(self.prefix) and _NAME.fullmatch(key):
                yield key, item

    def listed(self, kind: str) -> list[tuple[str, int]]:
        """The names of a kind of objects, with their sizes."""
        others = self._live_locks() if kind == "locks" and self.live else {}
        with self._mutex:
            shown = {**self._known, **others}
            sizes = {key: item.size for key, item in shown.items() if key.startswith(f"{kind}/")}
            if kind == "locks":
                sizes.update({key: len(body) for key, body in self.lock_bodies.items()})
            if kind == "keys" and self._key:
                sizes = {key: len(body) for key, body in self._key.items()}
            sizes = {key: size for key, size in sizes.items() if key not in self._gone}
        return [(key.rpartition("/")[2], size) for key, size in sizes.items()]

    def _live_locks(self) -> dict[str, S3Object]:
        begin = len(self.prefix)
        names = islice(self.s3.iterate(f"{self.prefix}locks/"), _LOCK_NAMES)
        found = [item for item in names if _LOCK.fullmatch(item.key[begin:])]
        fit = [item for item in found if 0 < item.size <= LOCK_BYTES and item.etag][:LOCK_COUNT]
        others = {item.key[begin:]: item for item in fit}
        with self._mutex:
            self._others = others
        return others

    def size(self, key: str) -> int:
        with self._mutex:
            body = self._body(key)
            return len(body) if body is not None else self._item(key).size

    def _own_lock(self, key: str) -> Optional[bytes]:
        return None if key in self._gone else self.lock_bodies.get(key)

    def _body(self, key: str) -> Optional[bytes]:
        """The objects that only the view has: a lock of this restic, or the key of our own."""
        return self._key.get(key) or self._own_lock(key)

    def _item(self, key: str) -> S3Object:
        item = self._others.get(key) if key.startswith("locks/") else self._known.get(key)
        hidden = key in self._gone or (key.startswith("keys/") and self._key)
        if item is None or hidden:
            raise ViewError(f"There is no {key}.", GONE)
        return item

    # Reading ---------------------------------------------------------------------------------------------------------

    def read(self, key: str, first: Optional[int] = None, last: Optional[int] = None) -> Reading:
        """An object, or the bytes from the first to the last of it.

        Raises:
            ViewError: There is none, or it is not what was judged.
        """
        total = self.size(key)
        if first is not None and first >= total:
            raise ViewError(f"{key} has only {total} bytes.", NO_RANGE)
        begin = first or 0
        end = total if first is None or last is None else min(last + 1, total)
        with self._mutex:
            body = self._body(key)
            item = None if body is not None else self._item(key)
        if item is None:
            return Reading(end - begin, total, iter([(body or b"")[begin:end]]))
        if not item.etag:
            return Reading(end - begin, total, self._from_folder(key, begin, end))
        return Reading(end - begin, total, self._from_bucket(item, None if first is None else begin, end))

    def _from_bucket(self, item: S3Object, first: Optional[int], end: int) -> Iterator[bytes]:
        size = end - (first or 0)
        if not size:
            return iter(())
        try:
            length, chunks = self.s3.stream(item, first, None if first is None else end - 1)
        except S3Error as error:
            if error.status not in (404, 412):
                raise ViewError(str(error), FAILED) from error
            if item.key.startswith(f"{self.prefix}locks/"):
                raise ViewError(f"{item.key} is gone.", GONE) from error
            raise self.problem(f"{item.key} is not the object that was judged any more.") from error
        if length != size:
            raise ViewError(f"{length} bytes of {item.key} were answered, {size} are expected.", FAILED)
        return chunks

    def _from_folder(self, key: str, begin: int, end: int) -> Iterator[bytes]:
        with open(self._path(key), "rb") as stream:
            stream.seek(begin)
            while begin < end and (chunk := stream.read(min(CHUNK, end - begin))):
                begin += len(chunk)
                yield chunk

    def count(self, method: str) -> None:
        with self._mutex:
            self.requests[method] += 1
        self.moved()

    def problem(self, sentence: str) -> ViewError:
        """Keep what must not be, and the error for it."""
        with self._mutex:
            if len(self.problems) < _PROBLEMS and sentence not in self.problems:
                self.problems.append(sentence)
        return ViewError(sentence)

    # Writing ---------------------------------------------------------------------------------------------------------

    def add(self, key: str, stream: Source, size: int) -> None:
        """Add an object of so many bytes. The same object once more, after an answer that was lost, is no error.

        Raises:
            ViewError: There is another one, it is not what its name says, or it cannot be stored.
        """
        if key.partition("/")[0] not in (*_CHANGED, "locks"):
            raise self.problem(f"restic tried to write {self.prefix}{key}.")
        if size > (LOCK_BYTES if key.startswith("locks/") else LARGEST):
            raise ViewError(f"{key} is too large: {size} bytes.", TOO_LARGE)
        try:
            with tempfile.TemporaryFile(prefix="holdfast-view-", dir=self.scratch) as spool:
                added = spooled(stream, size, spool)
                if added.sha256 != key.rpartition("/")[2]:
                    raise ViewError(f"{key} does not hold what its name says.")
                self._store(key, added, spool)
        except OSError as error:
            raise self.problem(f"{key} cannot be stored on this machine: {error.strerror or error}.") from error

    def _store(self, key: str, added: Added, spool: IO[bytes]) -> None:
        if key.startswith("locks/"):
            self._keep_lock(key, spool)
            return
        with self._mutex:
            before = self.added.get(key)
            if before and before.sha256 == added.sha256 and key not in self._gone:
                return
            if key in self._known:
                raise self.problem(f"restic tried to replace {self.prefix}{key}.")
        etag = self._send(key, added, spool) if self.folder is None else self._keep(key, added, spool)
        with self._mutex:
            self.added[key] = replace(added, etag=etag)
            self._known[key] = S3Object(self.prefix + key, added.size, datetime.now(timezone.utc), etag)

    def _send(self, key: str, added: Added, spool: IO[bytes]) -> str:
        self.announce(key, added)
        try:
            return self.s3.put_new(self.prefix + key, spool, added.size, added.md5)
        except S3Error as error:
            if error.status == 412:
                raise self.problem(f"Another {self.prefix}{key} was there when restic added it.") from error
            raise ViewError(str(error), FAILED) from error

    def _keep(self, key: str, added: Added, spool: IO[bytes]) -> str:
        with self._mutex:
            if self._kept_here + added.size > self.most:
                self.full = True
                raise self.problem(
                    f"The additions of restic do not fit into the {self.most} bytes that they may take here."
                )
            self._kept_here += added.size
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        spool.seek(0)
        with open(path, "wb") as stream:
            shutil.copyfileobj(spool, stream, CHUNK)
        return ""

    def _path(self, key: str) -> Path:
        return (self.folder or Path()) / key

    def _keep_lock(self, key: str, spool: IO[bytes]) -> None:
        spool.seek(0)
        with self._mutex:
            if len(self.lock_bodies) >= LOCK_COUNT:
                oldest = next((name for name in self.lock_bodies if name in self._gone), None)
                if oldest is None:
                    raise ViewError("restic has too many locks.")
                del self.lock_bodies[oldest]
                self._gone.discard(oldest)
            self.lock_bodies[key] = spool.read()

    def delete(self, key: str) -> None:
        """Write down that an object is deleted; a lock goes really.

        Raises:
            ViewError: There is none, or it is of a kind that is never deleted.
        """
        if key.startswith("locks/"):
            self._delete_lock(key)
            return
        if key.partition("/")[0] not in _CHANGED:
            raise self.problem(f"restic tried to delete {self.prefix}{key}.")
        with self._mutex:
            self._item(key)
            self._gone.add(key)
            self.deleted.append(key)

    def _delete_lock(self, key: str) -> None:
        with self._mutex:
            if self._own_lock(key) is not None:
                self._gone.add(key)
                return
            item = self._item(key)
            del self._others[key]
        try:
            self.s3.delete(item.key)
        except S3Error as error:
            raise ViewError(str(error), FAILED) from error


def key_of(kind: str, name: str) -> Optional[str]:
    """The key below the prefix of an object that restic names, None when it is no name that restic gives."""
    key = f"data/{name[:2]}/{name}" if kind == "data" else f"{kind}/{name}"
    return key if _NAME.fullmatch(key) or _LOCK.fullmatch(key) else None
