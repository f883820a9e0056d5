# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a window ends when something goes wrong: work that will not stop, leases, failing calls."""

from __future__ import annotations

import os
import select
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common import system_log as _system_log
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import close_window, windows
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import closer as _closer
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.session import (
    WindowError,
    WindowSession,
)

from tests.support.api_in_file import ApiInFile, in_child, spec_of
from tests.support.waiting import DEADLINE


@pytest.fixture
def api(tmp_path: Path) -> ApiInFile:
    return ApiInFile(tmp_path / "api.json")


@pytest.fixture(autouse=True)
def quick_aftershocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_closer, "_AFTERSHOCKS", (0.01, 0.2))
    monkeypatch.setattr(_closer, "_REFUSED_TIMEOUT", 0.3)
    monkeypatch.setattr(_closer, "_SHARED_AFTERSHOCKS", ())


# --- lease -----------------------------------------------------------------------------------------------------------


def test_lease_is_extended_while_the_work_goes_on_but_not_past_the_cap(api: ApiInFile) -> None:
    leases = set()
    with WindowSession(spec_of(api, lease_seconds=6, cap_seconds=9)) as window:
        last = datetime.now(timezone.utc) + timedelta(hours=5, seconds=9)
        while window.over() is None:
            leases |= {found.lease for found in windows(api.rules) if found.lease}
            select.select([window], [], [], 0.05)
    assert window.report["ended_by"] == "the longest time that was allowed is over"
    assert len(leases) >= 2
    assert max(leases) <= last
    assert api.disabled == []


def test_lease_is_never_longer_than_the_cap(api: ApiInFile) -> None:
    with WindowSession(spec_of(api, lease_seconds=300, cap_seconds=10)):
        (found,) = windows(api.rules)
    assert found.lease is not None
    assert found.lease <= datetime.now(timezone.utc) + timedelta(hours=5, seconds=10)


def test_window_closes_at_its_lease_when_it_cannot_be_extended(api: ApiInFile) -> None:
    with WindowSession(spec_of(api, lease_seconds=5)) as window:
        with api.change() as state:
            state["faults"]["GET lock"] = ["lost"] * 7
        assert select.select([window], [], [], DEADLINE)[0]
    assert window.report["in_force"] is True
    assert window.report["ended_by"] == "the lease ran out"


def test_window_closes_at_its_lease_while_a_request_waits_for_its_answer(api: ApiInFile) -> None:
    with WindowSession(spec_of(api, lease_seconds=5)) as window:
        with api.change() as state:
            state["faults"]["GET lock"] = ["slow"]  # that of the extension
        api.wait(lambda: not api.state["faults"]["GET lock"])
        api.wait(lambda: api.disabled == [])
    assert window.report["ended_by"] == "the lease ran out" and window.report["in_force"] is True


def test_window_that_is_not_open_by_its_lease_is_given_up(api: ApiInFile) -> None:
    with api.change() as state:
        state["never_open"] = ["web1/data/"]
    with pytest.raises(WindowError, match="the lease ran out"):
        with WindowSession(spec_of(api, lease_seconds=5)):
            pytest.fail("the block must not run")
    assert api.disabled == []


def test_window_that_a_guard_closed_is_not_opened_again(api: ApiInFile) -> None:
    with WindowSession(spec_of(api, lease_seconds=5)) as window:
        with api.change() as state:
            state["rules"] = close_window(state["rules"], "web1/")
        assert select.select([window], [], [], DEADLINE)[0]
        assert api.disabled == []
    assert "closed or taken over" in window.report["ended_by"]
    assert window.report["closed_by_other"] is True and window.report["in_force"] is True


# --- failures --------------------------------------------------------------------------------------------------------


def test_lock_that_stays_in_force_ends_the_attempt(api: ApiInFile) -> None:
    with api.change() as state:
        state["never_open"] = ["web1/data/"]
    with pytest.raises(WindowError, match=r"web1/data/ in bucket backup-web1 was lifted but is still enforced"):
        with WindowSession(spec_of(api, open_timeout=1.0)):
            pytest.fail("the block must not run")
    assert api.disabled == []


def test_nothing_is_changed_when_the_lock_set_is_incomplete(api: ApiInFile) -> None:
    with api.change() as state:
        del state["rules"][0]
    with pytest.raises(WindowError, match="not complete"), WindowSession(spec_of(api)):
        pytest.fail("the block must not run")
    assert "PUT lock" not in api.calls


# The last one takes effect, and cannot be read back either.
FAILED_WRITES = {
    "denied": {"PUT lock": ["denied"] * 2},
    "lost": {"PUT lock": ["lost"] * 2},
    "answer lost": {"PUT lock": ["answer lost"] * 2, "GET lock": ["fine"] * 2 + ["lost"] * 3},
}


@pytest.mark.parametrize("fault", ["lost", "answer lost"])
def test_lost_answer_to_the_opening_write_ends_locked(api: ApiInFile, fault: str) -> None:
    with api.change() as state:
        state["faults"] = FAILED_WRITES[fault]
    with pytest.raises(WindowError, match="No answer"), WindowSession(spec_of(api, open_timeout=0.4)):
        pytest.fail("the block must not run")
    assert api.disabled == []


@pytest.mark.parametrize("fault", ["lost", "answer lost", "denied"])
def test_opening_write_that_failed_is_no_success_where_no_probe_can_tell(api: ApiInFile, fault: str) -> None:
    """What needs the window must not begin, although nothing is there whose lock could be probed."""
    api.empty = True
    with api.change() as state:
        state["faults"] = FAILED_WRITES[fault]
    with pytest.raises(WindowError, match="lacks the permission" if fault == "denied" else "No answer"):
        with WindowSession(spec_of(api, open_timeout=0.4)):
            pytest.fail("the block must not run")
    assert api.disabled == []


def test_unlock_that_takes_effect_after_all_is_closed_again(api: ApiInFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_closer, "_AFTERSHOCKS", (3.0, 3.0))
    with api.change() as state:
        state["faults"]["PUT lock"] = ["lost"]
    spec = spec_of(api, open_timeout=0.1)
    pid, told = in_child(spec, lambda window: None)
    log = Path(str(spec.log_path))
    api.wait(lambda: log.exists() and "closed, in force" in log.read_text(encoding="utf-8"))
    with api.change() as state:  # the write that nobody answered comes through only now
        state["rules"] = [dict(rule, enabled=False) for rule in state["rules"]]
    os.waitpid(pid, 0)
    os.close(told)
    assert api.rules == lock_set("web1/")


def test_closing_outlasts_failures(api: ApiInFile) -> None:
    with WindowSession(spec_of(api)) as window:
        with api.change() as state:
            state["faults"] = {"GET lock": ["lost", "lost"], "PUT lock": ["lost"]}
    assert api.disabled == [] and window.report["in_force"] is True


def test_closing_that_never_works_is_said_with_what_to_run(api: ApiInFile) -> None:
    with pytest.raises(WindowError) as caught, WindowSession(spec_of(api, close_timeout=0.5)) as window:
        with api.change() as state:
            state["faults"]["GET lock"] = ["lost"] * 50
    text = str(caught.value)
    assert "could not be proved to be in force" in text and "No answer" in text
    assert "holdfast.restic_r2.r2_bucket_relock -a 'buckets=backup-web1 force=true account_id=" in text
    assert window.report["in_force"] is False
    assert text in Path(str(window.spec.log_path)).read_text(encoding="utf-8")


def test_rule_that_somebody_removed_meanwhile_is_reported(api: ApiInFile) -> None:
    with pytest.raises(WindowError, match="no enabled lock rule for web1/data/"), WindowSession(spec_of(api)):
        with api.change() as state:
            state["rules"] = [rule for rule in state["rules"] if rule["id"] != "holdfast/web1/data"]
    assert api.disabled == []


def test_failing_keeper_never_runs_the_code_of_its_parent(api: ApiInFile) -> None:
    def broken(**settings: Any) -> Any:
        raise RuntimeError("no client today")

    with pytest.raises(WindowError, match="no client today"), WindowSession(spec_of(api, cloudflare=broken)):
        pytest.fail("the block must not run")


def test_error_of_the_work_is_kept_when_closing_fails_too(api: ApiInFile) -> None:
    def work() -> None:
        with api.change() as state:
            state["faults"]["GET lock"] = ["lost"] * 50
        raise HoldfastError("the work failed")

    with pytest.raises(WindowError) as caught, WindowSession(spec_of(api, close_timeout=0.3)):
        work()
    assert str(caught.value.__cause__) == "the work failed"


# --- logs that hang --------------------------------------------------------------------------------------------------


def test_log_that_takes_no_line_holds_up_nothing(api: ApiInFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system log that hangs, and a file that cannot be written on, from the middle of the window."""
    hung = api.path.with_suffix(".hung")
    monkeypatch.setattr(_system_log.syslog, "syslog", lambda *_line: time.sleep(60) if hung.exists() else None)
    spec = spec_of(api)
    with WindowSession(spec) as window:
        hung.touch()
        os.rename(str(spec.log_path), f"{spec.log_path}.before")
        os.mkfifo(str(spec.log_path))
        started = time.monotonic()
    assert window.report["in_force"] is True and api.disabled == []
    assert time.monotonic() - started < 30
