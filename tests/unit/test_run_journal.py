# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal of runs, and the state that follows from it."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.process_identity import identity
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.progress import Place, to_data
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports import journal as journals
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.entries import MOST, TEXT, cleaned
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.journal import RunJournal, RunJournalError

EVIL = "{{ lookup('ansible.builtin.pipe', 'id') }}\x1b[2J\nok  web9\u202e\ud800"
NOW = datetime(2026, 11, 27, 9, 0, tzinfo=timezone.utc)
WINDOW = {
    "reason": "maintenance deletes 3 objects", "parts": ["snapshots"], "opened": "2026-11-27T08:59:00Z",
    "closed": "2026-11-27T08:59:01Z", "seconds": 0.8, "ended_by": "asked", "in_force": True,
}  # fmt: skip


def entry(run: str = "verify", bucket: str = "backup-web1", result: str = "ok", **more: Any) -> dict[str, Any]:
    return {"run": run, "bucket": bucket, "host": bucket.removeprefix("backup-"), "result": result, **more}


def written(folder: Path, year: int = 2026) -> list[bytes]:
    return (folder / f"journal-{year}.jsonl").read_bytes().splitlines(keepends=True)


@pytest.fixture
def journal(tmp_path: Path) -> RunJournal:
    made = RunJournal(str(tmp_path))
    made.append([entry(), entry(bucket="backup-web2")], NOW)
    made.append([entry("maintenance", windows=[WINDOW])], NOW)
    return made


def test_each_line_holds_the_hash_of_the_line_before_it(journal: RunJournal, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in written(tmp_path)]
    assert [line["n"] for line in lines] == [1, 2, 3]
    assert lines[0]["prev"] == journals.START
    found = journal.check()
    assert (found.lines, found.broken, found.torn) == (3, [], [])
    state = journal.state()
    assert state and state["journal"] == {"file": "journal-2026.jsonl", "lines": 3, "hash": found.hash}


def test_a_run_that_did_not_end_gets_a_line_once_and_before_what_comes_after_it(
    journal: RunJournal, tmp_path: Path
) -> None:
    for folder, run in (("backup-web1/a", "audit"), ("backup-web2", EVIL)):
        (tmp_path / folder).mkdir(parents=True)
        left = Place(run, EVIL, EVIL, NOW, NOW, NOW)
        (tmp_path / folder / "unended-x.json").write_text(json.dumps(to_data(left)))
    state = journal.append([entry()], NOW)
    lines = [json.loads(line) for line in written(tmp_path)][3:]
    assert [(one["run"], one["bucket"], one.get("prefix"), one["result"]) for one in lines] == [
        ("verify", "backup-web1", "a", "failed"), ("verify", "backup-web2", "", "failed"),
        ("verify", "backup-web1", None, "ok"),
    ]  # fmt: skip
    assert lines[0]["text"].startswith(
        "It began at 2026-11-27T09:00:00Z and did not end: it was killed, or its machine died. It was last heard of at"
    )
    assert "\x1b" not in lines[0]["text"] and state["repositories"]["backup-web1"]["state"] == "ok"
    journal.append([], NOW)
    assert len(written(tmp_path)) == 6 and journal.check().broken == []


def test_a_run_that_was_killed_while_it_kept_its_own_file_gets_one_line(journal: RunJournal, tmp_path: Path) -> None:
    (tmp_path / "backup-web1").mkdir()
    left = Place("maintenance", "backup-web1", "deleting", NOW, NOW, NOW, pid=2**22 + 1, process=identity(os.getpid()))
    for name in ("progress", "unended"):
        file = tmp_path / "backup-web1" / f"{name}-maintenance.json"
        file.write_text(json.dumps(to_data(replace(left, alone=name == "unended"))))
    journal.append([], NOW)
    assert len(written(tmp_path)) == 4


def test_a_process_that_is_killed_before_it_removes_the_file_of_a_run_makes_no_second_line(
    journal: RunJournal, tmp_path: Path
) -> None:
    (tmp_path / "backup-web1").mkdir()
    files = [tmp_path / "backup-web1" / f"{name}-maintenance.json" for name in ("progress", "unended")]
    left = Place("maintenance", "backup-web1", "deleting", NOW, NOW, NOW, pid=2**22 + 1, process=identity(os.getpid()))
    # With another name, as when the next run of its kind had begun.
    for file in files:
        file.write_text(json.dumps(to_data(left)))
        journal.append([entry()], NOW)
        assert not file.exists()
    assert [json.loads(line)["result"] for line in written(tmp_path)[3:]] == ["failed", "ok", "ok"]
    # Another one of the same kind gets its own; and so does one whose line was cut.
    files[1].write_text(json.dumps(to_data(replace(left, pid=left.pid + 1))))
    journal.append([], NOW)
    assert len(written(tmp_path)) == 7
    files[1].write_text(json.dumps(to_data(replace(left, pid=left.pid + 2))))
    whole = (tmp_path / "journal-2026.jsonl").read_bytes()
    journal.append([], NOW)
    (tmp_path / "journal-2026.jsonl").write_bytes((tmp_path / "journal-2026.jsonl").read_bytes()[:-20])
    files[1].write_text(json.dumps(to_data(replace(left, pid=left.pid + 2))))
    journal.append([], NOW)
    assert (tmp_path / "journal-2026.jsonl").read_bytes().startswith(whole)
    assert "did not end" in json.loads(written(tmp_path)[-1])["text"]


def test_a_run_whose_playbook_was_killed_says_so(journal: RunJournal, tmp_path: Path) -> None:
    (tmp_path / "backup-web1").mkdir()
    left = Place("maintenance", "backup-web1", "deleting", NOW, NOW, NOW, alone=True)
    (tmp_path / "backup-web1" / "unended-maintenance.json").write_text(json.dumps(to_data(left)))
    journal.append([], NOW)
    line = json.loads(written(tmp_path)[-1])
    assert line["result"] == "failed" and "its ansible-playbook was killed before that" in line["text"]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("how", ["changed", "removed", "inserted"])
def test_whoever_changes_a_line_is_told_where(journal: RunJournal, tmp_path: Path, which: int, how: str) -> None:
    lines = written(tmp_path)
    if how == "changed":
        lines[which] = lines[which].replace(b'"ok"', b'"OK"')
    elif how == "removed":
        del lines[which]
    else:
        lines.insert(which, lines[which])
    (tmp_path / "journal-2026.jsonl").write_bytes(b"".join(lines))
    broken = journal.check().broken
    # The line behind is the first that cannot fit; behind the last one, the state knows better.
    at = {"changed": which + 2, "removed": which + 1, "inserted": which + 2}[how]
    assert broken and (f"journal-2026.jsonl line {at} " in broken[0] or "status.json knew 3 lines" in broken[0])


def test_lines_that_are_gone_from_the_end_are_told_also_after_the_next_run(journal: RunJournal, tmp_path: Path) -> None:
    (tmp_path / "journal-2026.jsonl").write_bytes(b"".join(written(tmp_path)[:1]))
    assert "status.json knew 3 lines" in journal.check().broken[0]
    journal.append([entry()], NOW)
    assert "status.json knew 3 lines" in json.loads(written(tmp_path)[1])["text"]
    assert journal.check().broken == []


@pytest.mark.parametrize("kept", [1, 20, -2, -1])
def test_a_line_that_a_crash_has_cut_stays_and_is_told(journal: RunJournal, tmp_path: Path, kept: int) -> None:
    file = tmp_path / "journal-2026.jsonl"
    lines = written(tmp_path)
    before = json.loads((tmp_path / "status.json").read_bytes())
    journal.append([entry("drill")], NOW)
    # The crash came in the middle of this line, and the state was not written.
    cut = written(tmp_path)[3][:kept]
    file.write_bytes(b"".join(lines) + cut)
    (tmp_path / "status.json").write_bytes(json.dumps(before).encode())
    whole = kept == -1
    assert journal.check().torn == ([] if whole else ["journal-2026.jsonl line 4"])
    journal.append([entry("check")], NOW)
    after = written(tmp_path)
    assert after[:4] == [*lines, cut + b"\n"]
    assert [json.loads(line)["run"] for line in after[4:]] == (["check"] if whole else ["journal", "check"])
    found = journal.check()
    assert (found.broken, found.torn) == ([], [] if whole else ["journal-2026.jsonl line 4"])
    assert [line for line in after if b"cut" in line] == ([] if whole else [after[4]])


def test_the_chain_goes_on_in_the_file_of_the_next_year_and_never_back(journal: RunJournal, tmp_path: Path) -> None:
    journal.append([entry()], NOW + timedelta(days=60))
    journal.append([entry()], NOW)
    assert [len(written(tmp_path, year)) for year in (2026, 2027)] == [3, 2]
    assert journal.check().broken == []
    assert journal.check().files == ["journal-2026.jsonl", "journal-2027.jsonl"]
    (tmp_path / "journal-2026.jsonl").unlink()
    assert journal.check().broken[0].startswith("journal-2027.jsonl line 1 ")


def test_the_state_follows_from_the_lines_alone(journal: RunJournal, tmp_path: Path) -> None:
    state = journal.append([entry(result="failed", findings=[{"code": "stale", "evidence": "old"}])], NOW)
    (tmp_path / "status.json").unlink()
    again = journal.append([], NOW)
    assert again == state
    assert again["repositories"]["backup-web1"]["last"]["maintenance"]["ok_at"] == "2026-11-27T09:00:00Z"
    assert again["repositories"]["backup-web1"]["seconds_unlocked"] == 0.8


def test_runs_of_a_crowd_lose_no_line(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    crowd = [context.Process(target=_write_ten, args=(str(tmp_path), number)) for number in range(4)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join(60)
    assert [process.exitcode for process in crowd] == [0] * 4
    found = RunJournal(str(tmp_path)).check()
    assert (found.lines, found.broken) == (40, [])


def _write_ten(folder: str, number: int) -> None:
    for _round in range(10):
        RunJournal(folder).append([entry(bucket=f"backup-web{number}")], NOW)


def test_nothing_of_a_host_steers_a_reader_or_grows_without_bound(tmp_path: Path) -> None:
    finding = {"code": EVIL, "severity": "warn", "evidence": EVIL * 1000, "objects": [EVIL] * 1000}
    RunJournal(str(tmp_path)).append([entry(findings=[finding] * 1000, host=EVIL, secret="hush", bucket="../x")], NOW)
    line = written(tmp_path)[0]
    found = json.loads(line)
    assert "\x1b" not in line.decode() and "{{" not in line.decode() and "\u202e" not in line.decode()
    assert len(found["findings"]) == MOST and len(found["findings"][0]["evidence"]) <= TEXT
    assert "secret" not in found and "bucket" not in found and found["findings"][0].keys() == {"severity", "evidence"}


def test_the_longest_entry_is_shorter_than_the_longest_line() -> None:
    long = "\U0001f600" * 5000
    rows = [
        dict.fromkeys(("code", "severity"), "a" * 60)
        | dict.fromkeys(("name", "job", "evidence", "what_to_do", "text", "reason", "snapshot", "ended_by"), long)
    ] * 1000
    names = ("findings", "jobs", "drills", "signals", "holds", "windows")
    full = cleaned({**entry(text=long, by=long, unfenced=long), **dict.fromkeys(names, rows)})
    assert len(json.dumps(full, ensure_ascii=False).encode()) < journals.MAX_LINE


def test_a_disk_that_is_full_leaves_what_was_there(
    journal: RunJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journals.os, "fsync", full)
    with pytest.raises(RunJournalError, match="No space left"):
        journal.append([entry()], NOW)
    monkeypatch.undo()
    assert written(tmp_path) == before
    journal.append([entry()], NOW)
    assert journal.check().broken == []


def test_files_are_private(journal: RunJournal, tmp_path: Path) -> None:
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
    os.chmod(tmp_path / "status.json", 0o666)
    with pytest.raises(Exception, match="can be written by other users"):
        journal.append([entry()], NOW)


def test_a_guard_that_finds_nothing_writes_a_line_a_day_and_is_seen_each_time(tmp_path: Path) -> None:
    journal = RunJournal(str(tmp_path))
    guard = {"run": "guard", "result": "ok"}
    for minute in range(0, 2 * 24 * 60, 60):
        journal.append([guard], NOW + timedelta(minutes=minute))
    assert len(written(tmp_path)) == 2
    state = journal.append([{**guard, "windows": [WINDOW], "bucket": "backup-web1"}], NOW + timedelta(days=2))
    assert len(written(tmp_path)) == 3
    assert state["runs"]["guard"]["ok_at"] == "2026-11-29T09:00:00Z"
