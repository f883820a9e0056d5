# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much is unlocked for how long: restic_prune beside the manual recipe.

The manual recipe is what people do by hand: disable all lock rules, `restic forget --prune`, enable them. The exposure
is the sum over all prefixes of the seconds in which they were not protected, as the stand-in saw it. Both are measured
in one run, on repositories made in the same way, with 30 ms added to every request.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from tests.stand_in.client import StandIn
from tests.support import restic
from tests.support.running import Ansible

LATENCY = 0.03
MEBIBYTE = 1 << 20
# What stays as it is, and what is half removed and so has to be repacked, in files of one MiB.
STAYS = 64
REPACKED = 64
# restic itself takes up to a third longer in one run than in another: of so many, the one in the middle is taken.
RUNS = 5
TARGET, TARGET_10X = 0.04, 0.02


def measure() -> dict[str, Any]:
    """The exposure in prefix-seconds of both ways, and their ratio, for one and for ten times as much to repack."""
    figures: dict[str, Any] = {}
    for suffix, factor in (("", 1), ("_10x", 10)):
        runs = sorted((_compare(factor) for _run in range(RUNS if factor == 1 else 1)), key=lambda run: run[0] / run[1])
        ours, manual, repacked = runs[len(runs) // 2]
        figures[f"ours{suffix}"] = round(ours, 3)
        figures[f"manual{suffix}"] = round(manual, 3)
        figures[f"ratio{suffix}"] = round(ours / manual, 4)
        figures[f"repacked_mib{suffix}"] = round(repacked / MEBIBYTE, 1)
        figures[f"load{suffix}"] = round(os.getloadavg()[0], 1)
    return figures


def misses(figures: dict[str, Any]) -> list[str]:
    """The targets that were not met."""
    found = []
    if figures["ratio"] > TARGET:
        found.append(f"exposure.ratio is {figures['ratio']}, at most {TARGET} is wanted")
    if figures["ratio_10x"] > TARGET_10X:
        found.append(f"exposure.ratio_10x is {figures['ratio_10x']}, at most {TARGET_10X} is wanted")
    return found


def _compare(factor: int) -> tuple[float, float, int]:
    from tests.support.repositories import Bed  # needs the collection on the path

    program = restic.required()
    with tempfile.TemporaryDirectory() as folder, StandIn.start() as stand_in:
        home = Path(folder)
        ansible = Ansible(home / "ansible")
        beds = [Bed(stand_in, ansible, program, home / name) for name in ("ours", "manual")]
        for bed in beds:
            fill(bed, bed.home / "files", factor)
        stand_in.settings(latency=LATENCY)

        done = beds[0].module("restic_prune", keep_last=1, max_remove="100%")
        assert not done.get("failed"), done.get("msg")
        by_hand(beds[1])
        exposed = [_exposure(stand_in, bed.bucket) for bed in beds]
        return exposed[0], exposed[1], done["bytes_repacked"]


def fill(bed: Any, files: Path, factor: int) -> None:
    """Three backups: what stays; what is added to it; the same after every second of the added files is gone."""
    files.mkdir(parents=True)
    if not bed.stand_in.objects(bed.bucket):
        bed.restic.succeed(["init"])
    for kind, count in (("stays", STAYS), ("added", REPACKED * factor)):
        for number in range(count):
            (files / f"{kind}-{number:04}").write_bytes(os.urandom(MEBIBYTE))
        bed.backup(files)
    for path in sorted(files.glob("added-*"))[::2]:
        path.unlink()
    bed.backup(files)
    bed.lock()


def by_hand(bed: Any) -> None:
    """The manual recipe."""
    rules = bed.cloudflare.lock_rules(bed.bucket)
    bed.cloudflare.replace_lock_rules(bed.bucket, [{**rule, "enabled": False} for rule in rules])
    bed.restic.succeed(["forget", "--keep-last=1", "--prune"])
    bed.cloudflare.replace_lock_rules(bed.bucket, rules)


def _exposure(stand_in: StandIn, bucket: str) -> float:
    exposures = [entry for entry in stand_in.ledger()["exposures"] if entry["bucket"] == bucket]
    assert exposures, f"{bucket} was never unlocked"
    assert all(entry["to"] is not None for entry in exposures), f"{bucket} is still unlocked"
    return sum(entry["seconds"] for entry in exposures)
