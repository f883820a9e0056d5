# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes down the changes of a maintenance before it makes them, so that the next one knows the traces of one that died.

One file beside the baseline, on the maintenance node. It is there while a maintenance runs, and after one that did not come
to its end. A line that cannot be read tells nothing, and what is not told is judged like everything else.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from .._common.record import RecordError, stored

NAME = "pending"


@dataclass(frozen=True)
class Pending:
    """The written-down changes.

    Args:
        added: Size and ETag of what was about to be added, by key below the prefix.
        deletes: The keys below the prefix of what was about to be deleted.
    """

    added: dict[str, tuple[int, str]] = field(default_factory=dict)
    deletes: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.added or self.deletes)


def load(folder: str) -> Pending:
    """Read the changes in the folder of a record."""
    found = Pending()
    for line in (stored(folder, NAME) or b"").splitlines():
        with suppress(ValueError, KeyError, TypeError):
            said = json.loads(line)
            if "added" in said:
                found.added[str(said["added"])] = (int(said["size"]), str(said["etag"]))
            else:
                found.deletes.update(map(str, said["deletes"]))
    return found


def adds(folder: str, key: str, size: int, etag: str) -> None:
    """Write down the next additions."""
    _append(folder, {"added": key, "size": size, "etag": etag})


def deletes(folder: str, keys: Iterable[str]) -> None:
    """Write down the next deletes."""
    _append(folder, {"deletes": sorted(keys)})


def clear(folder: str) -> None:
    """All is done."""
    path = os.path.join(folder, NAME)
    try:
        with suppress(FileNotFoundError):
            os.unlink(path)
    except OSError as error:
        raise RecordError(f"{path} cannot be removed: {error.strerror}.") from error


def _append(folder: str, said: dict[str, Any]) -> None:
    path = os.path.join(folder, NAME)
    # In one piece, for several may write at a time; after a line end, for the last line may be cut.
    line = b"\n" + json.dumps(said, separators=(",", ":")).encode() + b"\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as stream:
            stream.write(line)
            os.fsync(descriptor)
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {error.strerror}.") from error
