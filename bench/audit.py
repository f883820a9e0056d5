# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit reads of an honest repository that has a baseline, beside reading all of it.

A repository of so many packs gets its baseline, which reads everything as `restic check --read-data` does, then one more
backup, and then an audit looks at it. Counted are the requests that the service saw, those of restic among them, and the
sizes of the objects that were read, each once.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any

from bench._scene import BenchRepository, scene

PACKS = (100, 1_000, 10_000)
BLOBS = 4
BLOB_SIZE = 4096
PACKS_OF_AN_INDEX = 2_000
NEW = 4


def measure() -> dict[str, Any]:
    """Requests, bytes and seconds of both, by the number of packs."""
    figures = {}
    for packs in PACKS:
        with scene() as there:
            there.bed.repository()
            there.back_up(NEW, 1 << 16)
            _plant(there, packs)
            figures[f"packs_{packs}"] = _compare(there)
    return figures


def misses(figures: dict[str, Any]) -> list[str]:
    """An audit reads what is new, however large the repository is."""
    least, most = (figures[f"packs_{packs}"]["audit_bytes"] for packs in (PACKS[0], PACKS[-1]))
    return [f"auditor.audit_bytes grows from {least} to {most} with the repository"] if most > 2 * least else []


def _compare(there: BenchRepository) -> dict[str, Any]:
    everything = _counted(there, "everything", baseline="rebuild")
    there.back_up(NEW, 1 << 16)
    ours = _counted(there, "audit", baseline="update")
    ratio = round(ours["audit_bytes"] / everything["everything_bytes"], 5)
    return {**everything, **ours, "bytes_ratio": ratio}


def _counted(there: BenchRepository, name: str, **arguments: Any) -> dict[str, Any]:
    bed = there.bed
    bed.stand_in.clear_log()
    start = time.monotonic()
    done = bed.module("restic_audit", record_dir=str(bed.record_dir), **arguments)
    seconds = time.monotonic() - start
    assert not done.get("failed"), done.get("msg")
    requests = [entry for entry in bed.stand_in.requests() if entry["bucket"] == bed.bucket]
    read = {entry["key"] for entry in requests if entry["kind"] == "GetObject"}
    sizes = {item.key: item.size for item in bed.s3.iterate()}
    return {
        f"{name}_requests": len(requests),
        f"{name}_bytes": sum(sizes.get(key, 0) for key in read),
        f"{name}_seconds": round(seconds, 1),
    }


def _plant(there: BenchRepository, count: int) -> None:
    """Packs and their indexes, written here: backups of so many would take hours."""
    from tests.support.repository_format import Key, name_of

    bed, s3 = there.bed, there.bed.s3
    master = Key.from_json(bed.restic.parse("cat", bed.restic.succeed(["cat", "masterkey", "--no-lock"]).stdout))
    packs = []
    for number in range(count):
        content, blobs = _pack(master)
        name = name_of(content)
        _put(s3, f"data/{name[:2]}/{name}", content)
        packs.append({"id": name, "blobs": blobs})
        if len(packs) == PACKS_OF_AN_INDEX or number == count - 1:
            index = master.seal_json({"packs": packs})
            _put(s3, f"index/{name_of(index)}", index)
            packs = []


def _pack(master: Any) -> tuple[bytes, list[dict[str, Any]]]:
    """Random blobs and a header that tells them: type 0 (data), length, id (restic: doc/design.rst, Pack Format)."""
    content, header, blobs = b"", b"", []
    for _number in range(BLOBS):
        plain = os.urandom(BLOB_SIZE)
        name, sealed = hashlib.sha256(plain), master.seal(plain)
        blobs.append({"id": name.hexdigest(), "type": "data", "offset": len(content), "length": len(sealed)})
        header += bytes([0]) + len(sealed).to_bytes(4, "little") + name.digest()
        content += sealed
    sealed = master.seal(header)
    return content + sealed + len(sealed).to_bytes(4, "little"), blobs


def _put(s3: Any, key: str, content: bytes) -> None:
    s3.client.put_object(Bucket=s3.bucket, Key=key, Body=content)
