# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which honest histories are taken for ransomware, and which encryptions are not noticed, with the default thresholds.

Each history is a job of its own in one repository of real restic, with a backup after each step. Then the gate's pass looks at
them in the order of their backups, a day apart.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.index_claims import PackWeight, claims
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.scratch import LocalRepository
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.signals import Limits
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.signals_look import Look
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.signals_pass import SignalsPass
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.signals_state import Raised, State
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Restic

from bench import _signals_cost
from bench._histories import HONEST, Steps, Tree
from bench._ransomware import ATTACKS
from bench._scene import restic_path
from tests.support.quick_restic import quick_restic

BEGUN = datetime(2026, 1, 1, tzinfo=timezone.utc)
# The slowest of them may go unnoticed.
MAY_BE_MISSED = 2
History = Callable[[Tree], Steps]
# When packs were stored, and what they hold, by the history that they came with.
Weights = dict[str, list[tuple[int, PackWeight]]]


def measure(names: Iterable[str] = ()) -> dict[str, Any]:
    """How many of each there are, and how many are judged wrongly; and what the search costs."""
    with tempfile.TemporaryDirectory() as folder:
        restic = _repository(Path(folder))
        wanted = set(names)
        weights: Weights = {}
        for history in (*HONEST, *ATTACKS):
            if not wanted or history.__name__ in wanted:
                weights[history.__name__] = _play(history, restic, Path(folder))
        seen = _judge(restic, weights)
    false = sorted(history.__name__ for history in HONEST if seen.get(history.__name__))
    missed = sorted(history.__name__ for history in ATTACKS if not seen.get(history.__name__))
    for name, signals in seen.items():
        for signal in signals:
            print(f"{name}: {signal.code}: {signal.evidence}", file=sys.stderr)
    print(f"false alarms: {', '.join(false) or 'none'}; missed: {', '.join(missed) or 'none'}", file=sys.stderr)
    counts = {"honest": len(HONEST), "false_alarms": len(false), "attacks": len(ATTACKS), "missed": len(missed)}
    return {**counts, "cost": _signals_cost.cost()}


def misses(figures: dict[str, Any]) -> list[str]:
    """No false alarm, and nothing is missed but the slowest."""
    found = _signals_cost.misses(figures["cost"])
    if figures["false_alarms"]:
        found.append(f"signals: {figures['false_alarms']} honest histories look like ransomware")
    if figures["missed"] > MAY_BE_MISSED:
        found.append(f"signals: {figures['missed']} of {figures['attacks']} encryptions are not noticed")
    return found


def _repository(folder: Path) -> Restic:
    empty = dict.fromkeys(("endpoint", "bucket", "prefix", "access_key_id", "secret_access_key"), "")
    repository = LocalRepository(**empty, session_token=None, password="of a bench", folder=str(folder / "repository"))
    path = quick_restic(folder / "bin", restic_path())
    restic = Restic(repository, path=path, cache_dir=str(folder / "cache"))
    restic.succeed(["init"])
    return restic


def _play(history: History, restic: Restic, folder: Path) -> list[tuple[int, PackWeight]]:
    """Make the backups of a history; what came with each of them."""
    name = history.__name__
    tree = Tree(folder / name, name)
    times = 0
    came: list[tuple[int, PackWeight]] = []

    def back_up() -> None:
        nonlocal times
        day = BEGUN + timedelta(days=times)
        moment = day.strftime("%Y-%m-%d %H:%M:%S")
        before = _indexes(restic)
        restic.succeed(["backup", "--tag", f"job:{name}", f"--time={moment}", "--host=bench", str(tree.root)])
        for index in _indexes(restic) - before:
            packs = claims(restic.succeed(["cat", "index", index]).stdout)
            came.extend((int(day.timestamp()), pack.weight) for pack in packs.values() if pack.weight)
        times += 1

    for _step in history(tree):
        back_up()
    back_up()
    return came


def _indexes(restic: Restic) -> set[str]:
    return set(restic.succeed(["list", "index"]).stdout.split())


def _judge(restic: Restic, weights: Weights) -> dict[str, list[Raised]]:
    snapshots = restic.snapshots()
    days: dict[str, int] = {}
    uploaded = {}
    for snapshot in snapshots:
        job = _job(snapshot)
        uploaded[snapshot["id"]] = BEGUN + timedelta(days=days.setdefault(job, 0))
        days[job] += 1
    seen: dict[str, list[Raised]] = {}
    for job in days:
        own = [snapshot for snapshot in snapshots if _job(snapshot) == job]
        one = SignalsPass(Look(restic, Limits(), 600.0), Limits(), uploaded, _job, (), State("bench"))
        one.weights = weights[job]
        seen[job] = list(one.run(own).open)
    return seen


def _job(snapshot: Any) -> str:
    return str(snapshot["tags"][0]).removeprefix("job:")
