# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pacing calls of several processes together."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2 import rate_limit as _pace
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.api import AT_ONCE, CLOSING, NORMAL
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.rate_limit import (
    ALLOWED,
    LIMITS,
    SharedRateLimit,
    shared_rate_limit,
)


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(_pace, "elapsed", lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_calls_below_the_limit_do_not_wait(tmp_path: Path, clock: Clock) -> None:
    rate_limit = SharedRateLimit(str(tmp_path / "calls"), clock.sleep, limits=(5, 8), period=10)
    for _call in range(5):
        rate_limit.before_call(NORMAL)
    assert clock.now == 1000.0


def test_what_is_left_is_told_and_comes_back(tmp_path: Path, clock: Clock) -> None:
    rate_limit = SharedRateLimit(str(tmp_path / "calls"), clock.sleep)
    assert rate_limit.left() is None
    for _call in range(3):
        rate_limit.before_call(NORMAL)
    assert rate_limit.left() == ALLOWED - 3
    clock.now += 301
    assert rate_limit.left() == ALLOWED


def test_one_call_too_many_waits_until_the_oldest_is_forgotten(tmp_path: Path, clock: Clock) -> None:
    rate_limit = SharedRateLimit(str(tmp_path / "calls"), clock.sleep, limits=(5, 8), period=10)
    for _call in range(5):
        rate_limit.before_call(NORMAL)
        clock.now += 1
    rate_limit.before_call(NORMAL)
    assert clock.now == pytest.approx(1010.0)


def test_what_must_not_wait_is_counted(tmp_path: Path, clock: Clock) -> None:
    rate_limit = SharedRateLimit(str(tmp_path / "calls"), clock.sleep, limits=(5, 8), period=10)
    for _call in range(20):
        rate_limit.before_call(AT_ONCE)
    assert clock.now == 1000.0
    rate_limit.before_call(NORMAL)
    assert clock.now == pytest.approx(1010.0)


def test_closing_goes_before_opening(tmp_path: Path, clock: Clock) -> None:
    path = str(tmp_path / "calls")
    for _call in range(5):
        SharedRateLimit(path, clock.sleep, limits=(5, 8), period=10).before_call(NORMAL)
    for _call in range(3):
        SharedRateLimit(path, clock.sleep, limits=(5, 8), period=10).before_call(CLOSING)
    assert clock.now == 1000.0
    SharedRateLimit(path, clock.sleep, limits=(5, 8), period=10).before_call(NORMAL)
    assert clock.now >= 1010.0


def test_processes_share_one_limit(tmp_path: Path) -> None:
    path, processes, each = str(tmp_path / "calls"), 4, 10
    started = time.monotonic()
    children = []
    for _process in range(processes):
        child = os.fork()
        if child == 0:
            rate_limit = SharedRateLimit(path, limits=(20, 20), period=1.0)
            for _call in range(each):
                rate_limit.before_call(NORMAL)
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    assert time.monotonic() - started >= 1.0  # forty calls, twenty at once


def test_file_of_an_earlier_boot_or_of_nonsense_holds_nobody_back(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "calls"
    rate_limit = SharedRateLimit(str(path), clock.sleep, limits=(5, 8), period=10)
    clock.now = 99999.0
    for _call in range(5):
        rate_limit.before_call(NORMAL)
    clock.now = 10.0  # the clock began anew
    rate_limit.before_call(NORMAL)
    assert clock.now == 10.0
    path.write_bytes(b"nonsense that is no number of eight bytes")
    rate_limit.before_call(NORMAL)
    assert clock.now == 10.0


def test_place_that_is_not_ours_alone_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_HOME", str(tmp_path / "home"))
    assert shared_rate_limit("https://api.example", "0" * 32) is not None
    (tmp_path / "home" / "holdfast").chmod(0o777)
    assert shared_rate_limit("https://api.example", "0" * 32) is None
    monkeypatch.setenv("ANSIBLE_HOME", "/proc/nowhere")
    assert shared_rate_limit("https://api.example", "0" * 32) is None


def test_disk_that_is_full_stops_no_call(tmp_path: Path) -> None:
    SharedRateLimit(str(tmp_path / "no" / "such" / "folder"), limits=(0, 0)).before_call(NORMAL)


def test_process_that_hangs_with_the_lock_stops_no_call(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        SharedRateLimit(str(path), limits=(0, 0)).before_call(NORMAL)


def test_limits_are_below_those_of_the_api() -> None:
    assert LIMITS[NORMAL] < LIMITS[CLOSING] < 1200
