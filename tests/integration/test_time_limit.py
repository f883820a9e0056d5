# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository that takes too long is ended: what is open is closed, and it is told why."""

from __future__ import annotations

import signal
from pathlib import Path
from threading import Event

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.process_signals import (
    Interrupted,
    signals_raise,
    signals_wait,
)

from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.maintenance import LockedRepository
from tests.support.running import Ansible


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


@pytest.mark.proof
def test_a_repository_that_is_slow_holds_up_no_other(
    ansible: Ansible, stand_in: StandIn, tmp_path: Path, restic_path: str
) -> None:
    fleet = Fleet(tmp_path / "fleet", stand_in, restic_path, ("web1", "web2"))
    fleet.common.update(holdfast_repository_timeout=60, holdfast_retention={"keep_last": 1})
    assert ansible.playbook("holdfast.restic_r2.site", fleet.inventory).exit_code == 0
    for number in range(2):
        for name in ("web1", "web2"):
            fleet.fill(name, number)
            assert fleet.backup(name).returncode == 0
    # Each answer comes in time, so that no request is given up.
    stand_in.fault(path="^/backup-web1", delay=12.0, times=0)
    run = ansible.playbook("holdfast.restic_r2.maintenance", fleet.inventory)
    stand_in.clear_faults()
    (slow,) = run.of(action="holdfast.restic_r2.restic_prune", host="web1")
    assert "was ended by its time limit of 60 seconds; nothing was deleted" in slow.result["msg"], run.output
    states = dict(row.split()[:2] for row in run.of(task="Show the table")[-1].result["msg"][1:])
    assert run.exit_code == 2 and states == {"web1": "FAILED", "web2": "ok"}, run.output
    left = {name: len(snapshots(stand_in, f"backup-{name}")) for name in ("web1", "web2")}
    assert left == {"web1": 2, "web2": 1}


def snapshots(stand_in: StandIn, bucket: str) -> list[str]:
    return [key for key in stand_in.objects(bucket) if key.startswith("snapshots/")]
