# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module on another machine is followed, and nothing that goes wrong in that is told by the run of the module."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible_collections.holdfast.restic_r2.plugins.action.restic_restore import ActionModule
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common import progress, progress_elsewhere
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils import _followed

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


class Machine:
    """What the action asks of Ansible: a task, a connection, and commands on the other machine."""

    def __init__(self, records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.answer = 0, self.progress
        self.action: Any = ActionModule.__new__(ActionModule)
        self.task = SimpleNamespace(async_val=0, args={"bucket": "backup-web1", "noted_in": str(records)})
        self.shell = SimpleNamespace(tmpdir=None)
        self.connection = SimpleNamespace(transport="ssh", become=None, _shell=self.shell)
        vars(self.action).update(_task=self.task, _connection=self.connection)
        self.given: list[Any] = []
        monkeypatch.setattr(_followed, "SECONDS", 0.001)
        monkeypatch.setattr(ActionModule, "_is_become_unprivileged", lambda action: False)
        monkeypatch.setattr(ActionModule, "_make_tmp_path", lambda action: self.make())
        monkeypatch.setattr(ActionModule, "_low_level_execute_command", lambda action, command: self.command(command))

    def make(self) -> str:
        self.shell.tmpdir = "/tmp/ansible-tmp-1"
        return "/tmp/ansible-tmp-1"

    def command(self, command: str) -> dict[str, Any]:
        assert command == "head -c 4097 /tmp/ansible-tmp-1/progress-restore.json"
        self.asked += 1
        return self.answer()

    def progress(self) -> dict[str, Any]:
        there = progress.Place("restore", "backup-web1", "restoring snapshot 0123abcd", NOON, NOON, NOON, share=0.5)
        return {"rc": 0, "stdout": json.dumps(progress.to_data(there)) + "\n"}

    def run(self, monkeypatch: pytest.MonkeyPatch, until: Callable[[], bool]) -> dict[str, Any]:
        def module(action: Any, tmp: Any, task_vars: Any) -> dict[str, Any]:
            self.given.append(dict(self.task.args))
            end = threading.Event()
            for _look in range(6000):
                if until() or end.wait(0.01):
                    break
            return {"changed": True}

        monkeypatch.setattr(NormalAction, "run", module)
        result: dict[str, Any] = self.action.run(None, {})
        return result


@pytest.fixture
def note(tmp_path: Path) -> progress.Place:
    made = progress_elsewhere.place_elsewhere("restore", "backup-web1", "web1", 3600, NOON)
    (tmp_path / "backup-web1").mkdir()
    assert progress_elsewhere.begins(str(tmp_path / "backup-web1"), made)
    return made


def test_how_far_it_is_is_noted_and_the_machine_does_not_learn_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: progress.Place
) -> None:
    machine, seen = Machine(tmp_path, monkeypatch), list[progress.Place]()

    def told() -> bool:
        seen[:] = progress.places(str(tmp_path / "backup-web1"))
        return seen[0].share is not None

    assert machine.run(monkeypatch, told) == {"changed": True}
    assert seen[0].step == "restoring onto web1: restoring snapshot 0123abcd" and seen[0].share == 0.5
    assert machine.given == [{"bucket": "backup-web1", "noted_in": "/tmp/ansible-tmp-1"}]
    assert progress_elsewhere.ends(str(tmp_path / "backup-web1"), note)


def test_what_goes_wrong_in_that_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: progress.Place
) -> None:
    def lost() -> dict[str, Any]:
        raise AnsibleConnectionFailure("gone")

    for answer in (lost, lambda: {"rc": 1, "stdout": ""}, lambda: {"rc": 0, "stdout": "\x00{"}):
        machine = Machine(tmp_path, monkeypatch)
        machine.answer = answer
        # It is asked again.
        assert machine.run(monkeypatch, lambda m=machine: m.asked > 1) == {"changed": True} and machine.asked > 1
        assert progress.places(str(tmp_path / "backup-web1")) == [note]


@pytest.mark.parametrize(
    "why", ["no note", "another playbook", "no folder", "another connection", "another user", "async", "no thread"]
)
def test_where_it_cannot_be_followed_the_module_runs_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: progress.Place, why: str
) -> None:
    machine, file = Machine(tmp_path, monkeypatch), tmp_path / "backup-web1" / "progress-restore.json"
    if why == "no note":
        file.unlink()
    elif why == "another playbook":
        file.write_text(json.dumps({**progress.to_data(note), "pid": 7}), encoding="utf-8")
    elif why == "no folder":
        monkeypatch.setattr(ActionModule, "_make_tmp_path", lambda action: 1 / 0)
    elif why == "another connection":
        machine.connection.transport = "winrm"
    elif why == "another user":
        monkeypatch.setattr(ActionModule, "_is_become_unprivileged", lambda action: True)
    elif why == "no thread":
        monkeypatch.setattr(_followed.threading.Thread, "start", lambda thread: 1 / 0)
    else:
        machine.task.async_val = 60
    assert machine.run(monkeypatch, lambda: True) == {"changed": True}
    assert machine.given == [{"bucket": "backup-web1"}] and machine.asked == 0


@pytest.mark.parametrize("ends", [True, False])
def test_a_look_that_never_ends_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: progress.Place, ends: bool
) -> None:
    machine, looks = Machine(tmp_path, monkeypatch), list[subprocess.Popen[bytes]]()

    def endless() -> dict[str, Any]:
        # As an ssh whose other side sends and never ends.
        there = "/tmp/ansible-tmp-1/progress-restore.json"
        looks.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"head -c 4097 {there}"]))
        return {"rc": looks[-1].wait(), "stdout": ""}

    machine.answer = endless
    monkeypatch.setattr(_followed, "PATIENCE", 0.2 if ends else 5.0)
    monkeypatch.setattr(_followed, "LONGEST", 20.0 if ends else 0.2)
    try:
        machine.run(monkeypatch, lambda: len(looks) > (0 if ends else 1))
        # In the second case the last look may have begun just now.
        ended = looks if ends else looks[:-1]
        assert ended and [one.poll() for one in ended] == [-signal.SIGTERM] * len(ended)
    finally:
        for one in looks:
            one.kill()
