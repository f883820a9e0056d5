# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an index object claims: which packs hold which blobs. Pure.

Whoever has the password can write an index object, so its JSON may be anything that restic's own reader still takes. What
is not exactly as restic writes it is refused, or the two readers could understand two different things.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import HoldfastError

# Of each blob's id only so many bytes are kept: enough to recognise a blob, and an eighth of the text.
SHORT = 8
_ID = re.compile(r"[0-9a-f]{64}")
# restic: internal/repository/index/index.go, jsonIndex, packJSON and blobJSON.
_INDEX = {"packs", "supersedes"}
_PACK = {"id", "blobs"}
_BLOB = {"id", "type", "offset", "length"}
_SIZE = "uncompressed_length"


class ClaimsError(HoldfastError):
    """An index object is not as restic writes it."""


@dataclass(frozen=True)
class Held:
    """What a pack holds.

    Args:
        digest: The SHA-256 of the sorted list of its blobs: types, ids, offsets and lengths.
        blobs: The first SHORT bytes of the id of each blob, one after the other.
    """

    digest: str
    blobs: bytes

    def short_ids(self) -> Iterable[bytes]:
        return (self.blobs[start : start + SHORT] for start in range(0, len(self.blobs), SHORT))


def short_id(name: str) -> bytes:
    """The part of a blob's id that is kept."""
    return bytes.fromhex(name)[:SHORT]


def claims(text: str) -> dict[str, Held]:
    """What each pack holds, by its id, as `restic cat index` prints it.

    Raises:
        ClaimsError: It is not as restic writes it.
    """
    try:
        index = json.loads(text, object_pairs_hook=_object)
        if not _INDEX >= index.keys() >= {"packs"}:
            raise ValueError("unknown fields")
        found: dict[str, Held] = {}
        for pack in index["packs"]:
            if pack.keys() != _PACK or not _ID.fullmatch(pack["id"]) or pack["id"] in found:
                raise ValueError("a pack that restic does not write")
            found[pack["id"]] = _held(pack["blobs"])
        return found
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ClaimsError(f"it is not as restic writes it ({error})") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field twice")
    return found


def _held(blobs: list[dict[str, Any]]) -> Held:
    lines = []
    for blob in blobs:
        numbers = [blob.get("offset"), blob.get("length"), blob.get(_SIZE, 0)]
        if (
            not _BLOB <= blob.keys() <= _BLOB | {_SIZE}
            or not _ID.fullmatch(blob["id"])
            or blob["type"] not in ("data", "tree")
            or any(isinstance(number, bool) or not isinstance(number, int) or number < 0 for number in numbers)
        ):
            raise ValueError("a blob that restic does not write")
        lines.append(f"{blob['id']} {blob['type']} {' '.join(map(str, numbers))}")
    lines.sort()
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return Held(digest, b"".join(short_id(line[:64]) for line in lines))
