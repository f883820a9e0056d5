# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long maintenance looks at what an owned host has planted, and how much memory of the node that takes.

Each kind of content lies in a repository of its own. Seconds are those more than without it; memory is the peak of PSS of
all that is there once for each prune. Small index objects that name nothing do no harm, however many are read: with them the
repository is maintained. With all others the run must be refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench._scene import MEBIBYTE, BenchRepository, scene
from tests.support.processes import memory, tree
from tests.support.repository_format import Key, inflated, name_of

MOST_SECONDS, MOST_MEMORY = 120.0, 512.0
# Where there are more new index objects than are read, the run is refused as soon as they were listed.
REFUSED_WITHIN = 10.0
HARMLESS = "2,000 index objects"
PAUSE = 0.05


def measure() -> dict[str, Any]:
    """Seconds and MiB by the kind of content."""
    figures: dict[str, Any] = {}
    honest = _run(lambda key: iter(()))
    for name, contents in KINDS.items():
        found = _run(contents)
        seconds = round(found["seconds"] - honest["seconds"], 1)
        figures[name] = {"seconds_more": seconds, "peak_pss_mib": found["peak_pss_mib"], "refused": found["refused"]}
    return {"honest": honest, **figures}


def misses(figures: dict[str, Any]) -> list[str]:
    """The targets that were not met."""
    found = []
    for name in KINDS:
        most = REFUSED_WITHIN if name == "10,000 index objects" else MOST_SECONDS
        if figures[name]["seconds_more"] > most:
            found.append(f"planted.{name} took {figures[name]['seconds_more']} s more, at most {most} are wanted")
        if figures[name]["peak_pss_mib"] > MOST_MEMORY:
            found.append(f"planted.{name} took {figures[name]['peak_pss_mib']} MiB, at most {MOST_MEMORY} are wanted")
        if not figures[name]["refused"] and name != HARMLESS:
            found.append(f"planted.{name} was not refused")
    return found


def _indexes(count: int, size: int = 0) -> Callable[[Key], Iterator[tuple[str, bytes]]]:
    """So many index objects that name nothing; each becomes so many bytes when it is read."""

    def contents(key: Key) -> Iterator[tuple[str, bytes]]:
        text = inflated(b'{"packs":[]', b"}", size) if size else b'{"packs":[]}'
        return (("index", key.seal(text)) for _number in range(count))

    return contents


def _snapshots(count: int, size: int) -> Callable[[Key], Iterator[tuple[str, bytes]]]:
    """So many snapshots of a text that becomes so long."""

    def contents(key: Key) -> Iterator[tuple[str, bytes]]:
        text = inflated(b'{"time":"2026-01-01T00:00:00Z","hostname":"', b'"}', size, b"A")
        return (("snapshots", key.seal(text)) for _number in range(count))

    return contents


KINDS: dict[str, Callable[[Key], Iterator[tuple[str, bytes]]]] = {
    HARMLESS: _indexes(2_000),
    "10,000 index objects": _indexes(10_000),
    "2,000 index objects of 128 MiB": _indexes(2_000, 128 * MEBIBYTE),
    "20 index objects of 4 GiB": _indexes(20, 4096 * MEBIBYTE),
    "2,000 snapshots of 128 MiB": _snapshots(2_000, 128 * MEBIBYTE),
}


def _run(contents: Callable[[Key], Iterator[tuple[str, bytes]]]) -> dict[str, Any]:
    with scene() as there:
        there.bed.repository()
        for _each in range(2):
            there.back_up(4, MEBIBYTE)
        record = {"record_dir": str(there.bed.record_dir)}
        assert not there.bed.module("restic_audit", baseline="update", **record).get("failed")
        _plant(there, contents)
        start, peak = time.monotonic(), 0
        with there.start_maintenance(**record) as process:
            while process.poll() is None:
                peak = max(peak, sum(memory(part.pid) for part in tree(process.pid) if part.role != "ansible"))
                time.sleep(PAUSE)
        seconds = round(time.monotonic() - start, 1)
        return {"seconds": seconds, "peak_pss_mib": round(peak / MEBIBYTE, 1), "refused": process.returncode != 0}


def _plant(there: BenchRepository, contents: Callable[[Key], Iterator[tuple[str, bytes]]]) -> None:
    restic, s3 = there.bed.restic, there.bed.s3
    key = Key.from_json(restic.parse("cat", restic.succeed(["cat", "masterkey", "--no-lock"]).stdout))

    def put(one: tuple[str, bytes]) -> None:
        kind, content = one
        s3.client.put_object(Bucket=s3.bucket, Key=f"{kind}/{name_of(content)}", Body=content)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, contents(key)))
