# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The memory that the maintenance node needs for each prune that runs.

What is summed is PSS, the proportional set size of /proc/PID/smaps_rollup: pages that several processes share, as the
keeper, which is a fork, does with its module, count once. The peaks are of samples, so a shorter one may be missed.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from bench._scene import LATENCY, MEBIBYTE, scene
from tests.support.processes import memory, tree

# Enough for several packs of restic's usual 16 MiB to be repacked at the same time.
FILES = 64
PAUSE = 0.02
TARGET = 250.0


def measure() -> dict[str, Any]:
    """Peaks in MiB: of everything that is there once for each prune, of its parts, and of ansible-playbook itself."""
    ten = _peaks(10)
    return {**_peaks(1), **{f"{name}_10x": ten[name] for name in ("per_prune_peak_pss_mib", "repository_mib")}}


def misses(figures: dict[str, Any]) -> list[str]:
    """The targets that were not met."""
    peaks = {name: figures[name] for name in ("per_prune_peak_pss_mib", "per_prune_peak_pss_mib_10x")}
    return [f"memory.{name} is {peak}, at most {TARGET} is wanted" for name, peak in peaks.items() if peak > TARGET]


def _peaks(factor: int) -> dict[str, Any]:
    with scene() as there:
        there.back_up(FILES * factor, MEBIBYTE)
        there.back_up(FILES * factor, MEBIBYTE)
        stored = sum(item.size for item in there.bed.s3.list("data/"))
        there.bed.stand_in.settings(latency=LATENCY)
        peaks: dict[str, int] = defaultdict(int)
        samples = 0
        with there.start_maintenance() as process:
            while process.poll() is None:
                sums: dict[str, int] = defaultdict(int)
                for part in tree(process.pid):
                    sums[part.role] += memory(part.pid)
                sums["per_prune"] = sum(size for role, size in sums.items() if role != "ansible")
                peaks.update({role: max(size, peaks[role]) for role, size in sums.items()})
                samples += 1
                time.sleep(PAUSE)
            output = process.communicate()[0]
        assert process.returncode == 0, output
    roles = ("per_prune", "module", "keeper", "restic", "worker", "ansible")
    figures = {f"{role}_peak_pss_mib": round(peaks[role] / MEBIBYTE, 1) for role in roles}
    return {**figures, "repository_mib": round(stored / MEBIBYTE, 1), "samples": samples}
