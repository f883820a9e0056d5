# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long restic_prune takes beside the manual recipe, and where nothing is to be removed; and what planted packs do to it.

Both repositories are made in the same way, and both are maintained in one run, with 50 ms added to every request.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench._scene import restic_path
from bench.exposure import by_hand, fill
from tests.stand_in.client import StandIn
from tests.support.running import Ansible

LATENCY = 0.05
PLANTED = 4000
RATIO, IDLE = 2.0, 2.5


def measure() -> dict[str, Any]:
    """Seconds of both ways and their ratio, of a maintenance that removes nothing, and of windows."""
    from tests.support.repositories import Bed  # needs the collection on the path

    with tempfile.TemporaryDirectory() as folder, StandIn.start() as stand_in:
        home = Path(folder)
        beds = [
            Bed(stand_in, Ansible(home / "ansible"), restic_path(), home / name) for name in ("ours", "hand", "more")
        ]
        for bed in beds:
            bed.home.mkdir()
            assert not bed.repository().get("failed")
            fill(bed, bed.home / "files", 1)
            assert not bed.module("restic_audit", record_dir=str(bed.record_dir), baseline="update").get("failed")
        _plant(beds[2])
        stand_in.settings(latency=LATENCY)
        load = os.getloadavg()[0]
        ours = _seconds(lambda: _maintained(beds[0]))
        manual = _seconds(lambda: by_hand(beds[1]))
        since = stand_in.last_request()
        idle = _seconds(lambda: _maintained(beds[0]))
        requests = stand_in.last_request() - since
        _maintained(beds[2])
        windows = {bed.bucket: 0.0 for bed in beds}
        for entry in stand_in.ledger()["exposures"]:
            windows[entry["bucket"]] = max(windows[entry["bucket"]], entry["seconds"])
        assert all(windows.values()), windows
    return {
        "load": round(load, 1),
        "ours": round(ours, 1),
        "by_hand": round(manual, 1),
        "ratio": round(ours / manual, 2),
        "nothing_to_remove": round(idle, 1),
        "nothing_to_remove_requests": requests,
        "window": round(windows[beds[0].bucket], 3),
        "window_with_planted_packs": round(windows[beds[2].bucket], 3),
        "planted_packs": PLANTED,
    }


def misses(figures: dict[str, Any]) -> list[str]:
    """The targets that were not met."""
    wanted = {"ratio": RATIO, "nothing_to_remove": IDLE}
    return [
        f"maintenance_seconds.{name} is {figures[name]}, at most {most} is wanted"
        for name, most in wanted.items()
        if figures[name] > most
    ]


def _seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _maintained(bed: Any) -> None:
    done = bed.module("restic_prune", record_dir=str(bed.record_dir), keep_last=1, max_remove="100%")
    assert not done.get("failed"), done.get("msg")


def _plant(bed: Any) -> None:
    """Packs that nothing names, as a host can leave them."""

    def put(number: int) -> None:
        name = hashlib.sha256(str(number).encode()).hexdigest()
        bed_s3.put_if(f"data/{name[:2]}/{name}", os.urandom(64))

    bed_s3 = bed.s3
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(PLANTED)))
