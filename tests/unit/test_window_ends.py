# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a window ends when something goes wrong: work that will not stop, leases, failing calls."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common import journal as _journal
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import close_window, windows
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import closer as _closer
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.session import (
    WindowError,
    WindowSession,
)

from tests.support.processes import gone
from tests.support.waiting import DEADLINE
from tests.support.window_world import FakeS3, World, in_child, spec_of


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world.json")


@pytest.fixture(autouse=True)
def quick_aftershocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_closer, "_AFTERSHOCKS", (0.01, 0.2))
    monkeypatch.setattr(_closer, "_REFUSED_TIMEOUT", 0.3)
    monkeypatch.setattr(_closer, "_SHARED_AFTERSHOCKS", ())


# --- work that outlives its window -----------------------------------------------------------------------------------


STUBBORN = (
    "import signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
# Ends at SIGINT like restic does; its exit status tells whether the window was still open a moment later.
POLITE = """
import sys, time
print("up", flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    time.sleep(0.3)
    sys.exit(130 if "false" in open(sys.argv[1]).read() else 1)
"""


def child_of(code: str, world: World) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", code, str(world.path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    return child


@pytest.mark.parametrize(("code", "status", "grace"), [(POLITE, 130, 60), (STUBBORN, -signal.SIGKILL, 0.5)])
def test_work_is_ended_at_the_cap_before_the_window_closes(world: World, code: str, status: int, grace: float) -> None:
    with child_of(code, world) as child, WindowSession(spec_of(world, cap_seconds=5, grace_seconds=grace)) as window:
        window.add_worker(child.pid)
        assert child.wait(DEADLINE) == status
    assert window.report["ended_by"] == "the longest time that was allowed is over"
    assert world.disabled == []


def test_work_is_interrupted_when_the_parent_is_killed(world: World) -> None:
    reading, writing = os.pipe()

    def work(window: WindowSession) -> None:
        child = child_of(POLITE, world)
        window.add_worker(child.pid)
        os.write(writing, f"{child.pid}\n".encode())
        time.sleep(600)

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
        with WindowSession(spec_of(world)) as window:
            window.add_worker(child.pid)
        assert child.poll() is None
        child.kill()


# --- lease -----------------------------------------------------------------------------------------------------------


def test_lease_is_extended_while_the_work_goes_on_but_not_past_the_cap(world: World) -> None:
    leases = set()
    with WindowSession(spec_of(world, lease_seconds=6, cap_seconds=9)) as window:
        last = datetime.now(timezone.utc) + timedelta(hours=5, seconds=9)
        while window.over() is None:
            leases |= {found.lease for found in windows(world.state["rules"]) if found.lease}
            select.select([window], [], [], 0.05)
    assert window.report["ended_by"] == "the longest time that was allowed is over"
    assert len(leases) >= 2
    assert max(leases) <= last
    assert world.disabled == []


def test_lease_is_never_longer_than_the_cap(world: World) -> None:
    with WindowSession(spec_of(world, lease_seconds=300, cap_seconds=10)):
        (found,) = windows(world.state["rules"])
    assert found.lease is not None
    assert found.lease <= datetime.now(timezone.utc) + timedelta(hours=5, seconds=10)


def test_window_closes_at_its_lease_when_it_cannot_be_extended(world: World) -> None:
    with WindowSession(spec_of(world, lease_seconds=5)) as window:
        with world.change() as state:
            state["faults"]["GET"] = ["lost"] * 7
        assert select.select([window], [], [], DEADLINE)[0]
    assert window.report["in_force"] is True
    assert window.report["ended_by"] == "the lease ran out"


def test_window_closes_at_its_lease_while_a_request_waits_for_its_answer(world: World) -> None:
    with WindowSession(spec_of(world, lease_seconds=5)) as window:
        with world.change() as state:
            state["faults"]["GET"] = ["slow"]  # that of the extension
        world.wait(lambda: not world.state["faults"]["GET"])
        world.wait(lambda: world.disabled == [])
    assert window.report["ended_by"] == "the lease ran out" and window.report["in_force"] is True


def test_window_that_is_not_open_by_its_lease_is_given_up(world: World) -> None:
    with world.change() as state:
        state["never_open"] = ["web1/data/"]
    with pytest.raises(WindowError, match="the lease ran out"):
        with WindowSession(spec_of(world, lease_seconds=5)):
            pytest.fail("the block must not run")
    assert world.disabled == []


def test_window_that_a_guard_closed_is_not_opened_again(world: World) -> None:
    with WindowSession(spec_of(world, lease_seconds=5)) as window:
        with world.change() as state:
            state["rules"] = close_window(state["rules"], "web1/")
        assert select.select([window], [], [], DEADLINE)[0]
        assert world.disabled == []
    assert "closed or taken over" in window.report["ended_by"]
    assert window.report["closed_by_other"] is True and window.report["in_force"] is True


# --- failures --------------------------------------------------------------------------------------------------------


def test_lock_that_stays_in_force_ends_the_attempt(world: World) -> None:
    with world.change() as state:
        state["never_open"] = ["web1/data/"]
    with pytest.raises(WindowError, match=r"web1/data/ in bucket backup-web1 was lifted but is still enforced"):
        with WindowSession(spec_of(world, open_timeout=1.0)):
            pytest.fail("the block must not run")
    assert world.disabled == []


def test_nothing_is_changed_when_the_lock_set_is_incomplete(world: World) -> None:
    with world.change() as state:
        del state["rules"][0]
    with pytest.raises(WindowError, match="not complete"), WindowSession(spec_of(world)):
        pytest.fail("the block must not run")
    assert "PUT" not in world.state["calls"]


@pytest.mark.parametrize("when", ["PUT", "after PUT"])
def test_lost_answer_to_the_opening_write_ends_locked(world: World, when: str) -> None:
    with world.change() as state:
        state["faults"][when] = ["lost"] * 2
    with pytest.raises(WindowError, match="No answer"), WindowSession(spec_of(world, open_timeout=0.4)):
        pytest.fail("the block must not run")
    assert world.disabled == []


@pytest.mark.parametrize("when", ["PUT", "after PUT", "denied"])
def test_opening_write_that_failed_is_no_success_where_no_probe_can_tell(
    world: World, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """What needs the window must not begin, although nothing is there whose lock could be probed."""
    monkeypatch.setattr(FakeS3, "first_key", lambda _s3, _prefix: None)
    with world.change() as state:
        state["faults"] = {"PUT": ["denied"]} if when == "denied" else {when: ["lost"] * 2}
    with pytest.raises(WindowError, match="may not" if when == "denied" else "No answer"):
        with WindowSession(spec_of(world, open_timeout=0.4)):
            pytest.fail("the block must not run")
    assert world.disabled == []


def test_unlock_that_takes_effect_after_all_is_closed_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_closer, "_AFTERSHOCKS", (3.0, 3.0))
    with world.change() as state:
        state["faults"]["PUT"] = ["lost"]
    spec = spec_of(world, open_timeout=0.1)
    pid, told = in_child(spec, lambda window: None)
    log = Path(str(spec.log_path))
    world.wait(lambda: log.exists() and "closed, in force" in log.read_text(encoding="utf-8"))
    with world.change() as state:  # the write that nobody answered comes through only now
        state["rules"] = [dict(rule, enabled=False) for rule in state["rules"]]
    os.waitpid(pid, 0)
    os.close(told)
    assert world.state["rules"] == lock_set("web1/")


def test_closing_outlasts_failures(world: World) -> None:
    with WindowSession(spec_of(world)) as window:
        with world.change() as state:
            state["faults"] = {"GET": ["lost", "lost"], "PUT": ["lost"]}
    assert world.disabled == [] and window.report["in_force"] is True


def test_closing_that_never_works_is_said_with_what_to_run(world: World) -> None:
    with pytest.raises(WindowError) as caught, WindowSession(spec_of(world, close_timeout=0.5)) as window:
        with world.change() as state:
            state["faults"]["GET"] = ["lost"] * 50
    text = str(caught.value)
    assert "could not be proved to be in force" in text and "No answer" in text
    assert "holdfast.restic_r2.r2_bucket_relock -a 'buckets=backup-web1 force=true account_id=" in text
    assert window.report["in_force"] is False
    assert text in Path(str(window.spec.log_path)).read_text(encoding="utf-8")


def test_rule_that_somebody_removed_meanwhile_is_reported(world: World) -> None:
    with pytest.raises(WindowError, match="no enabled lock rule for web1/data/"), WindowSession(spec_of(world)):
        with world.change() as state:
            state["rules"] = [rule for rule in state["rules"] if rule["id"] != "holdfast/web1/data"]
    assert world.disabled == []


def test_failing_keeper_never_runs_the_code_of_its_parent(world: World) -> None:
    def broken(**settings: Any) -> Any:
        raise RuntimeError("no client today")

    with pytest.raises(WindowError, match="no client today"), WindowSession(spec_of(world, cloudflare=broken)):
        pytest.fail("the block must not run")


def test_error_of_the_work_is_kept_when_closing_fails_too(world: World) -> None:
    def work() -> None:
        with world.change() as state:
            state["faults"]["GET"] = ["lost"] * 50
        raise HoldfastError("the work failed")

    with pytest.raises(WindowError) as caught, WindowSession(spec_of(world, close_timeout=0.3)):
        work()
    assert str(caught.value.__cause__) == "the work failed"


# --- logs that hang --------------------------------------------------------------------------------------------------


def test_log_that_takes_no_line_holds_up_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system log that hangs, and a file that cannot be written on, from the middle of the window."""
    hung = world.path.with_suffix(".hung")
    monkeypatch.setattr(_journal.syslog, "syslog", lambda *_line: time.sleep(60) if hung.exists() else None)
    spec = spec_of(world)
    with WindowSession(spec) as window:
        hung.touch()
        os.rename(str(spec.log_path), f"{spec.log_path}.before")
        os.mkfifo(str(spec.log_path))
        started = time.monotonic()
    assert window.report["in_force"] is True and world.disabled == []
    assert time.monotonic() - started < 30
