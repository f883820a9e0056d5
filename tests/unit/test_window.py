# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper as a process: real forks, pipes and signals; only Cloudflare and R2 are played, by a file."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.process_signals import (
    Interrupted,
    signals_raise,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import windows
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import closer as _closer
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import session as _window
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.session import (
    WindowError,
    WindowSession,
)

from tests.support.api_in_file import ApiInFile, in_a_process_of_one_thread, in_child, spec_of
from tests.support.processes import gone
from tests.support.waiting import DEADLINE


@pytest.fixture
def api(tmp_path: Path) -> ApiInFile:
    return ApiInFile(tmp_path / "api.json")


@pytest.fixture(autouse=True)
def quick_aftershocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A keeper that closes without the mutex looks again for half a minute; what it looks for is in test_window_ends.py."""
    monkeypatch.setattr(_closer, "_AFTERSHOCKS", (0.1, 0.5))


# --- the normal course -----------------------------------------------------------------------------------------------


def test_window_is_open_inside_the_block_and_locked_after_it(api: ApiInFile) -> None:
    with WindowSession(spec_of(api)) as window:
        assert api.disabled == ["web1/data/", "web1/index/", f"web1/window/{window.holder}"]
        (found,) = windows(api.rules)
        assert found.holder == window.holder
    assert api.rules == lock_set("web1/")
    report = window.report
    assert report["in_force"] is True and report["ended_by"] == "its work is done" and report["error"] is None
    assert report["repository"] == "backup-web1/web1" and report["prefixes"] == ["web1/index/", "web1/data/"]
    assert report["opened"] and report["closed"] and report["lease"] and report["seconds"] > 0


def test_a_window_costs_six_calls(api: ApiInFile) -> None:
    with api.change() as state:
        state["rules"] = lock_set("")
    with WindowSession(spec_of(api, prefix="")):
        pass
    assert api.calls == ["GET lock", "PUT lock", "GET lock"] * 2


def test_window_in_a_shared_bucket_takes_its_turn_and_gives_it_back(api: ApiInFile) -> None:
    with WindowSession(spec_of(api)):
        api.wait(lambda: api.mutex is None)
    assert api.mutex is None and any(api.state["mutexes"])


def test_lease_is_of_the_server_clock(api: ApiInFile) -> None:
    with WindowSession(spec_of(api, lease_seconds=100)):
        (found,) = windows(api.rules)
        assert found.lease is not None
        left = found.lease - datetime.now(timezone.utc) - timedelta(hours=5)
        assert 95 < left.total_seconds() <= 100


def test_no_zombie_no_pipe_and_no_process_is_left(api: ApiInFile) -> None:
    before = os.listdir("/proc/self/fd")
    with WindowSession(spec_of(api)) as window:
        keeper = window.keeper_pid
        assert os.getsid(keeper) == keeper != os.getsid(0)
    assert os.listdir("/proc/self/fd") == before
    assert not Path(f"/proc/{keeper}").exists()
    with pytest.raises(ChildProcessError):
        os.waitpid(keeper, os.WNOHANG)


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process lead to; pipes without their numbers."""
    found = []
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{descriptor}").partition(":[")[0])
        except FileNotFoundError:
            continue  # closed since
    return sorted(found)


def test_keeper_holds_nothing_but_its_pipes(api: ApiInFile) -> None:
    # Both ends of the pipe that wakes it up at signals, and one each of those that lead to the parent.
    wanted = ["/dev/null"] * 3 + ["pipe"] * 4
    with open(os.devnull, encoding="utf-8"), WindowSession(spec_of(api)) as window:
        # Whatever it opens to play its turn in this api is closed again; what it inherited would stay.
        api.wait(lambda: open_files(window.keeper_pid) == wanted)


def test_child_of_the_module_does_not_keep_the_window_open(api: ApiInFile) -> None:
    with WindowSession(spec_of(api)):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.poll() is None  # had it inherited the pipe, the block would still be waiting
    child.communicate(b"\n")


def test_exception_in_the_block_closes_and_goes_on(api: ApiInFile) -> None:
    with pytest.raises(ZeroDivisionError), WindowSession(spec_of(api)) as window:
        raise ZeroDivisionError
    assert api.disabled == [] and window.report["in_force"] is True


def test_every_step_is_logged(api: ApiInFile) -> None:
    spec = spec_of(api, reason="prune of web1")
    with WindowSession(spec) as window:
        pass
    path = Path(str(spec.log_path))
    text = path.read_text(encoding="utf-8")
    for step in (
        "opening web1/index/, web1/data/ until",
        "prune of web1",
        "open, proved",
        "closing: its work",
        "in force",
    ):
        assert step in text
    assert all(window.holder in line for line in text.splitlines())
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("path", ["no\0path", "\ud800", "/nowhere/at/all"])
def test_what_cannot_be_logged_stops_nothing(api: ApiInFile, path: str) -> None:
    with WindowSession(spec_of(api, reason="half a character: \ud800", log_path=path)) as window:
        pass
    assert window.report["in_force"] is True and api.disabled == []


def test_secrets_are_not_in_the_repr(api: ApiInFile) -> None:
    assert "cloudflare" not in repr(spec_of(api)) and "s3" not in repr(spec_of(api))


# --- deaths ----------------------------------------------------------------------------------------------------------


DEATHS = [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT]


def seconds_open_after(api: ApiInFile, number: signal.Signals) -> float:
    """How long it took until all was locked, after a signal to the parent."""
    pid, told = in_child(spec_of(api), lambda window: time.sleep(600))
    keeper = int(os.read(told, 100))
    os.close(told)
    os.kill(pid, number)
    seconds = api.wait(lambda: api.disabled == [])
    os.waitpid(pid, 0)
    api.wait(lambda: gone(keeper))
    return seconds


@pytest.mark.parametrize("number", DEATHS)
def test_death_of_the_parent_closes(api: ApiInFile, number: signal.Signals) -> None:
    seconds_open_after(api, number)  # the lease would close it in five minutes


@pytest.mark.proof
@pytest.mark.parametrize("number", DEATHS)
def test_death_of_the_parent_closes_within_a_second(api: ApiInFile, number: signal.Signals) -> None:
    seconds = seconds_open_after(api, number)
    assert seconds < 1, f"{seconds:.2f} s, with a load of {os.getloadavg()[0]:.1f}"


def test_death_of_the_whole_process_group_closes(api: ApiInFile) -> None:
    def work(window: WindowSession) -> None:
        time.sleep(600)

    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        with WindowSession(spec_of(api)) as window:
            os.write(writing, b"open\n")
            work(window)
        os._exit(0)
    os.close(writing)
    os.read(reading, 100)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reading)
    api.wait(lambda: api.disabled == [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_to_the_keeper_closes_and_the_parent_learns_it(api: ApiInFile, number: signal.Signals) -> None:
    with WindowSession(spec_of(api)) as window:
        assert window.over() is None
        os.kill(window.keeper_pid, number)
        api.wait(lambda: api.disabled == [])
        assert select.select([window], [], [], DEADLINE)[0]
        assert window.over() == f"signal {number.name}"
    assert window.report["ended_by"] == f"signal {number.name}" and window.report["in_force"] is True


def test_window_of_a_killed_keeper_is_closed_by_another(api: ApiInFile) -> None:
    with WindowSession(spec_of(api)) as window:
        os.kill(window.keeper_pid, signal.SIGKILL)
        assert select.select([window], [], [], DEADLINE)[0]
        assert window.over() == "the keeper died"
        assert api.disabled != []
    assert api.disabled == [] and window.report["in_force"] is True
    assert window.report["ended_by"] == "the keeper of this window died"
    assert window.report["opened"] and window.report["seconds"] > 0


def held_for_ever(*_arguments: object) -> int:
    while True:
        os.kill(os.getpid(), signal.SIGSTOP)


def test_window_of_a_keeper_that_is_held_is_closed_by_another(api: ApiInFile) -> None:
    with WindowSession(spec_of(api)) as window:
        keeper = window.keeper_pid
        api.wait(lambda: api.mutex is None)
        os.kill(keeper, signal.SIGSTOP)
        api.wait(lambda: window.over() == "the keeper was stopped")
        assert api.disabled != []
    assert gone(keeper) and api.disabled == [] and window.report["in_force"] is True
    assert window.report["ended_by"] == "the keeper of this window died"


def test_keeper_that_is_held_while_it_opens_fails_the_opening(api: ApiInFile) -> None:
    with api.change() as state:
        state["never_open"] = ["web1/data/"]  # so that the keeper goes on probing
    log = api.path.with_suffix(".log")
    script = (
        rf"until grep -qs ' opening ' {log}; do sleep 0.05; done; kill -STOP $(sed -n '1s/.*\[\(.*\)\]:.*/\1/p' {log})"
    )
    window = WindowSession(spec_of(api, open_timeout=60.0))
    with subprocess.Popen(["sh", "-c", script]), pytest.raises(WindowError), window:
        pytest.fail("the block must not run")
    assert api.disabled == [] and window.report["in_force"] is True


def test_keepers_that_are_all_held_hang_nobody_and_are_no_success(
    api: ApiInFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hold(window: WindowSession) -> None:
        api.wait(lambda: api.mutex is None)
        os.kill(window.keeper_pid, signal.SIGSTOP)
        monkeypatch.setattr(_window, "keep", held_for_ever)

    with pytest.raises(WindowError, match=r"keepers of backup-web1/web1 died: run the relock playbook now"):
        with WindowSession(spec_of(api)) as window:
            hold(window)
    assert api.disabled != []


@pytest.mark.parametrize("call", ["GET lock", "PUT lock"])
def test_parent_dying_while_a_request_waits_for_its_answer_closes(api: ApiInFile, call: str) -> None:
    with api.change() as state:
        state["faults"][call] = ["slow"]
    pid, told = in_child(spec_of(api, open_timeout=60.0), lambda window: None)
    api.wait(lambda: not api.state["faults"][call])
    os.kill(pid, signal.SIGKILL)
    log = api.path.with_suffix(".log")
    ends = ("closed, in force", "not opened")
    api.wait(lambda: log.exists() and any(word in log.read_text(encoding="utf-8") for word in ends))
    assert api.disabled == []
    os.waitpid(pid, 0)
    os.close(told)


def test_signal_that_comes_with_the_keeper_closes_before_it_is_told(
    api: ApiInFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = os.fork

    def signalled_fork() -> int:
        pid = fork()
        if pid:
            os.kill(os.getpid(), signal.SIGTERM)
        return pid

    def opened_under_a_signal() -> None:
        monkeypatch.setattr(os, "fork", signalled_fork)
        window = WindowSession(spec_of(api))
        with pytest.raises(Interrupted), signals_raise(), window:
            pytest.fail("the block must not run")
        assert api.disabled == [] and not window.running

    in_a_process_of_one_thread(opened_under_a_signal)


def test_signal_while_it_closes_does_not_hide_that_it_did_not_close(api: ApiInFile) -> None:
    window = WindowSession(spec_of(api, close_timeout=2.0))
    log = api.path.with_suffix(".log")

    def lose_a_rule() -> None:
        with api.change() as state:
            state["rules"] = [rule for rule in state["rules"] if rule["prefix"] != "web1/data/"]

    def closed_under_a_signal() -> None:
        sender = f"until grep -qs ' closing: ' {log}; do sleep 0.05; done; kill -TERM {os.getpid()}"
        with pytest.raises(Interrupted), signals_raise(), subprocess.Popen(["sh", "-c", sender]), window:
            lose_a_rule()
        assert window.report["in_force"] is False and "web1/data/" in window.report["error"]

    in_a_process_of_one_thread(closed_under_a_signal)


def test_no_process_for_the_keeper_is_one_sentence(api: ApiInFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_fork() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "fork", no_fork)
    with pytest.raises(WindowError, match="could be started: Resource temporarily"), WindowSession(spec_of(api)):
        pytest.fail("the block must not run")
    assert os.listdir("/proc/self/fd") == before


def test_parent_dying_while_the_window_opens_closes_it(api: ApiInFile) -> None:
    with api.change() as state:
        state["never_open"] = ["web1/data/"]  # so that the keeper goes on probing
    pid, told = in_child(spec_of(api, open_timeout=60.0), lambda window: None)
    api.wait(lambda: api.disabled != [])
    os.kill(pid, signal.SIGKILL)
    api.wait(lambda: api.disabled == [])
    os.waitpid(pid, 0)
    os.close(told)
