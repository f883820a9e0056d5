# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What check and drill say in the table, and what is remembered of drills."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import cast

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.drill import Driller, DrillError, Plan
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.drill_record import (
    DrillRecordError,
    drill_finding,
    keep,
    load_drills,
    next_job,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._clients import Clients
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._check_and_drill_tables import (
    check_report,
    drill_report,
)
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._jobs import byte_count, drill_plan

UNREADABLE = PermissionError(13, "Permission denied", "/restored/closed")
NOW = datetime(2026, 11, 27, 4, tzinfo=timezone.utc)
DRILLED = {
    "ok": True, "snapshot": "ab" * 32, "bytes": 2 << 20, "files": 7, "seconds": 2.0, "all_seconds": 9,
    "sample": False, "command": {"status": 0},
}  # fmt: skip


def test_what_a_restored_tree_does_not_let_a_user_read_is_told_in_a_sentence() -> None:
    class Unreadable:
        def open_repository(self) -> None:
            raise UNREADABLE

    plan = Plan("data", [{"name": "data", "paths": ["/srv"]}], [], "/drills", 1, 60, 1, "seed", NOW)
    with pytest.raises(DrillError, match="job data could not be done: /restored/closed: Permission denied"):
        Driller(cast(Clients, Unreadable()), plan).run()


def test_a_line_of_the_table_for_each_end_of_a_drill() -> None:
    told = (
        "data: restored and proved all of abababab, 2.0 MiB in 7 files and folders in 2.0 s; all of it would take 9 s"
    )
    assert drill_report(DRILLED, "data", "b") == {"bucket": "b", "done": True, "text": f"{told}; its command succeeded"}
    assert "a sample" in drill_report({**DRILLED, "sample": True}, "data")["text"]
    failed = drill_report({"ok": False, "msg": "The command failed\x1b[2J {{ x }}"}, "data")
    assert not failed["done"] and "\x1b" not in failed["text"] and "{{" not in failed["text"]
    assert not drill_report({"unreachable": True}, "data")["done"]
    assert not drill_report({}, "data")["done"]
    foreseen = drill_report({"snapshot": "ab" * 32, "all_bytes": 5}, "data", "b", True)
    assert foreseen["done"] and "would restore abababab" in foreseen["text"]


def test_a_line_of_the_table_for_each_end_of_a_reading() -> None:
    read = {
        "read": ["1/8"],
        "left": ["2/8"],
        "bytes": 2048,
        "packs": 3,
        "oldest": "2026-11-01T00:00:00Z",
        "complete": True,
    }
    assert check_report(read)["text"].startswith(
        "read 1 of 2 parts that were due, 2.0 KiB in 3 packs; all that was stored before 2026"
    )
    assert "nothing was due; the first round" in check_report({"complete": False})["text"]
    assert not check_report({"unreachable": True})["done"]


def test_the_command_of_a_job_with_its_bounds() -> None:
    jobs = [{"name": "a"}, {"name": "b", "drill": {"command": ["true"], "bytes": "500M"}}]
    assert drill_plan(jobs, "a", "2G") == {"command": [], "expect": [], "bytes": 2 << 30, "memory": 2 << 30}
    assert drill_plan(jobs, "b")["bytes"] == byte_count("500m") == 500 << 20


def test_the_job_that_waits_longest_is_next() -> None:
    drills = {"a": {"at": "2026-11-20"}, "b": {"at": "2026-11-01"}}
    assert next_job(drills, ["a", "b"], []) == "b"
    assert next_job(drills, ["a", "b", "c"], []) == "c"
    assert next_job(drills, ["a", "b"], ["a"]) == "a"
    for names, asked in ((["a"], ["z"]), ([], [])):
        with pytest.raises(DrillRecordError, match="There is no job"):
            next_job(drills, names, asked)


def test_verify_tells_of_a_job_without_a_good_drill(tmp_path: Path) -> None:
    path = str(tmp_path)
    keep(path, "a", "2026-11-20T00:00:00Z", DRILLED, ["a", "b"])
    assert drill_finding(path, NOW, "30d", ["a"], NOW - timedelta(days=90)) is None
    assert drill_finding(path, NOW, "30d", ["a", "b"], NOW) is None
    late = str(drill_finding(path, NOW, "30d", ["a", "b"], NOW - timedelta(days=90)))
    assert "job b (never drilled); run" in late
    keep(path, "a", "2026-11-27T00:00:00Z", {"ok": False, "msg": "x"}, ["a"])
    kept = load_drills(path)
    assert (list(kept), kept["a"]["ok"], kept["a"]["ok_at"]) == (["a"], False, "2026-11-20T00:00:00Z")
    assert "a (the last one 2026-11-27 failed)" in str(drill_finding(path, NOW, "3d", ["a"], NOW - timedelta(days=90)))
    assert (tmp_path / "drills").stat().st_mode & 0o777 == 0o600
    (tmp_path / "drills").write_text('{"jobs": {"a": 1}}', encoding="utf-8")
    with pytest.raises(HoldfastError, match="is damaged"):
        load_drills(path)
