# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A snapshot that a host has forged stops no restore of the others, and no drill of them."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions import drill as _drill
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.drill import Driller, DrillError, Plan
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.restore import (
    RestoreError,
    Selection,
    choose,
    dated,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._clients import Clients
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Restic

from tests.unit.test_restic import restic

JOB = {"name": "system", "paths": ["/etc"]}
GOOD, NEWER, ODD = "a" * 64, "b" * 64, "c" * 64
# The first is one that restic stores; the others are in case another one does.
NO_TIMES = ("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2026-02-30T00:00:00Z", "\u202e" * 5000, "", None, 7)


def snapshot(name: str, time: object) -> dict[str, Any]:
    return {"id": name, "time": time, "hostname": "web1", "paths": ["/etc"], "tags": ["job:system"]}


def repository(folder: Path, *snapshots: dict[str, Any], ignored: int = 0) -> Restic:
    (folder / "snapshots.json").write_text(json.dumps(snapshots), encoding="utf-8")
    lines = "".join(f"echo 'Ignoring {number}' >&2\n" for number in range(ignored))
    return restic(folder, f"{lines}exec cat {folder}/snapshots.json")


@pytest.mark.parametrize("time", NO_TIMES)
@pytest.mark.parametrize("jobs", [None, [], [JOB]])
def test_a_snapshot_without_a_time_is_not_chosen_and_told(tmp_path: Path, time: object, jobs: Any) -> None:
    there = [snapshot(NEWER, "2026-11-02T04:00:00+01:00"), snapshot(ODD, time), snapshot(GOOD, "2026-11-01T04:00:00Z")]
    chosen, (told,) = choose(repository(tmp_path, *there), Selection(jobs=jobs))
    assert [one["id"] for one in chosen] == [NEWER]
    assert ODD in told and len(told) < 400 and "\u202e" not in told
    assert choose(repository(tmp_path, *there), Selection(GOOD[:8])) == ([there[2]], [])
    assert choose(repository(tmp_path, *there), Selection(ODD[:8])) == ([there[1]], [])


def test_where_no_other_is_there_a_restore_says_so(tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match="has no snapshot that fits latest"):
        choose(repository(tmp_path, snapshot(ODD, NO_TIMES[0])), Selection())


def test_very_many_of_them_are_told_in_few_lines(tmp_path: Path) -> None:
    there = [snapshot(f"{number:064x}", NO_TIMES[0]) for number in range(500)]
    chosen, told = choose(
        repository(tmp_path, snapshot(GOOD, "2026-11-01T04:00:00Z"), *there, ignored=500), Selection()
    )
    assert [one["id"] for one in chosen] == [GOOD]
    assert len(told) == 42
    assert "480 more snapshots" in told[-1] and "480 more" in told[20]


def test_a_drill_takes_what_a_restore_would_and_tells_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = {name: datetime(2026, 11, day, tzinfo=timezone.utc) for day, name in enumerate((GOOD, ODD), 1)}
    monkeypatch.setattr(_drill, "stored_times", lambda s3, prefix: stored)
    there = repository(tmp_path, snapshot(GOOD, "2026-11-01T04:00:00Z"), snapshot(ODD, NO_TIMES[0]))

    class OneRepository:
        s3, prefix = None, ""

        def open_repository(self) -> Restic:
            return there

    plan = Plan("system", [JOB], [], "/drills", 1, 60, 1, "seed", stored[GOOD])
    driller = Driller(cast(Clients, OneRepository()), plan)
    monkeypatch.setattr(there, "require", lambda *version: None)
    # The script lists no files, which ends it.
    with pytest.raises(DrillError, match=f"system, {GOOD[:8]}, holds no file"):
        driller.run()
    assert driller.outcome.snapshot == GOOD
    assert [ODD in told for told in driller.outcome.warnings] == [True]


def test_what_has_a_time_is_left_as_it_is() -> None:
    there = [snapshot(GOOD, "9999-12-31T23:59:59Z"), snapshot(NEWER, "0001-01-01T00:00:00Z")]
    assert dated(there, "r") == (there, [])
