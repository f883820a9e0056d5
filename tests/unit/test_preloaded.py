# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module in a fork does what it does in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stand_in.client import StandIn
from tests.support.preloaded import MODULES, ROOT, STAND_IN, Forked, run_module
from tests.support.processes import gone
from tests.support.running import Ansible
from tests.support.waiting import wait_for

GIVEN = {
    "as it should be": json.dumps({"ANSIBLE_MODULE_ARGS": {"nonsense": 1}}),
    "not even that": "nonsense",
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_fork_ends_as_a_process_does(ansible: Ansible, given: str) -> None:
    environment = ansible.environment()
    forked = run_module("r2_token_info", given, environment)
    command = [sys.executable, "-m", f"{MODULES}.r2_token_info"]
    alone = subprocess.run(command, input=given, capture_output=True, text=True, check=False, env=environment)
    assert forked.returncode == alone.returncode != 0
    assert forked.stdout == alone.stdout
    assert bool(forked.stderr) == bool(alone.stderr)


def test_fork_has_the_given_environment_and_no_descriptor_of_others(tmp_path: Path) -> None:
    with open(tmp_path / "told", "w+b") as told, open(os.devnull, "rb") as nothing:
        fork = Forked(STAND_IN, [], {"ONLY": "this"}, [nothing.fileno(), told.fileno(), told.fileno()])
        wait_for(lambda: b"api_token" in (tmp_path / "told").read_bytes())
        process = Path(f"/proc/{fork.pid}")
        assert os.getsid(fork.pid) == fork.pid and (process / "cwd").readlink() == Path.cwd()
        there = {os.readlink(one) for one in (process / "fd").iterdir()}
        assert str(tmp_path / "told") in there
        # Besides its own files: the socket it listens at, and the pipe that tells its end.
        assert sorted(one.partition(":")[0] for one in there if not one.startswith("/")) == ["pipe", "socket"]
        fork.send_signal(signal.SIGKILL)
        assert fork.wait(60) == -signal.SIGKILL


def test_process_that_forks_ends_with_those_who_can_ask() -> None:
    code = """
import os, pathlib
from tests.support import preloaded
preloaded.forker()
print(pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text())
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    pid = int(found.stdout)
    wait_for(lambda: gone(pid), "the end of the process that forks")


def test_stand_in_that_cannot_start_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder", encoding="utf-8")
    with pytest.raises(RuntimeError, match="did not start"):
        StandIn.start(tmp_path / "data")
