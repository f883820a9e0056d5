# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a long run is: what is written, when, and what a reader makes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.prune_figures import PruneProgress
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.restore_said import Said
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.verify import _stalled
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common import (
    process_identity,
    progress,
    progress_elsewhere,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.progress import Place, Progress, places

from tests.support.running import COLLECTIONS

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
GIB = 1 << 30


class Clock:
    def __init__(self) -> None:
        self.seconds = NOON.timestamp()

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writer(tmp_path: Path, clock: Clock) -> Progress:
    return Progress(str(tmp_path), "maintenance", "backup-web1", clock, clock)


def only(folder: Path) -> Place:
    (found,) = places(str(folder))
    return found


def place(**changes: Any) -> Place:
    return Place(**{"run": "maintenance", "repository": "backup-web1", "step": "repacking", "began": NOON, "since": NOON,
                    "moved": NOON, "pid": 7, **changes})  # fmt: skip


# What is written -----------------------------------------------------------------------------------------------------


def test_a_run_tells_where_it_is_as_long_as_it_goes_on(tmp_path: Path, clock: Clock, writer: Progress) -> None:
    with writer.told():
        writer.step("repacking", 4 * GIB)
        clock.seconds += 600
        writer.at(share=0.25)
        found = only(tmp_path)
        assert (found.run, found.repository, found.step) == ("maintenance", "backup-web1", "repacking")
        assert (found.share, found.done, found.total, found.pid) == (0.25, GIB, 4 * GIB, os.getpid())
        assert found.ends == NOON + timedelta(minutes=40)
        (file,) = tmp_path.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == []


def test_a_figure_is_written_at_most_once_a_second_and_a_step_at_once(
    tmp_path: Path, clock: Clock, writer: Progress
) -> None:
    with writer.told():
        writer.step("reading", 100)
        for done in range(50):
            clock.seconds += 0.01
            writer.at(done)
        assert only(tmp_path).done == 0
        clock.seconds += 1
        writer.at(60)
        assert only(tmp_path).done == 60
        writer.step("proving")
        assert only(tmp_path).step == "proving"


def test_nothing_comes_back_after_the_end(tmp_path: Path, clock: Clock, writer: Progress) -> None:
    def run() -> None:
        with writer.told():
            writer.step("reading")
            raise KeyError

    with pytest.raises(KeyError):
        run()
    clock.seconds += 60
    writer.moved()
    writer.step("late")
    assert list(tmp_path.iterdir()) == []


def test_a_run_goes_on_where_nothing_can_be_written(tmp_path: Path) -> None:
    for writer in (Progress(str(tmp_path / "gone"), "audit", "x"), Progress()):
        with writer.told():
            writer.step("reading")
            writer.at(5, total=10)
    assert list(tmp_path.iterdir()) == []


_RUN = """
import sys, time
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.progress import Progress
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.process_signals import ended_by_signals
writer = Progress(sys.argv[1], "maintenance", "backup-web1")
with writer.told(), ended_by_signals("It", lambda: "no harm."):
    writer.step("repacking")
    print("begun", flush=True)
    time.sleep(300)
"""


@pytest.mark.parametrize(("number", "left"), [(signal.SIGTERM, 0), (signal.SIGKILL, 1)])
def test_a_signal_ends_it_and_only_a_killed_run_leaves_its_place(
    tmp_path: Path, number: signal.Signals, left: int
) -> None:
    argv, env = [sys.executable, "-c", _RUN, str(tmp_path)], {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        process.send_signal(number)
        process.wait(60)
    found = places(str(tmp_path))
    assert len(found) == left and all(one.pid == process.pid for one in found)
    assert [one.pid for _path, one in progress.unended(str(tmp_path), datetime.now(timezone.utc))] == [
        process.pid
    ] * left


_PLAYBOOK = """
import subprocess, sys
run = "from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.progress import Progress\\nimport sys\\n"
run += "writer = Progress(sys.argv[1], 'maintenance', 'backup-web1')\\n"
run += "with writer.told():\\n writer.step('repacking')\\n print('begun', flush=True)\\n sys.stdin.read()\\n"
run += "print('ended', flush=True)"
# As Ansible does it: by a shell.
subprocess.run(["/bin/sh", "-c", '"$0" -c "$1" "$2" && true', sys.executable, run, sys.argv[1]], check=True)
"""


@pytest.mark.parametrize("killed", [True, False])
def test_a_run_that_ends_after_its_playbook_was_killed_is_kept_for_the_journal(tmp_path: Path, killed: bool) -> None:
    playbook, records = tmp_path / "ansible-playbook", tmp_path / "records"
    playbook.write_text(_PLAYBOOK)
    records.mkdir()
    argv, env = [sys.executable, str(playbook), str(records)], {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout and process.stdout.readline() == "begun\n"
        if killed:
            process.kill()
            process.wait(60)
        process.stdin.close()
        assert process.stdout.readline() == "ended\n"
    found = [place for _path, place in progress.unended(str(records), NOON)]
    assert [(one.step, one.alone) for one in found] == [("repacking", True)] * killed
    assert places(str(records)) == []


@pytest.mark.parametrize("run", progress_elsewhere.RUNS)
def test_a_run_on_another_machine_is_told_until_its_own_playbook_ends_it(tmp_path: Path, run: str) -> None:
    here = progress_elsewhere.place_elsewhere(run, "backup-web1", "db1\x1b[2J", 4 * 3600, NOON)
    assert progress_elsewhere.begins(str(tmp_path), here) and not progress_elsewhere.begins(
        str(tmp_path / "gone"), here
    )
    found = only(tmp_path)
    assert (found.share, found.step.isprintable(), " db1" in found.step) == (None, True, True)
    assert progress.stalled(str(tmp_path), NOON + timedelta(hours=3)) == []
    assert len(progress.stalled(str(tmp_path), NOON + timedelta(hours=5))) == 1
    for other in (replace(here, pid=here.pid + 1), replace(here, step="restoring onto web9")):
        assert not progress_elsewhere.ends(str(tmp_path), other) and only(tmp_path) == found
    assert progress_elsewhere.ends(str(tmp_path), here) and list(tmp_path.iterdir()) == []


def said(**changes: Any) -> str:
    """What the module on the other machine writes; the times of that machine are not those of the node."""
    ago = NOON - timedelta(days=900)
    there = place(run="restore", step="restoring snapshot 0123abcd", began=ago, since=ago, moved=ago, still=1 << 40)
    return json.dumps({**progress.to_data(there), **changes})


def test_what_another_machine_says_of_how_far_it_is_is_noted(tmp_path: Path) -> None:
    note = progress_elsewhere.place_elsewhere("restore", "backup-web1", "web1", 4 * 3600, NOON)
    first, later = NOON + timedelta(minutes=5), NOON + timedelta(minutes=15)
    known = progress_elsewhere.followed(note, note, said(share=0.1, done=GIB, total=10 * GIB), first)
    assert (known.since, known.ends) == (first, None)
    known = progress_elsewhere.followed(note, known, said(share=0.5, done=5 * GIB, total=10 * GIB), later)
    told = "restoring onto web1: restoring snapshot 0123abcd, 50 %, 5.0 GiB of 10.0 GiB, about 10 minutes left"
    assert progress.doing(known, later) == told
    # That it says the same again is no progress, and however often it says something new, its time ends when it would have.
    assert progress_elsewhere.followed(note, known, said(share=0.5, done=5 * GIB, total=10 * GIB), NOON) == known
    assert not known.stalled(NOON + timedelta(hours=4)) and known.stalled(NOON + timedelta(hours=4, seconds=1))
    assert (known.run, known.began, known.pid, known.process) == (note.run, NOON, note.pid, note.process)
    # It is still the note that the same playbook ends.
    assert progress_elsewhere.begins(str(tmp_path), known) and progress_elsewhere.ends(str(tmp_path), note)


@pytest.mark.parametrize(
    "forged",
    [
        "", "[" * 4000, "[]", "{}", said(step="all is lost, call +1 555"), said(step="restoring snapshot ../../etc"),
        said(step="running the command\n"), said(more="x" * 5000), said(moved="soon"), said()[:-1],
    ],
)  # fmt: skip
def test_nothing_else_that_it_says_gets_into_the_note(forged: str) -> None:
    note = progress_elsewhere.place_elsewhere("drill", "backup-web1", "spare", 3600, NOON)
    assert progress_elsewhere.followed(note, note, forged, NOON) is note


def test_its_numbers_have_bounds() -> None:
    note = progress_elsewhere.place_elsewhere("drill", "backup-web1", "spare", 3600, NOON)
    wild = said(share=7, done=1 << 80, total=-1, pid=1, still=1 << 70, alone=True, ends="2999-01-01T00:00:00Z")
    known = progress_elsewhere.followed(note, note, wild, NOON)
    assert (known.share, known.done, known.total, known.ends) == (None, None, None, None)
    assert (known.pid, known.still, known.alone) == (note.pid, 3600, False)
    assert progress_elsewhere.followed(note, note, said(done=9, total=4), NOON).share == 1


def test_a_run_that_goes_on_is_not_taken_for_one_that_did_not_end(tmp_path: Path, clock: Clock) -> None:
    """Nor is one in another container, or on another machine, unless it has not moved for very long."""
    for its, hours, count in ((None, 999, 0), ("other boot pid:[1] 5", 25, 0), ("other boot pid:[1] 5", 27, 1)):
        writer = Progress(str(tmp_path), "maintenance", "backup-web1", clock, clock)
        with writer.told():
            writer.step("repacking")
            if its:
                file = tmp_path / "progress-maintenance.json"
                file.write_text(json.dumps({**json.loads(file.read_text()), "process": its, "pid": 2**22 + 1}))
            assert len(list(progress.unended(str(tmp_path), NOON + timedelta(hours=hours)))) == count, (its, hours)


def test_a_run_that_did_not_end_is_kept_when_the_next_one_begins(tmp_path: Path, writer: Progress) -> None:
    file = tmp_path / "progress-maintenance.json"
    left = place(pid=2**22 + 1, process=process_identity.identity(os.getpid()))
    file.write_text(json.dumps(progress.to_data(left)))
    with writer.told():
        writer.step("reading")
        found = [one.step for _path, one in progress.unended(str(tmp_path), NOON)]
        assert (found, only(tmp_path).step) == (["repacking"], "reading")


# What a reader makes of it -------------------------------------------------------------------------------------------


def test_the_line() -> None:
    half = place(share=0.346, done=12 * GIB, total=35 * GIB, ends=NOON + timedelta(minutes=20, seconds=10))
    assert progress.line(half, NOON) == "backup-web1: repacking, 34 %, 12.0 GiB of 35.0 GiB, about 20 minutes left"
    assert progress.line(place(step="checking"), NOON + timedelta(seconds=90)) == "backup-web1: checking, for 2 minutes"
    still = progress.line(place(share=0.5), NOON + timedelta(hours=3))
    assert still == "backup-web1: repacking, 50 %, nothing has moved for 3 hours"


def test_lines_are_bounded() -> None:
    found = [place(repository=f"r{number}", began=NOON + timedelta(seconds=number)) for number in range(9)]
    told = progress.lines(found, NOON, 2)
    assert [one.split(":")[0] for one in told] == ["r0", "r1", "and 7 more runs"]


def test_a_run_that_has_not_moved_for_long_is_told(tmp_path: Path, clock: Clock, writer: Progress) -> None:
    with writer.told():
        writer.step("checking")
        assert progress.stalled(str(tmp_path), NOON + timedelta(hours=1)) == []
        (told,) = progress.stalled(str(tmp_path), NOON + timedelta(hours=3))
    assert "maintenance" in told and "checking" in told and str(os.getpid()) in told and "2026-11-24T12:00:00Z" in told


def test_verify_finds_it(tmp_path: Path) -> None:
    """By the clock of the node, which wrote the times; and what may take long is left in peace."""
    clients: Any = SimpleNamespace(bucket="backup-web1", prefix="")
    (tmp_path / "backup-web1").mkdir()
    file = tmp_path / "backup-web1" / "progress-maintenance.json"
    ago = datetime.now(timezone.utc) - timedelta(hours=3)
    for still, count in ((progress.STALLED, 1), (4 * 3600, 0)):
        file.write_text(json.dumps(progress.to_data(place(moved=ago, still=still))), encoding="utf-8")
        assert len(_stalled(clients, str(tmp_path))) == count
    assert _stalled(clients, None) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"[" * 4000,
        lambda data: json.dumps([data]).encode(),
        lambda data: json.dumps({**data, "moved": "soon"}).encode(),
        lambda data: json.dumps({**data, "step": 5}).encode(),
        lambda data: json.dumps({**data, "more": "x" * 5000}).encode(),
    ],
)
def test_a_file_that_is_none_tells_nothing(tmp_path: Path, spoil: Callable[[dict[str, Any]], bytes]) -> None:
    path = tmp_path / "progress-maintenance.json"
    path.write_bytes(spoil(progress.to_data(place())))
    assert places(str(tmp_path)) == []


def test_what_it_tells_cannot_steer_a_terminal(tmp_path: Path) -> None:
    data = {
        **progress.to_data(place()), "step": "\x1b[2J{{ 1 }}\n" + "x" * 500, "share": "much", "total": -1, "pid": True,
    }  # fmt: skip
    (tmp_path / "progress-maintenance.json").write_text(json.dumps(data), encoding="utf-8")
    found = only(tmp_path)
    assert found.step.isprintable() and len(found.step) <= 120 and "{{" not in found.step
    assert (found.share, found.total, found.pid) == (None, None, 0)


def test_what_others_could_have_written_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "progress-maintenance.json"
    path.write_text(json.dumps(progress.to_data(place())), encoding="utf-8")
    assert len(places(str(tmp_path))) == 1
    path.chmod(0o666)
    assert places(str(tmp_path)) == []


def test_runs_of_all_repositories_are_found(tmp_path: Path) -> None:
    for folder in ("backup-web1", "shared/db"):
        (tmp_path / folder).mkdir(parents=True)
        with Progress(str(tmp_path / folder), "audit", folder).told() as _told:
            pass
        (tmp_path / folder / "progress-audit.json").write_text(json.dumps(progress.to_data(place(repository=folder))))
    assert [one.repository for one in progress.all_places(str(tmp_path))] == ["backup-web1", "shared/db"]


def test_prune_tells_how_much_is_repacked(tmp_path: Path, clock: Clock, writer: Progress) -> None:
    told = PruneProgress(writer)
    with writer.told():
        writer.step("preparing")
        for said in (
            "[0:01] 40.00%  2 / 5 packs processed",
            "to repack:            20 blobs / 11.000 MiB",
            "to repack:             2 packs",
            "repacking packs",
        ):
            told.hear("stdout", said)
        assert (only(tmp_path).step, only(tmp_path).total) == ("repacking", 11 << 20)
        clock.seconds += 60
        told.hear("stdout", "[1:00] 50.00%  1 / 2 packs repacked")
        assert (only(tmp_path).share, only(tmp_path).done) == (0.5, 11 << 19)
        told.hear("stdout", "rebuilding index")
        assert (only(tmp_path).step, only(tmp_path).total) == ("writing the index", None)


def test_a_restore_tells_how_much_is_restored_and_when_it_compares(
    tmp_path: Path, clock: Clock, writer: Progress
) -> None:
    said = Said(str(tmp_path), progress=writer, compares=True)

    def hear(kind: str, seconds: int, **more: int) -> None:
        clock.seconds += seconds
        said.hear("stdout", json.dumps({"message_type": kind, "total_files": 3, "total_bytes": 4 * GIB, **more}))

    with writer.told():
        writer.step("restoring")
        hear("status", 60, bytes_restored=GIB)
        hear("status", 60, files_restored=1, bytes_restored=2 * GIB, bytes_skipped=GIB)
        found = only(tmp_path)
        assert (found.share, found.done, found.total) == (0.75, 3 * GIB, 4 * GIB)
        assert found.ends == NOON + timedelta(seconds=160)
        # That it says the same again is no progress.
        hear("status", 3600, files_restored=1, bytes_restored=2 * GIB, bytes_skipped=GIB)
        assert only(tmp_path).moved == NOON + timedelta(minutes=2)
        hear("summary", 60, files_restored=3, bytes_restored=4 * GIB)
        found = only(tmp_path)
        assert (found.step, found.share) == ("comparing the files with the repository", None)
        # It says nothing while it compares.
        assert not found.stalled(found.moved + timedelta(hours=23)) and found.stalled(found.moved + timedelta(hours=25))
        writer.step("disarming")
        assert only(tmp_path).still == progress.STALLED
