# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metrics: their names, their values, and what the guard writes down."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.guard_entries import guard_entries
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.journal import RunJournal
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.metrics import METRICS, metrics, write_metrics
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.state import State, empty, take

WINDOW = {"prefix": "", "parts": ["data"], "lease": "2026-11-27T07:00:00Z", "state": "overdue"}
BUCKET: dict[str, Any] = {
    "bucket": "backup-web1", "jurisdiction": "default", "line": "All rules are enabled.", "closed": [], "live": [], "fences": [],
    "problems": [],
}  # fmt: skip
EVERYTHING: dict[str, Any] = {
    "run": "verify", "result": "ok", "bucket": "backup-web1", "host": "web1", "at": "2026-11-27T08:00:00Z",
    "written": "2026-11-27T08:00:01Z", "locks": {"proved": True, "by": "host", "prefixes": {}}, "snapshots": 4, "bytes": 1000,
    "newest": "2026-11-27T03:00:00Z", "calls_left": 900, "open": {**WINDOW, "reason": "by hand"},
    "windows": [{"parts": ["data"], "seconds": 0.8}],
    "jobs": [{"name": "data", "newest": "2026-11-27T03:00:00Z", "snapshots": 4, "bytes": 500, "max_age": 26}],
    "read": {"through": "2026-11-01T00:00:00Z"}, "drills": [{"job": "data", "result": "ok", "bytes": 1000, "seconds": 2}],
    "findings": [{"code": "stale", "severity": "warn"}] * 2, "signals": [{"code": "looks_encrypted", "job": "data"}],
    "holds": [{"name": "audit"}],
}  # fmt: skip


def full() -> State:
    """A state with a value for every metric."""
    state = empty()
    state["written"] = "2026-11-27T08:00:01Z"
    take(state, EVERYTHING)
    return state


def values(text: str) -> dict[str, str]:
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_every_metric_has_a_value_where_there_is_one() -> None:
    found = values(metrics(full()))
    assert {name.partition("{")[0] for name in found} == METRICS.keys()
    own = 'repository="backup-web1",host="web1"'
    assert found[f"holdfast_lock_proved_timestamp_seconds{{{own}}}"] == "1795766400"
    assert found[f"holdfast_unlocked_seconds_total{{{own}}}"] == "0.8"
    assert found[f'holdfast_job_max_age_seconds{{{own},backup_job="data"}}'] == "93600"
    assert found[f'holdfast_drill_bytes_per_second{{{own},backup_job="data"}}'] == "500"
    assert found[f'holdfast_findings{{{own},code="stale",severity="warn"}}'] == "2"
    assert found['holdfast_run_last_success_timestamp_seconds{run="verify"}'] == "1795766400"


def test_what_is_not_known_has_no_value() -> None:
    state = empty()
    take(state, {"run": "site", "result": "failed", "bucket": "backup-web1", "written": "2026-11-27T08:00:01Z"})
    names = {name.partition("{")[0] for name in values(metrics(state))}
    assert not names & {
        "holdfast_lock_proved", "holdfast_lock_proved_timestamp_seconds", "holdfast_run_last_success_timestamp_seconds",
        "holdfast_repository_newest_upload_timestamp_seconds", "holdfast_drill_ok",
    }  # fmt: skip
    assert "holdfast_repository_ok" in names


def test_no_label_ends_before_its_end() -> None:
    state = empty()
    take(state, {**EVERYTHING, "host": 'a"} 1\nholdfast_lock_proved{x="\\'})
    for line in metrics(state).splitlines():
        assert line.startswith("# ") or re.fullmatch(r'[a-z_]+(\{(\w+="([^"\\]|\\["\\n])*",?)+\})? [-+.e0-9]+', line), (
            line
        )


def test_the_file_is_there_at_once_and_for_everybody(tmp_path: Path) -> None:
    write_metrics(str(tmp_path / "holdfast.prom"), full())
    write_metrics(str(tmp_path / "holdfast.prom"), full())
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("holdfast.prom", 0o644)]


def test_the_guard_writes_down_what_it_closed_and_what_it_could_not(tmp_path: Path) -> None:
    closed = {**BUCKET, "closed": [WINDOW], "line": "closed: data."}
    ill = {**BUCKET, "bucket": "backup-web2", "problems": ["No answer."]}
    journal = RunJournal(str(tmp_path))
    state = journal.append(guard_entries([BUCKET], at="2026-11-27T07:05:00Z"))
    assert state["repositories"] == {} and state["runs"]["guard"]["ok_at"] == "2026-11-27T07:05:00Z"
    state = journal.append(guard_entries([closed, ill, BUCKET], id="0" * 32, at="2026-11-27T07:10:00Z"))
    assert state["runs"]["guard"]["result"] == "failed" and state["runs"]["guard"]["ok_at"] == "2026-11-27T07:05:00Z"
    (window,) = state["repositories"]["backup-web1"]["windows"]
    assert (window["parts"], window["ended_by"], window["state"]) == (["data"], "the guard", "overdue")
    assert state["repositories"]["backup-web2"]["last"]["guard"]["text"] == "No answer."
    state = journal.append(guard_entries([], "The API token is not valid."))
    assert state["runs"]["guard"]["result"] == "failed" and len(state["repositories"]) == 2
