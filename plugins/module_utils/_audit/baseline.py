# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps the baseline of a repository: the objects that were verified when it was last looked at.

One file beside the record, on the maintenance node, where no backed-up host can write. An object in the baseline need not be
read again: under the lock it cannot change. It is never guessed: a baseline that cannot be read in full is an error.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from .._common.errors import HoldfastError
from .._common.private_file import write_private
from .._common.record import RecordError, stored
from .index_claims import PackContents, PackWeight

NAME = "baseline"
VERSION = 1
# What each object takes in the file, at least: two digests of a pack, and less of the few others.
_BYTES_FOR_EACH = 128

Group = tuple[str, tuple[str, ...]]


class BaselineError(HoldfastError):
    """The baseline is damaged, or that of another repository."""


@dataclass(frozen=True)
class Pack:
    """A pack that was read, or has not changed since.

    Args:
        size: In bytes.
        stored: When the service stored it, in seconds since 1970.
        contents: The blobs that it holds.
    """

    size: int
    stored: int
    contents: PackContents


@dataclass(frozen=True)
class Baseline:
    """The verified objects.

    Args:
        repository_id: Of which repository.
        key_id: Which key opened it.
        snapshots: When each snapshot was stored, in seconds since 1970, by its id.
        indexes: The ids of the index objects.
        packs: What is known of each pack, by its id.
        groups: Host and paths of the snapshots.
        watched: Whether there was a file of signals when it was written: where that is gone, signals may be gone.
    """

    repository_id: str
    key_id: str
    snapshots: dict[str, int] = field(default_factory=dict)
    indexes: frozenset[str] = frozenset()
    packs: dict[str, Pack] = field(default_factory=dict)
    groups: frozenset[Group] = frozenset()
    watched: bool = False

    def only(self, snapshots: Iterable[str], indexes: Iterable[str], packs: Iterable[str]) -> Baseline:
        """The baseline with only these objects."""
        snapshots, packs = set(snapshots), set(packs)
        return replace(
            self,
            snapshots={name: time for name, time in self.snapshots.items() if name in snapshots},
            indexes=self.indexes & set(indexes),
            packs={name: pack for name, pack in self.packs.items() if name in packs},
        )


def digest(folder: str) -> str:
    """A digest of the baseline in the folder of a record; empty when there is none."""
    content = stored(folder, NAME)
    return "" if content is None else hashlib.sha256(content).hexdigest()


def most_known(folder: str) -> int:
    """How many objects the baseline in the folder of a record may know: it is not read for that."""
    try:
        return os.path.getsize(os.path.join(folder, NAME)) // _BYTES_FOR_EACH if folder else 0
    except OSError:
        return 0


def load(folder: str, repository_id: str) -> Optional[Baseline]:
    """The baseline in the folder of a record, None when there is none.

    Raises:
        BaselineError: It is damaged, of an unknown version, or of another repository.
        RecordError: It cannot be read.
    """
    content = stored(folder, NAME)
    if content is None:
        return None
    path = os.path.join(folder, NAME)
    head, _line, body = content.partition(b"\n")
    try:
        header = json.loads(head)
        if header["version"] != VERSION:
            raise BaselineError(f"{path} has version {header['version']}, which this collection does not know.")
        if header["sha256"] != hashlib.sha256(body).hexdigest():
            raise BaselineError(f"{path} is damaged: its checksum is wrong.")
        found = _from_json(json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise BaselineError(f"{path} is damaged: it is not what this collection writes.") from error
    if found.repository_id != repository_id:
        raise BaselineError(f"{path} is that of another repository, {found.repository_id}.")
    return found


def save(folder: str, baseline: Baseline) -> None:
    """Write it, whole or not at all."""
    body = json.dumps(_as_json(baseline), sort_keys=True, separators=(",", ":")).encode()
    head = json.dumps({"version": VERSION, "sha256": hashlib.sha256(body).hexdigest()}).encode()
    path = os.path.join(folder, NAME)
    try:
        write_private(path, head + b"\n" + body)
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {error.strerror}.") from error


def _as_json(baseline: Baseline) -> dict[str, Any]:
    return {
        "repository_id": baseline.repository_id,
        "key_id": baseline.key_id,
        "snapshots": baseline.snapshots,
        "indexes": sorted(baseline.indexes),
        "packs": {
            name: [
                pack.size,
                pack.stored,
                pack.contents.digest,
                base64.b64encode(pack.contents.blobs).decode(),
                *(pack.contents.weight or ()),
            ]
            for name, pack in baseline.packs.items()
        },
        "groups": sorted([host, list(paths)] for host, paths in baseline.groups),
        "watched": baseline.watched,
    }


def _from_json(data: dict[str, Any]) -> Baseline:
    return Baseline(
        repository_id=data["repository_id"],
        key_id=data["key_id"],
        snapshots=dict(data["snapshots"]),
        indexes=frozenset(data["indexes"]),
        packs={
            name: Pack(size, stored_at, _contents(digest, blobs, weight))
            for name, (size, stored_at, digest, blobs, *weight) in data["packs"].items()
        },
        groups=frozenset((host, tuple(paths)) for host, paths in data["groups"]),
        watched=bool(data.get("watched")),
    )


def _contents(digest_of: str, blobs: str, weight: list[int]) -> PackContents:
    # Without a weight: it was written by an earlier version.
    known = PackWeight(*map(int, weight)) if weight else None
    return PackContents(digest_of, base64.b64decode(blobs, validate=True), known)
