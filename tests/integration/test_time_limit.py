# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository that takes too long is ended: what is open is closed, and it is told why."""

from __future__ import annotations

import signal
from threading import Event

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.process_signals import (
    Interrupted,
    signals_raise,
    signals_wait,
)

from tests.support.maintenance import LockedRepository


def test_a_limit_without_sense_is_refused_before_anything_is_asked(site: LockedRepository) -> None:
    before = site.bed.stand_in.last_request()
    for seconds in (0, 59, 31 * 86400 + 1):
        assert "it must be from 60 to" in site.bed.module("restic_prune", keep_last=1, time_limit=seconds)["msg"]
    assert site.bed.stand_in.last_request() == before


def test_work_ends_at_its_limit_and_what_must_not_be_torn_apart_ends_first() -> None:
    done = []

    def work() -> None:
        with signals_raise(3600):
            with signals_wait():
                signal.raise_signal(signal.SIGALRM)  # as the timer does
                done.append("closed")
            done.append("went on")

    with pytest.raises(Interrupted, match="its time limit of 3600 seconds"):
        work()
    assert done == ["closed"]
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_timer_ends_the_work() -> None:
    with pytest.raises(Interrupted, match=r"its time limit of 0\.01 seconds"), signals_raise(0.01):
        Event().wait(60)
