# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A window is noted beside the record until the journal has it, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common import window_notes
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.process_identity import identity
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.window_notes import (
    NotedWindow,
    WindowNote,
    noted_windows,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.journal import RunJournal
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import closer as _closer
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.session import WindowError, WindowSession

from tests.support.api_in_file import ApiInFile, in_child, spec_of
from tests.support.waiting import wait_for

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=timezone.utc)
HOLDER = "0123456789abcdef"
CLOSED = {"opened": "2026-11-27T12:00:00Z", "closed": "2026-11-27T12:00:01Z", "seconds": 0.8, "in_force": True}
NOBODY = 2**22 + 1


@pytest.fixture
def record(tmp_path: Path) -> Path:
    (tmp_path / "records" / "backup-web1").mkdir(parents=True)
    return tmp_path / "records" / "backup-web1"


def note(folder: Path | str, **report: Any) -> WindowNote:
    made = WindowNote(str(folder), HOLDER, "maintenance", ("data",), 600.0, NOON.timestamp)
    made.begin()
    if report:
        made.settle(report)
    return made


def the(folder: Path) -> NotedWindow:
    (found,) = noted_windows(str(folder))
    return found


def killed(folder: Path, *ended: bool) -> None:
    """As if the process of the module, and those above it, were there no more, or were."""
    path = next(folder.rglob("window-*.json"))
    process = identity(os.getpid())
    processes = [[NOBODY if one else os.getpid(), process] for one in ended]
    path.write_text(json.dumps({**json.loads(path.read_text()), "processes": processes}))


def journal_lines(folder: Path, *entries: dict[str, Any], now: datetime = NOON) -> list[dict[str, Any]]:
    journal = RunJournal(str(folder))
    journal.append(entries, now)
    assert journal.check().broken == []
    return [json.loads(raw) for _place, raw in journal.lines()]


# --- The note ---------------------------------------------------------------------------------------------------------


def test_a_note_tells_of_the_window_from_before_it_opens(record: Path) -> None:
    note(record)
    found = the(record)
    assert (found.holder, found.parts, found.began, found.report) == (HOLDER, ["data"], NOON, None)
    assert found.until == NOON + timedelta(minutes=10)
    assert os.stat(found.path).st_mode & 0o777 == 0o600
    note(record, **CLOSED)
    assert the(record).report == {**CLOSED, "ended_by": None, "lease": None}


def test_nothing_is_left_of_a_window_that_was_never_open(record: Path) -> None:
    note(record, opened=None, in_force=None)
    note(record, opened=None, in_force=True)
    assert list(record.iterdir()) == []
    note(record, opened=None, in_force=False)
    assert the(record).report


def test_where_there_is_no_record_there_is_no_note(tmp_path: Path) -> None:
    note("", **CLOSED)
    note(tmp_path / "nowhere", **CLOSED)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ended", "hours", "left"),
    [
        ((True, True), 0, True), ((True, False), 99, False), ((False, False), 99, False),
        # The playbook is on another machine: its line may be on its way.
        ((True,), 23, False), ((True,), 25, True),
    ],
)  # fmt: skip
def test_a_window_is_left_where_no_run_can_write_it_down(
    record: Path, ended: tuple[bool, ...], hours: int, left: bool
) -> None:
    note(record, **CLOSED)
    killed(record, *ended)
    assert the(record).left(NOON + timedelta(hours=hours)) is left


def test_a_keeper_may_be_at_work_until_the_longest_time_is_over(record: Path) -> None:
    note(record)
    killed(record, True, True)
    assert [the(record).left(NOON + timedelta(minutes=minutes)) for minutes in (9, 10)] == [False, True]


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 9000, '{"began": 1}', '{"holder": ["x"], "processes": 7}'])
def test_what_is_no_note_tells_nothing(record: Path, text: str) -> None:
    (record / "window-x.json").write_text(text)
    assert list(noted_windows(str(record))) == []


# --- The window -------------------------------------------------------------------------------------------------------


def test_the_keeper_notes_the_end_of_a_window_whose_module_was_killed(tmp_path: Path, record: Path) -> None:
    api = ApiInFile(tmp_path / "api.json")
    pid, told = in_child(spec_of(api, noted_in=str(record)), lambda window: signal.pause())
    with os.fdopen(told) as stream:
        stream.readline()
    assert the(record).report is None and api.disabled
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: the(record).report, "the note of the keeper")
    found = the(record)
    assert found.report and (found.report["ended_by"], found.report["in_force"]) == ("its parent is gone", True)
    assert api.disabled == [] and (found.reason, found.parts) == ("maintenance", ["index", "data"])


def test_a_window_that_another_keeper_closed_is_noted_as_its_module_knows_it(
    tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_closer, "_AFTERSHOCKS", (0.01, 0.2))
    api = ApiInFile(tmp_path / "api.json")
    with WindowSession(spec_of(api, noted_in=str(record))) as window:
        os.kill(window.keeper_pid, signal.SIGKILL)
    report = the(record).report
    assert report and (report["opened"], report["in_force"]) == (window.report["opened"], True)
    assert report["ended_by"] == "the keeper of this window died" and the(record).holder == window.holder


def test_a_window_that_does_not_open_leaves_no_note(tmp_path: Path, record: Path) -> None:
    api = ApiInFile(tmp_path / "api.json")
    with api.change() as state:
        del state["rules"][0]
    with pytest.raises(WindowError), WindowSession(spec_of(api, noted_in=str(record))):
        pytest.fail("the block must not run")
    assert list(record.iterdir()) == []


# --- The journal ------------------------------------------------------------------------------------------------------


def test_a_window_that_no_run_wrote_down_gets_a_line_of_its_own_once(record: Path) -> None:
    note(record, **CLOSED)
    killed(record, True, True)
    (line,) = journal_lines(record.parent)
    assert (line["run"], line["result"], line["bucket"], line["at"]) == (
        "window",
        "ok",
        "backup-web1",
        CLOSED["closed"],
    )
    (window,) = line["windows"]
    assert (window["holder"], window["parts"], window["seconds"]) == (HOLDER, ["data"], 0.8)
    assert list(record.iterdir()) == []
    # The process that wrote the line was killed before it removed the note.
    note(record, **CLOSED)
    killed(record, True, True)
    assert len(journal_lines(record.parent)) == 1 and list(record.iterdir()) == []


def test_a_window_whose_keeper_was_killed_too_is_not_well(record: Path) -> None:
    note(record)
    killed(record, True, True)
    assert journal_lines(record.parent) == []
    (line,) = journal_lines(record.parent, now=NOON + timedelta(hours=1))
    assert (line["result"], line["windows"][0]["opened"]) == ("failed", "2026-11-27T12:00:00Z")
    assert "its keeper was killed, too" in line["windows"][0]["ended_by"]


@pytest.mark.parametrize("before", [False, True])
def test_a_run_that_writes_its_window_down_takes_the_note_away(record: Path, before: bool) -> None:
    entry = {"run": "maintenance", "result": "ok", "bucket": "backup-web1", "windows": [{**CLOSED, "holder": HOLDER}]}
    if before:
        # It was killed between its line and the removal of the note.
        journal_lines(record.parent, entry)
    note(record, **CLOSED)
    killed(record, True, True)
    lines = journal_lines(record.parent, *([] if before else [entry]))
    assert [line["run"] for line in lines] == ["maintenance"] and list(record.iterdir()) == []


def test_a_run_that_goes_on_keeps_its_note(record: Path) -> None:
    other = {"run": "verify", "result": "ok", "bucket": "backup-web1", "windows": [{**CLOSED, "holder": "f" * 16}]}
    note(record, **CLOSED)
    killed(record, True, False)
    assert [line["run"] for line in journal_lines(record.parent, other)] == ["verify"]
    assert the(record).holder == HOLDER


def test_a_line_that_comes_late_does_not_close_a_window_that_is_open_now(record: Path) -> None:
    seen = {"run": "verify", "result": "failed", "bucket": "backup-web1", "open": {"parts": ["data"], "state": "live"}}
    journal_lines(record.parent, seen)
    note(record, **CLOSED)
    killed(record, True, True)
    journal_lines(record.parent)
    state = RunJournal(str(record.parent)).state()
    assert state
    known = state["repositories"]["backup-web1"]
    assert (known["state"], known["open"]["state"], known["seconds_unlocked"]) == ("open", "live", 0.8)


def test_a_note_is_a_file_beside_the_record() -> None:
    assert window_notes.path_of("/r/backup-web1", HOLDER) == f"/r/backup-web1/window-{HOLDER}.json"
