# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper as a process: real forks, pipes and signals; only Cloudflare and R2 are played, by a file."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils import _keeper
from ansible_collections.holdfast.restic_r2.plugins.module_utils._cloudflare import LockUpdate, Unreachable
from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._lock_rules import close_window, lock_set, windows
from ansible_collections.holdfast.restic_r2.plugins.module_utils._s3 import S3Object
from ansible_collections.holdfast.restic_r2.plugins.module_utils._window import (
    Window,
    WindowError,
    WindowSpec,
    open_window,
)


class World:
    """The lock document, what was called, and what goes wrong: in a file, because several processes share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.change() as state:
            state.update(rules=lock_set("web1/"), calls=[], faults={}, lag=0, enforced_open=[])

    @contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        # Replaced as a whole, because the processes that share it are killed at any moment.
        with open(self.path.with_suffix(".lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
            yield state
            new = self.path.with_suffix(".new")
            new.write_text(json.dumps(state), encoding="utf-8")
            new.replace(self.path)

    @property
    def state(self) -> dict[str, Any]:
        with self.change() as state:
            return state

    @property
    def disabled(self) -> list[str]:
        return [rule["prefix"] for rule in self.state["rules"] if not rule["enabled"]]

    def wait(self, condition: Callable[[], bool], seconds: float = 10) -> float:
        start = time.monotonic()
        while not condition():
            assert time.monotonic() - start < seconds, "this never came about"
            time.sleep(0.005)
        return time.monotonic() - start


class FakeCloudflare:
    """What the keeper needs of the client, over the file."""

    jurisdiction = "default"

    def __init__(self, world: World, **settings: Any) -> None:
        self.world = world
        self.patience = settings["patience"]
        self.priority = 0

    def server_time(self) -> datetime:
        return datetime.now(timezone.utc) + timedelta(hours=5)

    def _call(self, name: str) -> None:
        with self.world.change() as state:
            state["calls"].append(name)
            fault = state["faults"].get(name) or []
            happens = fault.pop(0) if fault else None
        if happens == "lost":
            raise Unreachable("No answer.")

    def lock_rules(self, bucket: str, *, patience: float | None = None) -> list[dict[str, Any]]:
        self._call("GET")
        return self.world.state["rules"]

    def replace_lock_rules(self, bucket: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self._call("PUT")
        with self.world.change() as state:
            state["rules"] = rules
        self._call("after PUT")
        return self.lock_rules(bucket)

    def update_lock_rules(self, bucket: str, change: Any, *, patience: float | None = None) -> LockUpdate:
        before = self.lock_rules(bucket)
        after = change(before)
        if after == before:
            return LockUpdate(before, after, False)
        return LockUpdate(before, self.replace_lock_rules(bucket, after), True)


class FakeS3:
    """Objects below every prefix; locked as the document says, or as the world overrules it."""

    def __init__(self, world: World) -> None:
        self.world = world

    def first_key(self, prefix: str) -> str | None:
        return prefix + "object"

    def put_if(self, key: str, body: bytes, *, etag: str | None = None) -> str | None:
        with self.world.change() as state:
            if state.get("turn") != etag:
                return None
            state["turn"], state["turn_time"] = body.hex(), time.time()
        return body.hex()

    def head(self, key: str) -> S3Object | None:
        state = self.world.state
        moment = datetime.fromtimestamp(state.get("turn_time", 0), timezone.utc) + timedelta(hours=5)
        return S3Object(key, 16, moment, state["turn"]) if state.get("turn") else None

    def delete(self, key: str) -> None:
        with self.world.change() as state:
            state["turn"] = None

    def probe(self, key: str) -> str:
        state = self.world.state
        if any(key.startswith(prefix) for prefix in state.get("never_open", [])):
            return "locked"
        locked = any(rule["enabled"] and key.startswith(rule["prefix"]) for rule in state["rules"])
        return "locked" if locked else "open"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world.json")


@pytest.fixture(autouse=True)
def quick_aftershocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_keeper, "_AFTERSHOCKS", (0.01, 0.2))
    monkeypatch.setattr(_keeper, "_STUBBORN_PATIENCE", 0.3)
    monkeypatch.setattr(_keeper, "_SHARED_AFTERSHOCKS", ())


def spec_of(world: World, **changes: Any) -> WindowSpec:
    values: dict[str, Any] = {
        "bucket": "backup-web1",
        "prefix": "web1",
        "parts": ("index", "data"),
        "cloudflare": lambda **settings: FakeCloudflare(world, **settings),
        "s3": lambda **settings: FakeS3(world),
        "open_patience": 1.0,
        "close_patience": 5.0,
        "grace_seconds": 5.0,
        "log_path": str(world.path.with_suffix(".log")),
    }
    return WindowSpec(**{**values, **changes})


def in_child(spec: WindowSpec, work: Callable[[Window], None]) -> tuple[int, int]:
    """Run a window in a process of its own, as a module would; returns its pid and a pipe that tells the holder."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with open_window(spec) as window:
                os.write(writing, f"{window._pid}\n".encode())
                work(window)
        finally:
            os._exit(0)
    os.close(writing)
    return pid, reading


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


# --- the normal course -----------------------------------------------------------------------------------------------


def test_window_is_open_inside_the_block_and_locked_after_it(world: World) -> None:
    with open_window(spec_of(world)) as window:
        assert world.disabled == ["web1/data/", "web1/index/", f"web1/window/{window.holder}"]
        (found,) = windows(world.state["rules"])
        assert found.holder == window.holder
    assert world.state["rules"] == lock_set("web1/")
    report = window.report
    assert report["in_force"] is True and report["ended_by"] == "its work is done" and report["error"] is None
    assert report["repository"] == "backup-web1/web1" and report["prefixes"] == ["web1/index/", "web1/data/"]
    assert report["opened"] and report["closed"] and report["lease"] and report["seconds"] > 0


def test_a_window_costs_six_calls(world: World) -> None:
    with world.change() as state:
        state["rules"] = lock_set("")
    with open_window(spec_of(world, prefix="")):
        pass
    calls = [call for call in world.state["calls"] if call != "after PUT"]
    assert calls == ["GET", "PUT", "GET"] * 2


def test_window_in_a_shared_bucket_takes_its_turn_and_gives_it_back(world: World) -> None:
    with open_window(spec_of(world)):
        world.wait(lambda: world.state["turn"] is None)
    assert world.state["turn"] is None and world.state["turn_time"] > 0


def test_lease_is_of_the_server_clock(world: World) -> None:
    with open_window(spec_of(world, lease_seconds=100)):
        (found,) = windows(world.state["rules"])
        assert found.lease is not None
        left = found.lease - datetime.now(timezone.utc) - timedelta(hours=5)
        assert 95 < left.total_seconds() <= 100


def test_no_zombie_no_pipe_and_no_process_is_left(world: World) -> None:
    before = os.listdir("/proc/self/fd")
    with open_window(spec_of(world)) as window:
        keeper = window._pid
        assert os.getsid(keeper) == keeper != os.getsid(0)
    assert os.listdir("/proc/self/fd") == before
    assert not Path(f"/proc/{keeper}").exists()
    with pytest.raises(ChildProcessError):
        os.waitpid(keeper, os.WNOHANG)


def test_keeper_holds_nothing_but_its_pipes(world: World) -> None:
    with open(os.devnull, encoding="utf-8"), open_window(spec_of(world)) as window:
        links = {fd: os.readlink(f"/proc/{window._pid}/fd/{fd}") for fd in os.listdir(f"/proc/{window._pid}/fd")}
    assert {links[fd] for fd in ("0", "1", "2")} == {"/dev/null"}
    # The two pipes to the parent and both ends of the one that wakes it up at signals.
    assert sum(link.startswith("pipe:") for link in links.values()) == 4
    own = str(world.path.with_suffix(""))
    assert all(link.startswith(("pipe:", own)) or link == "/dev/null" for link in links.values())


def test_child_of_the_module_does_not_keep_the_window_open(world: World) -> None:
    with open_window(spec_of(world)):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.poll() is None  # had it inherited the pipe, the block would still be waiting
    child.communicate(b"\n")


def test_exception_in_the_block_closes_and_goes_on(world: World) -> None:
    with pytest.raises(ZeroDivisionError), open_window(spec_of(world)) as window:
        raise ZeroDivisionError
    assert world.disabled == [] and window.report["in_force"] is True


def test_every_step_is_logged(world: World) -> None:
    spec = spec_of(world, reason="prune of web1")
    with open_window(spec) as window:
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


def test_secrets_are_not_in_the_repr(world: World) -> None:
    assert "cloudflare" not in repr(spec_of(world)) and "s3" not in repr(spec_of(world))


# --- deaths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_death_of_the_parent_closes_within_a_second(world: World, number: signal.Signals) -> None:
    pid, told = in_child(spec_of(world), lambda window: time.sleep(60))
    keeper = int(os.read(told, 100))
    os.close(told)
    os.kill(pid, number)
    assert world.wait(lambda: world.disabled == []) < 1
    os.waitpid(pid, 0)
    world.wait(lambda: gone(keeper))


def test_death_of_the_whole_process_group_closes(world: World) -> None:
    def work(window: Window) -> None:
        time.sleep(60)

    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        with open_window(spec_of(world)) as window:
            os.write(writing, b"open\n")
            work(window)
        os._exit(0)
    os.close(writing)
    os.read(reading, 100)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reading)
    assert world.wait(lambda: world.disabled == []) < 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_to_the_keeper_closes_and_the_parent_learns_it(world: World, number: signal.Signals) -> None:
    with open_window(spec_of(world)) as window:
        assert window.over() is None
        os.kill(window._pid, number)
        assert world.wait(lambda: world.disabled == []) < 1
        assert select.select([window], [], [], 5)[0]
        assert window.over() == f"signal {number.name}"
    assert window.report["ended_by"] == f"signal {number.name}" and window.report["in_force"] is True


def test_window_of_a_killed_keeper_is_closed_by_another(world: World) -> None:
    with open_window(spec_of(world)) as window:
        os.kill(window._pid, signal.SIGKILL)
        assert select.select([window], [], [], 5)[0]
        assert window.over() == "the keeper died"
        assert world.disabled != []
    assert world.disabled == [] and window.report["in_force"] is True
    assert window.report["ended_by"] == "the keeper of this window died"


def test_parent_dying_while_the_window_opens_closes_it(world: World) -> None:
    with world.change() as state:
        state["never_open"] = ["web1/data/"]  # so that the keeper goes on probing
    pid, told = in_child(spec_of(world, open_patience=60.0), lambda window: None)
    world.wait(lambda: world.disabled != [])
    os.kill(pid, signal.SIGKILL)
    assert world.wait(lambda: world.disabled == []) < 1
    os.waitpid(pid, 0)
    os.close(told)


# --- work that outlives its window -----------------------------------------------------------------------------------


STUBBORN = (
    "import signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)
# Ends at SIGINT like restic does; its exit status tells whether the window was still open a moment later.
POLITE = """
import sys, time
print("up", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.3)
    sys.exit(130 if "false" in open(sys.argv[1]).read() else 1)
"""


def child_of(code: str, world: World) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", code, str(world.path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    return child


@pytest.mark.parametrize(("code", "status"), [(POLITE, 130), (STUBBORN, -signal.SIGKILL)])
def test_work_is_ended_at_the_cap_before_the_window_closes(world: World, code: str, status: int) -> None:
    spec = spec_of(world, cap_seconds=1.5, grace_seconds=0.5)
    with open_window(spec) as window, child_of(code, world) as child:
        window.guards(child.pid)
        assert child.wait(10) == status
    assert window.report["ended_by"] == "the longest time that was allowed is over"
    assert world.disabled == []


def test_work_is_interrupted_when_the_parent_is_killed(world: World) -> None:
    reading, writing = os.pipe()

    def work(window: Window) -> None:
        child = child_of(POLITE, world)
        window.guards(child.pid)
        os.write(writing, f"{child.pid}\n".encode())
        time.sleep(60)

    pid, told = in_child(spec_of(world), work)
    child = int(os.read(reading, 100))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    world.wait(lambda: gone(child))
    world.wait(lambda: world.disabled == [])
    for descriptor in (reading, writing, told):
        os.close(descriptor)


def test_work_that_is_done_is_not_signalled(world: World) -> None:
    with child_of(POLITE, world) as child:
        with open_window(spec_of(world)) as window:
            window.guards(child.pid)
        assert child.poll() is None
        child.kill()


# --- lease -----------------------------------------------------------------------------------------------------------


def test_lease_is_extended_while_the_work_goes_on_but_not_past_the_cap(world: World) -> None:
    leases = set()
    with open_window(spec_of(world, lease_seconds=3.9, cap_seconds=6)) as window:
        opened, last = time.monotonic(), datetime.now(timezone.utc) + timedelta(hours=5, seconds=6)
        while window.over() is None:
            leases |= {found.lease for found in windows(world.state["rules"]) if found.lease}
            select.select([window], [], [], 0.05)
        assert 5 < time.monotonic() - opened < 8
    assert len(leases) >= 2
    assert max(leases) <= last
    assert world.disabled == []


def test_lease_is_never_longer_than_the_cap(world: World) -> None:
    with open_window(spec_of(world, lease_seconds=300, cap_seconds=10)):
        (found,) = windows(world.state["rules"])
    assert found.lease is not None
    assert found.lease <= datetime.now(timezone.utc) + timedelta(hours=5, seconds=10)


def test_window_closes_at_its_lease_when_it_cannot_be_extended(world: World) -> None:
    with open_window(spec_of(world, lease_seconds=2)) as window:
        with world.change() as state:
            state["faults"]["GET"] = ["lost"] * 4
        assert select.select([window], [], [], 10)[0]
    assert window.report["in_force"] is True
    assert window.report["ended_by"] == "the lease ran out"


def test_window_that_a_guard_closed_is_not_opened_again(world: World) -> None:
    with open_window(spec_of(world, lease_seconds=2)) as window:
        with world.change() as state:
            state["rules"] = close_window(state["rules"], "web1/")
        assert select.select([window], [], [], 10)[0]
        assert world.disabled == []
    assert "closed or taken over" in window.report["ended_by"]
    assert window.report["closed_by_other"] is True and window.report["in_force"] is True


# --- failures --------------------------------------------------------------------------------------------------------


def test_lock_that_stays_in_force_ends_the_attempt(world: World) -> None:
    with world.change() as state:
        state["never_open"] = ["web1/data/"]
    with pytest.raises(WindowError, match=r"web1/data/ in bucket backup-web1 was lifted but is still enforced"):
        with open_window(spec_of(world)):
            pytest.fail("the block must not run")
    assert world.disabled == []


def test_nothing_is_changed_when_the_lock_set_is_incomplete(world: World) -> None:
    with world.change() as state:
        del state["rules"][0]
    with pytest.raises(WindowError, match="not complete"), open_window(spec_of(world)):
        pytest.fail("the block must not run")
    assert "PUT" not in world.state["calls"]


@pytest.mark.parametrize("when", ["PUT", "after PUT"])
def test_lost_answer_to_the_opening_write_ends_locked(world: World, when: str) -> None:
    with world.change() as state:
        state["faults"][when] = ["lost"] * 2
    with pytest.raises(WindowError, match="No answer"), open_window(spec_of(world, open_patience=0.4)):
        pytest.fail("the block must not run")
    assert world.disabled == []


def test_unlock_that_takes_effect_after_all_is_closed_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_keeper, "_AFTERSHOCKS", (1.0, 1.0))
    with world.change() as state:
        state["faults"]["PUT"] = ["lost"]
    spec = spec_of(world, open_patience=0.1)
    pid, told = in_child(spec, lambda window: None)
    log = Path(str(spec.log_path))
    world.wait(lambda: log.exists() and "closed, in force" in log.read_text(encoding="utf-8"))
    with world.change() as state:  # the write that nobody answered comes through only now
        state["rules"] = [dict(rule, enabled=False) for rule in state["rules"]]
    os.waitpid(pid, 0)
    os.close(told)
    assert world.state["rules"] == lock_set("web1/")


def test_closing_outlasts_failures(world: World) -> None:
    with open_window(spec_of(world)) as window:
        with world.change() as state:
            state["faults"] = {"GET": ["lost", "lost"], "PUT": ["lost"]}
    assert world.disabled == [] and window.report["in_force"] is True


def test_closing_that_never_works_is_said_with_what_to_run(world: World) -> None:
    with pytest.raises(WindowError) as caught, open_window(spec_of(world, close_patience=0.5)) as window:
        with world.change() as state:
            state["faults"]["GET"] = ["lost"] * 50
    text = str(caught.value)
    assert "could not be proved to be in force" in text and "No answer" in text
    assert "holdfast.restic_r2.r2_bucket_relock -a 'buckets=backup-web1 force=true'" in text
    assert window.report["in_force"] is False
    assert text in Path(str(window.spec.log_path)).read_text(encoding="utf-8")


def test_rule_that_somebody_removed_meanwhile_is_reported(world: World) -> None:
    with pytest.raises(WindowError, match="no enabled lock rule for web1/data/"), open_window(spec_of(world)):
        with world.change() as state:
            state["rules"] = [rule for rule in state["rules"] if rule["id"] != "holdfast/web1/data"]
    assert world.disabled == []


def test_failing_keeper_never_runs_the_code_of_its_parent(world: World) -> None:
    def broken(**settings: Any) -> Any:
        raise RuntimeError("no client today")

    with pytest.raises(WindowError, match="no client today"), open_window(spec_of(world, cloudflare=broken)):
        pytest.fail("the block must not run")


def test_error_of_the_work_is_kept_when_closing_fails_too(world: World) -> None:
    def work() -> None:
        with world.change() as state:
            state["faults"]["GET"] = ["lost"] * 50
        raise HoldfastError("the work failed")

    with pytest.raises(WindowError) as caught, open_window(spec_of(world, close_patience=0.3)):
        work()
    assert str(caught.value.__cause__) == "the work failed"
