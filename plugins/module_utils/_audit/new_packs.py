# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads exactly the new packs, in batches that fit on the disk, and tells their real contents.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .._common.parallel import in_parallel
from .._r2.s3 import S3, S3Error
from .._restic.cli import TooLargeError
from .index_claims import PackContents
from .scratch import Scratch

# What is on the disk at a time, in bytes: so much, or one pack.
BATCH = 512 << 20
# restic's packs have at most 128 MiB (doc/047_tuning_backup_parameters.rst, pack size) and the blob that filled them.
LARGEST = 1 << 30
_DOWNLOADS = 4
_ATTEMPTS = 3


class PackFile(NamedTuple):
    """A pack as the bucket lists it: its size in bytes, when it was stored in seconds since 1970."""

    size: int
    stored: int


@dataclass
class Figures:
    """How much was read: packs and index objects, and the bytes of both."""

    packs: int = 0
    indexes: int = 0
    bytes: int = 0
    # The packs that need more memory than those of restic do.
    too_large: set[str] = field(default_factory=set)
    # Called when they became more.
    more: Callable[[], object] = lambda: None

    def told(self) -> dict[str, int]:
        """The figures as a module returns them."""
        return {"packs": self.packs, "indexes": self.indexes, "bytes": self.bytes}


def pack_key(name: str) -> str:
    """The key of a pack, below the repository's prefix."""
    return f"data/{name[:2]}/{name}"


def contents(
    s3: S3, prefix: str, scratch: Scratch, packs: Mapping[str, PackFile], figures: Figures, batch: int = BATCH
) -> dict[str, PackContents]:
    """The real contents of these packs; those that are not intact, or too large to be restic's, are left out.

    Args:
        s3: The bucket.
        prefix: The repository in it.
        scratch: Where they are put for a moment.
        packs: The packs, as the bucket lists them.
        figures: Told what was read.
        batch: How many bytes to have on the disk at a time.
    """

    def download(name: str, attempts: int = _ATTEMPTS) -> None:
        try:
            s3.download(prefix + pack_key(name), scratch.path(pack_key(name)))
        except OSError as error:
            raise scratch.full(error) from error
        except S3Error as error:
            # A connection that breaks in the middle of a body is not tried again by the library.
            if error.status or attempts == 1:
                raise
            download(name, attempts - 1)

    found: dict[str, PackContents] = {}
    for names in batches({name: pack.size for name, pack in packs.items()}, batch):
        try:
            in_parallel(download, names, _DOWNLOADS)
            figures.packs += len(names)
            figures.bytes += sum(packs[name].size for name in names)
            figures.more()
            found.update(scratch.contents())
        except TooLargeError:
            scratch.remove(pack_key(name) for name in names)
            if len(names) == 1:
                figures.too_large.update(names)
                continue
            # Which one it is, is told by halves.
            for half in (names[::2], names[1::2]):
                found.update(contents(s3, prefix, scratch, {name: packs[name] for name in half}, figures, batch))
        finally:
            scratch.remove(pack_key(name) for name in names)
    return found


def batches(sizes: Mapping[str, int], limit: int) -> Iterator[list[str]]:
    """Names in lists that are together no larger than the limit, or one long; without what is too large for a pack."""
    batch: list[str] = []
    room = limit
    for name, size in _plausible(sizes.items()):
        if batch and size > room:
            yield batch
            batch, room = [], limit
        batch.append(name)
        room -= size
    if batch:
        yield batch


def _plausible(sizes: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    return ((name, size) for name, size in sizes if size <= LARGEST)
