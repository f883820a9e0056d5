# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintenance of several hosts as a job that AWX cancels, that takes too long, or that loses its container."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.awx.private_data import CONTAINER, HOSTS, Jobs, cancel, jobs
from tests.support.waiting import wait_for

# Whole runs of maintenance, also on a busy machine.


@pytest.fixture(name="there")
def fixture_there(tmp_path: Path) -> Iterator[Jobs]:
    with jobs(tmp_path) as found:
        yield found


def assert_next_job_ends_the_work(there: Jobs) -> None:
    """Nothing is lost, and the next scheduled job finds nothing in its way."""
    assert all(count >= 1 for count in there.snapshots())
    job = there.run("maintenance")
    assert (job.status, job.rc) == ("successful", "0"), job.output
    assert there.snapshots() == [1] * HOSTS
    assert there.locked() == [True] * HOSTS


@pytest.mark.proof
def test_canceled_job(there: Jobs) -> None:
    job = there.end("maintenance", cancel, hold=15)
    assert job.status == "canceled", job.output
    # Without a container the modules live on, and their keepers with them: each closes its own window.
    wait_for(lambda: all(there.locked()), "the locks", 120)
    assert_next_job_ends_the_work(there)


@pytest.mark.proof
def test_job_that_takes_too_long(there: Jobs) -> None:
    job = there.end("maintenance", lambda process: process.wait(120), hold=40, timeout=45)
    assert job.status == "timeout", job.output
    wait_for(lambda: all(there.locked()), "the locks", 120)
    assert_next_job_ends_the_work(there)


@pytest.mark.proof
def test_job_whose_container_is_killed(there: Jobs) -> None:
    job = there.end("maintenance", subprocess.Popen.kill, *CONTAINER, hold=30)
    # Nobody is left who could write down how it ended.
    assert job.status in ("", "running"), job.output
    assert not all(there.locked()), "no window was open: the case tests nothing"
    guard = there.guard()
    assert (guard.status, guard.rc) == ("successful", "0"), guard.output
    assert there.locked() == [True] * HOSTS
    assert_next_job_ends_the_work(there)
