# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service is gone for minutes: jobs wait for it as long as they may, and whoever may not says that it failed."""

from __future__ import annotations

import time

import pytest

from tests.hosts.heartbeat import Heartbeat
from tests.support.hosts import Host
from tests.support.site import Site

pytestmark = pytest.mark.hosts

# In seconds. restic gives up after a quarter of an hour; the other test files run meanwhile.
OUTAGE = 120
PATIENT, HASTY = "holdfast-backup@patient.service", "holdfast-backup@hasty.service"
JOBS = [{"name": "patient", "paths": ["/srv"]}, {"name": "hasty", "paths": ["/srv"], "timeout": "20s"}]


def state(host: Host, unit: str) -> str:
    """Whether it runs, ended or failed."""
    return host.property_of(unit, "ActiveState")


@pytest.mark.proof
def test_endpoint_gone_for_minutes_and_back(site: Site, heartbeat: Heartbeat) -> None:
    account = site.stand_in
    site.common.update(backup_jobs=JOBS, backup_reruns=0, holdfast_heartbeat_url=heartbeat.address)
    site.provision()
    for host in site.fleet:
        bucket = site.bucket(host.name)
        host.run("head -c 2000000 /dev/urandom >/srv/blob; sha256sum </srv/blob >/srv/sum")
        account.fault(method="PUT", path=f"/{bucket}/data/", delay=60)
        newest = account.last_request()
        host.run(f"systemctl start --no-block {PATIENT}")
        account.wait_for_request(60, since=newest, arrived=True, method="PUT", path=f"/{bucket}/data/")
    account.kill()
    gone = time.monotonic()
    for host in site.fleet:
        host.run(f"systemctl start --no-block {HASTY}")
    for host in site.fleet:
        host.await_success(f"[ $(systemctl show --value -p ActiveState {HASTY}) = failed ]", timeout=120)
        assert host.property_of(HASTY, "Result") == "timeout"
        assert "FAILED: read 'journalctl -u holdfast-backup@hasty'" in host.journal("holdfast-backup-failed@hasty")
        # Only what was cut off before the host went down is run again without being asked for.
        host.run("systemctl start holdfast-backup-resume")
    # This is no waiting for anything: it is the outage.
    time.sleep(max(0.0, gone + OUTAGE - time.monotonic()))
    for host in site.fleet:
        assert state(host, PATIENT) == "activating", host.journal(PATIENT)
        assert "retrying after" in host.journal(PATIENT)
        assert heartbeat.told(host.name, "patient") == ["/start"]
        assert heartbeat.told(host.name, "hasty") == ["/start", "/fail"]
    site.restart_stand_in()
    for host in site.fleet:
        assert site.snapshots(host) == []
    for host in site.fleet:
        host.await_success(
            f"systemctl show --value -p ActiveState {PATIENT} | grep -qE '^(inactive|failed)$'", timeout=180
        )
        assert state(host, PATIENT) == "inactive", host.journal(PATIENT)
        assert heartbeat.told(host.name, "patient") == ["/start", ""]
        assert len(site.snapshots(host)) == 1
        assert site.restic_run(host, "dump", "latest", "/srv/sum").strip() == host.run("sha256sum </srv/blob")
        # The hasty one makes its own way again.
        host.run(f"systemctl start {HASTY}")
        assert "no errors were found" in site.restic_run(host, "check", "--read-data")
