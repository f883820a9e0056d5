# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the claims of an index object: which packs hold which blobs. Pure.

Every owner of the password can write an index object, so its JSON may be anything that restic's own reader still takes. What
is not exactly as restic writes it is refused, or the two readers could understand two different things.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from .._common.errors import HoldfastError

# Of each blob's id only so many bytes are kept: enough to recognise a blob, and an eighth of the text.
SHORT = 8
# The longest text of an index object that is read, in bytes. restic begins a new object after 150,000 blobs
# (internal/repository/index/index.go, indexMaxBlobsCompressed), which are some 28 MB of text.
LARGEST_TEXT = 64 << 20
# How many times longer than the object its text may be: the id of each blob is random, and takes 32 bytes of at most 160 however
# it is compressed, or half of that where a blob is named twice. And what a short text may have at least.
_LONGER, _SHORT_TEXT = 16, 16 << 10
# What a blob takes of a pack at least, in bytes: what encryption adds to it, and its entry in the header (doc/design.rst, "Pack
# Format").
_LEAST_BLOB = 32 + 37
# How many packs that are not there an index object may name to be read to its end.
_MOST_ABSENT = 1000


def _tokens(*tokens: str) -> re.Pattern[str]:
    """A pattern for these tokens of JSON, with any white space before, between and after them."""
    space = r"[ \t\r\n]*"
    return re.compile(space + space.join(tokens) + space)


_ID = r'"([0-9a-f]{64})"'
_NUMBER = r"(0|[1-9][0-9]{0,18})"
# restic: internal/repository/index/index.go, jsonIndex, packJSON and blobJSON.
_SUPERSEDES, _SUPERSEDED = _tokens('"supersedes"', ":", r"\["), _tokens(_ID)
_PACKS = _tokens('"packs"', ":", r"\[")
_PACK = _tokens(r"\{", '"id"', ":", _ID, ",", '"blobs"', ":", r"\[")
_BLOB = _tokens(
    r"\{", '"id"', ":", _ID, ",", '"type"', ":", '"(data|tree)"', ",", '"offset"', ":", _NUMBER, ",", '"length"', ":",
    _NUMBER, "(?:,", '"uncompressed_length"', ":", _NUMBER, r")?\}",
)  # fmt: skip
_OPEN, _CLOSE, _COMMA, _END_LIST, _END = (_tokens(token) for token in (r"\{", r"\}", ",", r"\]", r"\Z"))


class ClaimsError(HoldfastError):
    """An index object is not as restic writes it."""


class PackWeight(NamedTuple):
    """How much content a pack holds, in bytes: all of it before it was compressed, and what files' content takes in the pack that
    could not be compressed to half of its length.
    """

    plain: int
    dense: int


@dataclass(frozen=True)
class PackContents:
    """The blobs of a pack.

    Args:
        digest: The SHA-256 of the sorted list of its blobs: types, ids, offsets and lengths.
        blobs: The first SHORT bytes of the id of each blob, one after the other.
        weight: How much content that is; None where it was not told yet.
    """

    digest: str
    blobs: bytes
    weight: Optional[PackWeight] = field(default=None, compare=False)

    def short_ids(self) -> Iterable[bytes]:
        return (self.blobs[start : start + SHORT] for start in range(0, len(self.blobs), SHORT))


# What is known of a pack that is not there.
UNKNOWN = PackContents("", b"")


def short_id(name: str) -> bytes:
    """The part of a blob's id that is kept."""
    return bytes.fromhex(name)[:SHORT]


def longest_text(stored: int) -> int:
    """How long the text of an index object may be that takes so many bytes in the bucket."""
    return min(_SHORT_TEXT + _LONGER * stored, LARGEST_TEXT)


class _Reader:
    """Takes one token after the other: memory grows with what is kept, not with what a text can be made to mean."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0

    def may(self, pattern: re.Pattern[str]) -> Optional[re.Match[str]]:
        found = pattern.match(self.text, self.place)
        if found:
            self.place = found.end()
        return found

    def must(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = self.may(pattern)
        if found is None:
            raise self.strange()
        return found

    def strange(self) -> ClaimsError:
        return ClaimsError(f"it is not as restic writes it (from character {self.place})")

    def items(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """The items of a list whose bracket was opened, up to its end."""
        if self.may(_END_LIST):
            return
        yield self.must(pattern)
        while not self.may(_END_LIST):
            self.must(_COMMA)
            yield self.must(pattern)

    def superseded(self) -> bool:
        """Skip the list of the index objects that this one replaces; whether there is one."""
        there = self.may(_SUPERSEDES) is not None
        for _item in self.items(_SUPERSEDED) if there else ():
            pass
        return there


def claims(text: str, sizes: Optional[Mapping[str, int]] = None) -> dict[str, PackContents]:
    """The contents of each pack, by its id, as `restic cat index` prints them.

    Args:
        text: What it printed.
        sizes: The sizes of the packs that are there: no more blobs are believed than fit in, and of others none are kept.

    Raises:
        ClaimsError: It is not as restic writes it.
    """
    reader = _Reader(text)
    reader.must(_OPEN)
    superseding = reader.superseded()
    if superseding:
        reader.must(_COMMA)
    reader.must(_PACKS)
    found: dict[str, PackContents] = {}
    absent = 0
    for pack in reader.items(_PACK):
        if pack[1] in found:
            raise ClaimsError(f"it is not as restic writes it (pack {pack[1]} twice)")
        absent += sizes is not None and pack[1] not in sizes
        if absent > _MOST_ABSENT:
            raise ClaimsError(f"it names more than {_MOST_ABSENT} packs that are not there")
        found[pack[1]] = _claimed(pack[1], reader.items(_BLOB), sizes)
        reader.must(_CLOSE)
    if not superseding and reader.may(_COMMA) and not reader.superseded():
        raise reader.strange()
    reader.must(_CLOSE)
    reader.must(_END)
    return found


def _claimed(pack: str, blobs: Iterable[re.Match[str]], sizes: Optional[Mapping[str, int]]) -> PackContents:
    if sizes is None:
        return _contents(blobs)
    if pack in sizes:
        return _contents(_fitting(pack, blobs, sizes[pack]))
    for _blob in blobs:
        pass
    return UNKNOWN


def _fitting(pack: str, blobs: Iterable[re.Match[str]], size: int) -> Iterator[re.Match[str]]:
    for number, blob in enumerate(blobs, 1):
        if number * _LEAST_BLOB > size:
            raise ClaimsError(f"it names more blobs in pack {pack[:12]} than {size} bytes can hold")
        yield blob


def _contents(blobs: Iterable[re.Match[str]]) -> PackContents:
    plain = dense = 0
    lines = []
    for blob in blobs:
        lines.append(f"{blob[1]} {blob[2]} {blob[3]} {blob[4]} {blob[5] or 0}")
        packed = int(blob[4])
        length = int(blob[5] or packed)
        plain += length
        dense += packed if blob[2] == "data" and 2 * packed > length else 0
    lines.sort()
    digest = hashlib.sha256()
    for number, line in enumerate(lines):
        digest.update(f"\n{line}".encode() if number else line.encode())
    short = b"".join(short_id(line[:64]) for line in lines)
    return PackContents(digest.hexdigest(), short, PackWeight(plain, dense))
