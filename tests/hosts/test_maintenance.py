# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host's backup that begins while its repository is maintained succeeds, by the host's own job and keys.

At every request of maintenance, though not on a host: tests/matrix/test_backup.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.support import moments
from tests.support.hosts import BootedHosts, Host
from tests.support.running import Run
from tests.support.site import Site

pytestmark = [pytest.mark.hosts, pytest.mark.proof]

SAMPLE = ("trixie",)
UNIT = "holdfast-backup@data.service"


@pytest.fixture(scope="module")
def running(site: Site) -> Site:
    site.common.update(backup_jobs=[{"name": "data", "paths": ["/srv"]}], holdfast_retention={"keep_last": 1})
    site.provision()
    return site


def back_up(host: Host) -> None:
    """Something new, most of which is in no later backup."""
    host.run(f"head -c 400000 /dev/urandom >/srv/blob; date >>/srv/log; systemctl start {UNIT}")


def back_up_and_note(running: Site, host: Host, stored: list[int]) -> None:
    back_up(host)
    stored.append(number(running, kind="PutObject", path=f"/{running.bucket(host.name)}/snapshots/"))


def maintained(running: Site, host: Host, moment: dict[str, Any], work: Callable[[], None]) -> Run:
    """The maintenance of a host, which is held at this request of its repository until the work is done."""
    for _each in range(3):
        back_up(host)
    wanted = {**moment, "path": f"/{running.bucket(host.name)}{moment['path']}"}
    with moments.at(running.stand_in, wanted, work):
        run = running.play("maintenance", "--limit", host.name)
    assert run.exit_code == 0, run.output
    return run


def number(running: Site, **wanted: str) -> int:
    """The number of the last request in the log that has these values."""
    log = running.stand_in.requests()
    return max(one["n"] for one in log if all(value in one[name] for name, value in wanted.items()))


def assert_well(running: Site, host: Host, run: Run) -> None:
    (result,) = run.of(action="holdfast.restic_r2.restic_prune")
    assert result.result["removed"] and result.result["fences"][0]["tokens"], result.result
    assert len(running.snapshots(host)) == 2
    assert "no errors were found" in running.restic_run(host, "check", "--read-data")
    assert running.restic_run(host, "dump", "latest", "/srv/log").strip() == host.run("cat /srv/log")


def test_backup_is_not_delayed_by_a_prune_however_long_that_is_held(running: Site, fleet: BootedHosts) -> None:
    """restic would hold its lock for as long as it repacks. Here it goes on only when the backup has succeeded."""
    for host in fleet:
        bucket = f"/{running.bucket(host.name)}"
        # The first probes the lock.
        moment = {"kind": "PutObject", "path": "/index/", "agent": "holdfast", "skip": 1}
        stored: list[int] = []

        run = maintained(running, host, moment, partial(back_up_and_note, running, host, stored))
        assert stored[0] < number(running, kind="DeleteObjects", path=bucket)
        assert_well(running, host, run)


def test_backup_that_begins_behind_the_fence_waits_for_its_end(running: Site, fleet: BootedHosts) -> None:
    """The host's keys are refused then; its restic goes on asking, and the job neither fails nor has to be repeated."""
    for host in fleet:
        began = host.run("date --iso-8601=seconds")

        def work(host: Host = host) -> None:
            since = running.stand_in.last_request()
            host.run(f"date >>/srv/log; systemctl start --no-block {UNIT}")
            running.stand_in.wait_for_request(120, since=since, status=401, path=f"/{running.bucket(host.name)}")

        run = maintained(running, host, {"kind": "DeleteObjects", "path": ""}, work)
        host.await_success(f"systemctl show --value -p ActiveState {UNIT} | grep -qE '^(inactive|failed)$'", 300)
        assert host.property_of(UNIT, "Result") == "success"
        assert "run 2 of at most" not in host.run(
            f"journalctl --no-pager -o cat -u {UNIT} --since '{began[:19].replace('T', ' ')}'"
        )
        assert_well(running, host, run)
