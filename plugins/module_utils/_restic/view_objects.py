# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects that go through a view, and errors as restic gets them. Pure but for files.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import IO, Protocol

from .._common.errors import HoldfastError

CHUNK = 1 << 18

GONE, REFUSED, FAILED, NO_RANGE, TOO_LARGE, NO_LENGTH = 404, 403, 502, 416, 413, 411


class ViewError(HoldfastError):
    """The request of restic cannot be done.

    Args:
        message: The sentence.
        status: The HTTP status of it; restic tries again after 502 only.
    """

    def __init__(self, message: str, status: int = REFUSED) -> None:
        super().__init__(message)
        self.status = status


class Source(Protocol):
    def read(self, size: int, /) -> bytes:
        """So many bytes, or the rest."""


@dataclass(frozen=True)
class Added:
    """An object that restic added: its size, its ETag (empty where it stayed on the node) and its digests."""

    size: int
    etag: str
    sha256: str
    md5: str


def spooled(stream: Source, size: int, spool: IO[bytes]) -> Added:
    """Take exactly so many bytes of the stream into a file."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    left = size
    while left:
        chunk = stream.read(min(CHUNK, left))
        if not chunk:
            raise ViewError("The connection ended before the object did.", FAILED)
        left -= len(chunk)
        sha256.update(chunk)
        md5.update(chunk)
        spool.write(chunk)
    return Added(size, "", sha256.hexdigest(), md5.hexdigest())
