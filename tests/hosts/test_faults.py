# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong around a backup: power, cable, disk, endpoint, clock. Never a false success, and the next run is well."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.hosts import BootedHosts, Host
from tests.support.site import Site

pytestmark = pytest.mark.hosts

SAMPLE = ("trixie",)
SERVICE = "holdfast-backup@system.service"
JOBS: list[dict[str, Any]] = [{"name": "system", "paths": ["/srv"], "random_delay": "0", "timeout": "2min"}]


@pytest.fixture(scope="module")
def running(site: Site) -> Site:
    """Hosts with one job that has run once."""
    site.common.update(
        backup_jobs=JOBS, backup_failure_command='echo "$HOLDFAST_JOB" >>/var/lib/failed-jobs', backup_retry_lock="5s"
    )
    site.provision()
    for host in site.fleet:
        change(host)
        host.run(f"systemctl start {SERVICE}")
    return site


@pytest.fixture(autouse=True)
def calm(running: Site) -> Iterator[None]:
    """Every test begins without faults, and ends with every host able to back up what it has."""
    yield
    running.stand_in.clear_faults()
    for host in running.fleet:
        count = len(running.snapshots(host))
        host.run(f"systemctl reset-failed; systemctl start {SERVICE}")
        assert len(running.snapshots(host)) == count + 1
        assert running.restic_run(host, "dump", "latest", "/srv/sum").strip() == host.run("sha256sum </srv/blob")
        # Not even the lock that a run left which was cut off: maintenance would wait for it.
        assert [key for key in running.stand_in.objects(running.bucket(host.name)) if key.startswith("locks/")] == []
        assert "no errors were found" in running.restic_run(host, "check", "--read-data")


def change(host: Host, size: int = 2_000_000) -> None:
    """New data, which must be uploaded."""
    host.run(f"head -c {size} /dev/urandom >/srv/blob; sha256sum </srv/blob >/srv/sum")


def backup_until(running: Site, host: Host, path: str = "/data/", delay: float = 300) -> int:
    """Start the job with new data and return when the server has got, but not answered, an upload below `path`; its number."""
    change(host)
    newest = running.stand_in.last_request()
    running.stand_in.fault(method="PUT", path=f"/{running.bucket(host.name)}{path}", delay=delay)
    host.run(f"systemctl start --no-block {SERVICE}")
    arrived = running.stand_in.wait_for_request(
        60, since=newest, arrived=True, method="PUT", path=f"/{running.bucket(host.name)}{path}"
    )
    return int(arrived["n"])


def await_retransmission(host: Host) -> None:
    """Wait until this side of the network sends again what the host did not acknowledge."""
    end = time.monotonic() + 60
    command = ["ss", "--no-header", "--tcp", "--info", "--numeric", "dst", host.address]
    while "retrans:" not in subprocess.run(command, capture_output=True, text=True, check=True).stdout:
        assert time.monotonic() < end, f"everything that was sent to {host.name} arrived"
        time.sleep(0.1)


def finished(host: Host) -> str:
    """How the job ended, when it has."""
    host.await_success(f"systemctl show --value -p ActiveState {SERVICE} | grep -qE '^(inactive|failed)$'", timeout=150)
    return host.property_of(SERVICE, "Result")


def is_heard(host: Host) -> None:
    """The failure ran the hook, and the journal says what to do; clears both for the next test."""
    host.await_success("grep -qx system /var/lib/failed-jobs")
    host.run("rm /var/lib/failed-jobs")
    assert f"FAILED: read 'journalctl -u {SERVICE.removesuffix('.service')}'" in host.journal(
        SERVICE.replace("@", "-failed@")
    )


@pytest.mark.proof
def test_timers_survive_a_reboot(running: Site) -> None:
    for host in running.fleet:
        host.reboot()
        assert host.property_of(SERVICE.replace(".service", ".timer"), "ActiveState") == "active"


def test_power_cut_while_backing_up(running: Site) -> None:
    for host in running.fleet:
        count = len(running.snapshots(host))
        backup_until(running, host)
        host.power_off()
        host.power_on()
        assert len(running.snapshots(host)) == count


def test_reboot_while_backing_up(running: Site) -> None:
    soon = "/etc/systemd/system/holdfast-backup-resume.timer.d/soon.conf"
    for host in running.fleet:
        count = len(running.snapshots(host))
        host.write(soon, "[Timer]\nOnBootSec=\nOnBootSec=1s\nAccuracySec=1us\n")
        backup_until(running, host)
        host.reboot()
        # Nothing was left to tell of it then, so that the journal does, and the job runs again by itself.
        assert "interrupted, no snapshot was made" in host.run(f"journalctl -b -1 -u {SERVICE}")
        host.await_success(f"journalctl -b -u {SERVICE} | grep -q 'snapshot .* saved'")
        assert finished(host) == "success"
        assert len(running.snapshots(host)) == count + 1
        assert "was cut off" in host.journal("holdfast-backup-resume")
        # What has come to its end does not run again.
        host.reboot()
        host.await_success("journalctl -b -u holdfast-backup-resume | grep -q Finished")
        assert host.property_of(SERVICE, "ExecMainStartTimestampMonotonic") == "0"
        host.run(f"rm {soon}; systemctl daemon-reload")


def test_a_missed_run_is_caught_up_after_power_was_off(running: Site) -> None:
    for host in running.fleet:
        count = len(running.snapshots(host))
        stamp = host.disk / "var/lib/systemd/timers" / ("stamp-" + SERVICE.replace(".service", ".timer"))
        host.run("sync")
        host.power_off()
        stamp.touch()
        two_days_ago = time.time() - 2 * 86400
        os.utime(stamp, (two_days_ago, two_days_ago))
        host.power_on()
        host.await_success(f"journalctl -b -u {SERVICE} | grep -q 'snapshot .* saved'")
        assert finished(host) == "success"
        assert len(running.snapshots(host)) == count + 1


def test_cable_pulled_while_backing_up(running: Site) -> None:
    for host in running.fleet:
        count = len(running.snapshots(host))
        held = backup_until(running, host, delay=2)
        host.unplug()
        # The server answers, and its kernel finds that nobody acknowledges the answer.
        running.stand_in.wait_for_request(30, since=held - 1, method="PUT", path=f"/{running.bucket(host.name)}/data/")
        await_retransmission(host)
        host.plug()
        result = finished(host)
        made = len(running.snapshots(host)) - count
        assert (result, made) in (("success", 1), ("exit-code", 0), ("timeout", 0))
        if result != "success":
            is_heard(host)


def test_a_lost_answer_is_followed_by_another_run(running: Site) -> None:
    for host in running.fleet:
        count = len(running.snapshots(host))
        change(host)
        # The object is stored, the answer is lost, and the lock refuses what restic sends again. A refusal that restic
        # takes as final spares this test the quarter of an hour for which it repeats R2's own.
        bucket = running.bucket(host.name)
        running.stand_in.fault(method="PUT", path=f"/{bucket}/data/", cut="after")
        running.stand_in.fault(method="PUT", path=f"/{bucket}/data/", skip=1, times=1, status=403, code="AccessDenied")
        host.run(f"systemctl start {SERVICE}")
        assert "restic ended with 1, run 2 of at most 2 follows" in host.journal(SERVICE)
        assert len(running.snapshots(host)) == count + 1


@pytest.mark.proof
def test_restic_killed(running: Site) -> None:
    for host in running.fleet:
        count = len(running.snapshots(host))
        backup_until(running, host)
        host.run("pkill -KILL -x restic")
        assert finished(host) == "exit-code"
        is_heard(host)
        assert len(running.snapshots(host)) == count


def test_disk_full(running: Site) -> None:
    for host in running.fleet:
        count = len(running.snapshots(host))
        host.run("mount -t tmpfs -o size=256k tmpfs /tmp")
        change(host, 6_000_000)
        assert host.ssh(f"systemctl start {SERVICE}").returncode != 0
        host.run("umount -l /tmp")
        is_heard(host)
        assert "no space left on device" in host.journal(SERVICE)
        assert len(running.snapshots(host)) == count


def declare_disk(host: Host, what: str) -> None:
    """Tell systemd that a disk belongs at the folder of the job."""
    host.run(f"printf '[Mount]\\nWhere=/srv\\n{what}\\n' >/etc/systemd/system/srv.mount; systemctl daemon-reload")


@pytest.mark.proof
def test_a_disk_that_cannot_be_mounted_is_no_empty_folder(running: Site) -> None:
    for host in running.fleet:
        count = len(running.snapshots(host))
        host.run("mkdir /var/lib/disk; cp /srv/* /var/lib/disk")
        try:
            declare_disk(host, "What=/var/lib/no-disk.img\\nType=ext4\\nOptions=loop")
            assert host.ssh(f"systemctl start {SERVICE}").returncode != 0
            is_heard(host)
            assert "Dependency failed for" in host.journal(SERVICE)
            assert len(running.snapshots(host)) == count
            declare_disk(host, "What=/var/lib/disk\\nType=none\\nOptions=bind")
            host.run(f"systemctl reset-failed srv.mount; systemctl start {SERVICE}; mountpoint -q /srv")
            assert len(running.snapshots(host)) == count + 1
        finally:
            host.ssh(
                "systemctl stop srv.mount; rm -rf /etc/systemd/system/srv.mount /var/lib/disk; systemctl daemon-reload"
            )


@pytest.mark.proof
def test_the_disk_of_the_cache_is_full(running: Site) -> None:
    """restic takes a cache that it cannot write to for a failure, and it is told as one."""
    for host in running.fleet:
        count = len(running.snapshots(host))
        host.run("mount -t tmpfs -o size=64k tmpfs /var/cache/private/holdfast")
        host.ssh("head -c 1M /dev/zero >/var/cache/private/holdfast/full")
        change(host)
        failed = host.ssh(f"systemctl start {SERVICE}").returncode != 0
        host.run("umount -l /var/cache/private/holdfast")
        assert failed == (len(running.snapshots(host)) == count), host.journal(SERVICE)
        if failed:
            is_heard(host)
            assert "no space left on device" in host.journal(SERVICE)


@pytest.mark.parametrize("days", [1, pytest.param(-1, marks=pytest.mark.proof)])
def test_clock_off_by_a_day(running: Site, fleet: BootedHosts, days: int) -> None:
    """A host's clock is the machine's, so that it is the server's that differs."""
    for host in fleet:
        count = len(running.snapshots(host))
        change(host)
        running.stand_in.settings(clock_offset=days * 86400)
        failed = host.ssh(f"systemctl start {SERVICE}")
        running.stand_in.settings(clock_offset=0)
        assert failed.returncode != 0
        is_heard(host)
        assert len(running.snapshots(host)) == count


@pytest.mark.proof
def test_a_timer_that_fired_in_the_future_fires_again_today(running: Site, fleet: BootedHosts) -> None:
    """What is left on a host whose clock was a day ahead, and was put right."""
    timer = SERVICE.replace(".service", ".timer")
    for host in fleet:
        planned = host.property_of(timer, "NextElapseUSecRealtime")
        host.run(f"systemctl stop {timer}; touch -d tomorrow /var/lib/systemd/timers/stamp-{timer}")
        host.run(f"systemctl start {timer}")
        assert host.property_of(timer, "NextElapseUSecRealtime") == planned
