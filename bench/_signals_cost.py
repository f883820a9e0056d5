# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the search for ransomware costs beside the rest of the audit: on days on which few files change, and many.

A job of some thousand text files is backed up and audited once a day, with the usual time added to every request. Both are
measured in one run of the module, so that what else the machine does falls on both. After four days of few edits, they have added
up to one comparison of names and one of contents.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from bench._histories import Tree
from bench._scene import LATENCY, BenchRepository, scene
from tests.support.running import ROOT

FILES, FOLDERS = 3000, 150
# What is done on each day, and on how many days.
DAYS = {"edited": (0.02, 4), "rewritten": (0.3, 2)}
# Of the gate, on ordinary days.
MOST = 0.1


def cost() -> dict[str, Any]:
    """Seconds, processor seconds and calls of restic of the audit without the search, and of the search; and their ratios."""
    with scene() as there:
        there.bed.repository()
        tree = Tree(there.files / "job", "cost")
        tree.documents(FILES, FOLDERS)
        _audited(there, tree)
        found = {}
        for name, (share, days) in DAYS.items():
            change = tree.edit if name == "edited" else tree.rewrite
            told = []
            for _day in range(days):
                change(share)
                told.append(_audited(there, tree))
            found[f"{name}_{share * 100:.0f}_percent"] = _together(told)
    return found


def misses(figures: dict[str, Any]) -> list[str]:
    """On ordinary days the search is a small part of the gate."""
    ratio = figures["edited_2_percent"]["ratio"]
    text = f"signals.cost: {ratio} of the time of the gate on ordinary days, at most {MOST} is wanted"
    return [text] if ratio > MOST else []


def _together(told: list[dict[str, Any]]) -> dict[str, Any]:
    figures = {"days": len(told)}
    for name in ("seconds", "cpu_seconds", "calls"):
        signals = sum(day["signals"][name] for day in told)
        figures[f"gate_{name}"] = round(sum(day["all"][name] for day in told) - signals, 2)
        figures[f"signals_{name}"] = round(signals, 2)
    figures["ratio"] = round(figures["signals_seconds"] / figures["gate_seconds"], 3)
    figures["cpu_ratio"] = round(figures["signals_cpu_seconds"] / figures["gate_cpu_seconds"], 3)
    return figures


def _audited(there: BenchRepository, tree: Tree) -> dict[str, Any]:
    """What the audit takes after one more backup."""
    bed = there.bed
    bed.backup(tree.root, "--tag=job:docs")
    options = {**bed.options, "record_dir": str(bed.record_dir), "baseline": "update"}
    options.update(_ansible_remote_tmp=str(bed.home), _ansible_tmpdir=None)
    environment = bed.ansible.environment()
    environment["PYTHONPATH"] += f":{ROOT}"
    bed.stand_in.settings(latency=LATENCY)
    done = subprocess.run(
        [sys.executable, "-m", "bench._timed_audit"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": options}),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    bed.stand_in.settings(latency=0.0)
    assert done.returncode == 0 and json.loads(done.stdout)["signals"] == [], done.stdout + done.stderr
    return dict(json.loads(done.stderr.splitlines()[-1]))
