# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects that are small in the bucket and large when they are read: they are named, and cost the node little."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import Restic

from tests.support.maintenance import PREFIX, Site
from tests.support.repository_format import Key, inflated, name_of

SIZE = 1 << 30


def master(restic: Restic) -> Key:
    return Key.from_json(json.loads(restic.succeed(["cat", "masterkey", "--no-lock"]).stdout))


def plant(site: Site, kind: str, content: bytes) -> str:
    """Add an object under the name that its content has; its key."""
    key = f"{kind}/{name_of(content)}"
    site.add(key, content)
    return PREFIX + key


def finding(result: dict[str, Any], code: str) -> dict[str, Any]:
    found = [one for one in result["findings"] if one["code"] == code]
    assert found and found[0]["severity"] == "block", result["findings"]
    return found[0]


def test_an_index_object_that_becomes_a_gigabyte(site: Site) -> None:
    content = master(site.bed.restic).seal(inflated(b'{"packs":[]', b"}", SIZE))
    assert len(content) < 50_000
    planted = plant(site, "index", content)
    found = finding(site.audit(), "index_unreadable")
    assert found["objects"] == [planted] and "more than 320 MiB of memory" in found["evidence"]
    assert "No window is opened" in site.prune()["msg"]


def test_a_snapshot_that_becomes_a_gigabyte(site: Site) -> None:
    restic = site.bed.restic
    document = json.loads(restic.succeed(["cat", "snapshot", site.ids[-1], "--no-lock"]).stdout)
    head, tail = json.dumps({**document, "hostname": "HERE"}).encode().split(b"HERE")
    planted = plant(site, "snapshots", master(restic).seal(inflated(head, tail, SIZE, b"A")))
    result = site.prune()
    assert finding(result, "oversized_object")["objects"] == [planted]
    assert len(json.dumps(result)) < 100_000


def test_a_snapshot_with_a_long_text(site: Site) -> None:
    """It fits into the memory, and would be in every result and every log."""
    restic = site.bed.restic
    document = json.loads(restic.succeed(["cat", "snapshot", site.ids[-1], "--no-lock"]).stdout)
    planted = plant(site, "snapshots", master(restic).seal_json({**document, "hostname": "A" * 300_000}))
    # It is larger than any snapshot already as it is stored.
    result = site.prune()
    assert finding(result, "oversized_object")["objects"] == [planted]
    assert len(json.dumps(result)) < 100_000


def test_locks_that_are_not_those_of_restic_hold_up_nothing(site: Site) -> None:
    """One with a name in capitals, one that becomes large when it is read, one of no bytes."""
    text = inflated(b'{"time":"2026-11-26T00:00:00Z","exclusive":false,"hostname":"x"', b"}", SIZE)
    planted = [plant(site, "locks", content) for content in (master(site.bed.restic).seal(text), b"")]
    site.add("locks/" + "AB" * 32, b"x" * 100)
    result = site.prune()
    assert "failed" not in result and result["removed"], result
    found = [one for one in result["findings"] if one["code"] == "unexpected_object"]
    assert {*planted, f"{PREFIX}locks/" + "AB" * 32} <= set(found[0]["objects"])


@pytest.mark.parametrize(("kind", "size"), [("index", (32 << 20) + 1), ("keys", (64 << 10) + 1)])
def test_what_is_large_in_the_bucket_is_not_read(site: Site, kind: str, size: int) -> None:
    planted = plant(site, kind, bytes(size))
    result = site.audit()
    assert planted in finding(result, "oversized_object")["objects"]
    assert result["read"]["bytes"] < 1 << 20
