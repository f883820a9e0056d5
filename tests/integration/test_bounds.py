# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects that are small in the bucket and large when they are read: they are named, and cost the node little."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.scratch import LocalRepository
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import cli as _restic
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Restic, TooLargeError

from tests.support.maintenance import PREFIX, LockedRepository
from tests.support.repository_format import Key, inflated, name_of

SIZE = 1 << 30


def master(restic: Restic) -> Key:
    return Key.from_json(json.loads(restic.succeed(["cat", "masterkey", "--no-lock"]).stdout))


def plant(site: LockedRepository, kind: str, content: bytes) -> str:
    """Add an object under the name that its content has; its key."""
    key = f"{kind}/{name_of(content)}"
    site.add(key, content)
    return PREFIX + key


def finding(result: dict[str, Any], code: str) -> dict[str, Any]:
    found = [one for one in result["findings"] if one["code"] == code]
    assert found and found[0]["severity"] == "block", result["findings"]
    return found[0]


@pytest.mark.long
def test_an_index_object_that_becomes_a_gigabyte(site: LockedRepository) -> None:
    content = master(site.bed.restic).seal(inflated(b'{"packs":[]', b"}", SIZE))
    assert len(content) < 50_000
    planted = plant(site, "index", content)
    found = finding(site.audit(), "index_unreadable")
    assert found["objects"] == [planted] and re.search(r"more than 2\d\d MiB of memory", found["evidence"])
    assert "No window is opened" in site.prune()["msg"]


@pytest.mark.long
def test_a_snapshot_that_becomes_a_gigabyte(site: LockedRepository) -> None:
    restic = site.bed.restic
    document = json.loads(restic.succeed(["cat", "snapshot", site.ids[-1], "--no-lock"]).stdout)
    head, tail = json.dumps({**document, "hostname": "HERE"}).encode().split(b"HERE")
    planted = plant(site, "snapshots", master(restic).seal(inflated(head, tail, SIZE, b"A")))
    result = site.prune()
    assert finding(result, "oversized_object")["objects"] == [planted]
    assert len(json.dumps(result)) < 100_000


@pytest.mark.long
def test_a_snapshot_with_a_long_text(site: LockedRepository) -> None:
    """It fits into the memory, and would be in every result and every log."""
    restic = site.bed.restic
    document = json.loads(restic.succeed(["cat", "snapshot", site.ids[-1], "--no-lock"]).stdout)
    planted = plant(site, "snapshots", master(restic).seal_json({**document, "hostname": "A" * 300_000}))
    # It is larger than any snapshot already as it is stored.
    result = site.prune()
    assert finding(result, "oversized_object")["objects"] == [planted]
    assert len(json.dumps(result)) < 100_000


@pytest.mark.long
def test_locks_that_are_not_those_of_restic_hold_up_nothing(site: LockedRepository) -> None:
    """One with a name in capitals, one that becomes large when it is read, one of no bytes."""
    text = inflated(b'{"time":"2026-11-26T00:00:00Z","exclusive":false,"hostname":"x"', b"}", SIZE)
    planted = [plant(site, "locks", content) for content in (master(site.bed.restic).seal(text), b"")]
    site.add("locks/" + "AB" * 32, b"x" * 100)
    result = site.prune()
    assert "failed" not in result and result["removed"], result
    found = [one for one in result["findings"] if one["code"] == "unexpected_object"]
    assert {*planted, f"{PREFIX}locks/" + "AB" * 32} <= set(found[0]["objects"])


@pytest.mark.long
@pytest.mark.parametrize(("kind", "size"), [("index", (32 << 20) + 1), ("keys", (64 << 10) + 1)])
def test_what_is_large_in_the_bucket_is_not_read(site: LockedRepository, kind: str, size: int) -> None:
    planted = plant(site, kind, bytes(size))
    result = site.audit()
    assert planted in finding(result, "oversized_object")["objects"]
    assert result["read"]["bytes"] < 1 << 20


@pytest.mark.sample(of="stories")
def test_an_index_object_whose_text_is_much_longer_than_what_restic_writes(site: LockedRepository) -> None:
    """Its text fits into the memory; that of two thousand like it does not."""
    planted = plant(site, "index", master(site.bed.restic).seal(inflated(b'{"packs":[]', b"}", 1 << 20)))
    found = finding(site.audit(), "index_unreadable")
    assert found["objects"] == [planted] and "answered more than" in found["evidence"]


@pytest.mark.long
def test_a_key_that_costs_a_gigabyte_to_open_keeps_nobody_from_reading(site: LockedRepository) -> None:
    """Where no record names the key, restic tries all that are there, and is ended."""
    document = {"kdf": "scrypt", "N": 1 << 20, "r": 8, "p": 1, "hostname": "x"}
    salt, data = (base64.b64encode(os.urandom(size)).decode() for size in (64, 200))
    number = 0
    content = b""
    # restic tries them in the order of their names.
    while not content or not name_of(content).startswith("00"):
        number += 1
        content = json.dumps(
            {**document, "created": "2026-01-01T00:00:00Z", "username": f"root{number}", "salt": salt, "data": data}
        ).encode()
    plant(site, "keys", content)
    recorded = {"record_dir": str(site.bed.record_dir)}
    for module in ("restic_check", "restic_snapshot_info"):
        result = site.bed.module(module)
        assert result["failed"] and "needed more than 320 MiB of memory" in result["msg"], result
        assert "failed" not in site.bed.module(module, **recorded)
    other = site.bed.module("restic_check", **recorded, repository_id="0" * 64)
    assert other["failed"] and "another repository is in its place" in other["msg"]


def fat_tree(key: Key, number: int, size: int) -> tuple[str, bytes, int]:
    """A folder with one file, whose owner has a name of so many bytes: id, blob, and length of its text."""
    head, tail = b'{"nodes":[{"name":"%d","type":"file","content":[],"user":"' % number, b'"}]}\n'
    digest = hashlib.sha256(head)
    for _each in range(size >> 20):
        digest.update(b"A" * (1 << 20))
    digest.update(tail)
    return digest.hexdigest(), key.seal(inflated(head, tail, size, b"A")[1:]), len(head) + size + len(tail)


@pytest.mark.sample(of="stories")
def test_folders_that_become_large_end_restic_and_not_the_machine(
    restic_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them is read without trouble; prune and check read several at a time."""
    folder = tmp_path / "repository"
    repository = LocalRepository("", "web1", "", "", "", None, "x", folder=str(folder))
    restic = Restic(repository, path=restic_path, cache_dir=str(tmp_path / "cache"))
    restic.succeed(["init"])
    key = master(restic)
    trees = [fat_tree(key, number, 64 << 20) for number in range(6)]
    nodes = [{"name": str(number), "type": "dir", "subtree": tree[0]} for number, tree in enumerate(trees)]
    root = json.dumps({"nodes": nodes}).encode() + b"\n"
    trees.append((hashlib.sha256(root).hexdigest(), key.seal(b"\x28\xb5\x2f\xfd" + b"\x00\x50" + raw(root)), len(root)))
    header, body, blobs = b"", b"", []
    for name, blob, length in trees:
        header += struct.pack("<BII", 3, len(blob), length) + bytes.fromhex(name)
        blobs.append(
            {"id": name, "type": "tree", "offset": len(body), "length": len(blob), "uncompressed_length": length}
        )
        body += blob
    sealed = key.seal(header)
    pack = body + sealed + struct.pack("<I", len(sealed))
    snapshot = {"time": "2026-01-01T00:00:00Z", "tree": trees[-1][0], "paths": ["/x"], "hostname": "web1"}
    index = {"packs": [{"id": name_of(pack), "blobs": blobs}]}
    for kind, content in (("data", pack), ("index", key.seal_json(index)), ("snapshots", key.seal_json(snapshot))):
        name = name_of(content)
        (folder / kind / (name[:2] if kind == "data" else "") / name).write_bytes(content)
    assert restic.errors() == []
    monkeypatch.setattr(_restic, "half_of_memory", lambda: 200 << 20)
    with pytest.raises(TooLargeError, match="needed more than 200 MiB of memory"):
        restic.errors()


def raw(text: bytes) -> bytes:
    """The last block of a compressed text, as it is (RFC 8878)."""
    return (len(text) << 3 | 1).to_bytes(3, "little") + text
