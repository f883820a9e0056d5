# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is taken from an index object, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.index_claims import (
    LARGEST_TEXT,
    SHORT,
    UNKNOWN,
    ClaimsError,
    PackWeight,
    claims,
    longest_text,
    short_id,
)

P, Q, A, B = ("1" * 64, "2" * 64, "a" * 64, "b" * 64)


def blob(name: str = A, **fields: Any) -> dict[str, Any]:
    return {"id": name, "type": "data", "offset": 0, "length": 40, **fields}


def index(*blobs: dict[str, Any], pack: str = P) -> dict[str, Any]:
    return {"packs": [{"id": pack, "blobs": list(blobs)}]}


def test_the_order_does_not_matter_and_everything_else_does() -> None:
    first, second = blob(), blob(B, offset=40, uncompressed_length=9)
    contents = claims(json.dumps(index(first, second)))[P]
    assert contents == claims(json.dumps({**index(second, first), "supersedes": [Q]}))[P]
    assert list(contents.short_ids()) == [short_id(A), short_id(B)] and len(short_id(A)) == SHORT
    for change in ({"offset": 41}, {"length": 41}, {"type": "tree"}, {"uncompressed_length": 8}, {"id": "c" * 64}):
        assert claims(json.dumps(index(first, {**second, **change})))[P].digest != contents.digest
    assert claims('{"packs": []}') == {}


def test_how_much_content_a_pack_holds() -> None:
    """Half of its length is what a blob may take to count as compressed; folders are no content of files."""
    half, more = blob(length=100, uncompressed_length=200), blob(B, offset=100, length=101, uncompressed_length=201)
    never = blob("c" * 64, offset=201, length=50)
    tree = blob("d" * 64, offset=251, length=90, uncompressed_length=100, type="tree")
    contents = claims(json.dumps(index(half, more, never, tree)))[P]
    assert contents.weight == PackWeight(plain=200 + 201 + 50 + 100, dense=101 + 50)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"packs": null}',
        '{"packs": [], "packs": []}',
        # restic's reader does not mind the case of a field's name.
        json.dumps({"packs": [], "Packs": index(blob())["packs"]}),
        json.dumps({"packs": index(blob())["packs"] * 2}),
        json.dumps(index(blob(), pack=P.upper().replace("1", "F"))),
        json.dumps(index(blob(), pack="short")),
        json.dumps({"packs": [{"id": P}]}),
        json.dumps({"packs": [{"id": P, "blobs": None}]}),
        json.dumps(index(blob("short"))),
        json.dumps(index(blob(extra=1))),
        json.dumps(index(blob(type="file"))),
        json.dumps(index(blob(offset=-1))),
        json.dumps(index(blob(offset=1.0))),
        json.dumps(index(blob(length=True))),
        json.dumps(index(blob(length="40"))),
        "[" * 100_000,
        # What would be large in memory when it is read as any JSON, or take long to be found not to fit.
        '{"packs":[' + "[]," * 100_000,
        '{"packs":[' + "{}," * 100_000,
        '{"supersedes":["' + A + '"' + " " * 100_000 + "x",
        '{"packs":[' + " " * 100_000 + "x",
        json.dumps({"supersedes": ["short"], "packs": []}),
        json.dumps({"packs": [], "supersedes": [Q], "more": 1}),
    ],
)
def test_what_restic_does_not_write_is_refused(text: str) -> None:
    with pytest.raises(ClaimsError, match="not as restic writes it"):
        claims(text)


def test_no_more_blobs_are_believed_than_fit_into_a_pack() -> None:
    """A text that repeats one blob is small in the bucket, and would take the node's memory."""
    many = json.dumps(index(*[blob()] * 4))
    assert claims(many, {P: 4 * 69}) == claims(many)
    with pytest.raises(ClaimsError, match="more blobs in pack 111111111111 than 275 bytes can hold"):
        claims(many, {P: 4 * 69 - 1})
    assert claims(many, {Q: 1000}) == {P: UNKNOWN}
    lost = [{"id": f"{number:064x}", "blobs": []} for number in range(1001)]
    assert len(claims(json.dumps({"packs": lost[:-1]}), {})) == 1000
    with pytest.raises(ClaimsError, match="more than 1000 packs that are not there"):
        claims(json.dumps({"packs": lost}), {})


def test_a_text_is_not_much_longer_than_its_object() -> None:
    assert longest_text(100) < 20_000 and longest_text(1 << 20) < 17 << 20
    # All that restic writes in one object: 150,000 blobs.
    assert longest_text(6 << 20) == longest_text(32 << 20) == LARGEST_TEXT
