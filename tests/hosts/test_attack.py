# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One host is hostile, hosts are unreachable, a host is gone: maintenance goes on, and what was backed up comes back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import hostile as hostile_module
from tests.support.hosts import BootedHosts, Host
from tests.support.site import Site

pytestmark = pytest.mark.hosts

SAMPLE = ("trixie",)
ROOT = Path(__file__).resolve().parents[2]
JOBS: list[dict[str, Any]] = [{"name": "data", "paths": ["/srv"]}]
# One line for each path below a folder: everything that a restore must bring back.
MANIFEST = r"""
import hashlib, os, stat, sys
os.chdir(sys.argv[1])
first = {}
for path in sorted(os.path.join(folder, name) for folder, folders, files in os.walk(".") for name in folders + files):
    found = os.lstat(path)
    kind = stat.S_IFMT(found.st_mode)
    content = ""
    if kind == stat.S_IFREG:
        content = hashlib.sha256(open(path, "rb").read()).hexdigest()
    elif kind == stat.S_IFLNK:
        content = os.readlink(path)
    attributes = {name: os.getxattr(path, name, follow_symlinks=False).hex()
                  for name in sorted(os.listxattr(path, follow_symlinks=False))}
    sparse = kind == stat.S_IFREG and found.st_blocks * 512 < found.st_size // 2
    same = first.setdefault(found.st_ino, path) if found.st_nlink > 1 and kind == stat.S_IFREG else ""
    size = found.st_size if kind == stat.S_IFREG else 0
    print(ascii([path, oct(found.st_mode), found.st_uid, found.st_gid, size, found.st_mtime_ns, found.st_rdev,
                 content, attributes, sparse, same]))
"""
# Whatever a file system can hold that a careless copy would lose.
TREE = r"""
set -e
rm -rf /srv/tree; mkdir -p /srv/tree/deep/er; cd /srv/tree
head -c 3000000 /dev/urandom >random; chown admin:www-data random; chmod 0640 random
ln random deep/hard; ln -s ../random deep/soft; ln -s /nowhere dangling; chown -h admin dangling
truncate -s 50M sparse; printf end >>sparse
printf x >'name with  spaces'; printf y >"$(printf 'not\377utf-8')"; printf z >"$(printf 'line\nfeed')"
cp /bin/true capable; chmod 4755 capable; mkfifo fifo; mkdir -m 1777 sticky; mkdir -m 2750 setgid; : >empty
chmod 0000 empty; touch -d '1999-12-31 23:59:59.123456789' empty deep
python3 -c "
import os
os.setxattr('random', 'user.colour', b'blue\x00green')
os.setxattr('capable', 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))
os.setxattr('deep', 'user.folder', b'yes')
"
touch -d '2001-02-03 04:05:06' deep/er
"""


@pytest.fixture(scope="module")
def running(site: Site) -> Site:
    """Hosts with three snapshots each."""
    site.common.update(backup_jobs=JOBS, holdfast_retention={"keep_last": 2}, backup_retry_lock="5s")
    site.provision()
    for host in site.fleet:
        for _each in range(3):
            back_up(host)
    return site


def back_up(host: Host) -> None:
    """Run the job with something new to back up."""
    host.run("head -c 400000 /dev/urandom | base64 >/srv/blob; systemctl start holdfast-backup@data.service")


def loot(site: Site, host: Host) -> dict[str, Any]:
    """All that root finds on a host and that opens anything."""
    found = dict(re.findall(r"(aws_\w+) = (\S+)", host.run("systemd-creds decrypt --name=s3 /etc/holdfast/s3.cred -")))
    return {
        **found,
        "password": host.run("systemd-creds decrypt --name=password /etc/holdfast/password.cred -"),
        "endpoint": site.endpoint,
        "api": f"{site.endpoint}/client/v4/accounts/{site.stand_in.account_id}",
        "buckets": {"own": site.bucket(host.name), "other": site.bucket("h2" if host.name == "h1" else "h1")},
    }


def covers(exposure: dict[str, Any], entry: dict[str, Any]) -> bool:
    """Whether an object was unlocked when it was deleted or overwritten."""
    within = exposure["from"] <= entry["time"] <= (exposure["to"] or entry["time"])
    return within and exposure["bucket"] == entry["bucket"] and entry["key"].startswith(exposure["prefix"])


def test_maintenance_needs_no_host(running: Site, fleet: BootedHosts) -> None:
    for host in fleet:
        back_up(host)
        host.unplug()
    try:
        run = running.play("maintenance")
    finally:
        for host in fleet:
            host.plug()
    assert run.exit_code == 0, run.output
    assert {len(running.snapshots(host)) for host in fleet} == {2}
    verified = running.play("verify")
    assert verified.exit_code == 0, verified.output


def test_a_host_backs_up_while_it_is_maintained(running: Site, fleet: BootedHosts) -> None:
    for host in fleet:
        back_up(host)
    started, _record = running.start("maintenance")
    with started:
        for host in fleet:
            running.stand_in.wait_for_request(120, method="PUT", path=f"/{running.bucket(host.name)}/locks/")
            host.ssh("head -c 400000 /dev/urandom | base64 >/srv/blob; systemctl start holdfast-backup@data.service")
        output, _nothing = started.communicate(timeout=300)
    for host in fleet:
        # Whoever came second waited or failed; nothing was lost.
        host.run("systemctl reset-failed; systemctl start holdfast-backup@data.service")
        assert "no errors were found" in running.restic_run(host, "check", "--read-data")
        assert running.restic_run(host, "dump", "latest", "/srv/blob")
        assert {rule["enabled"] for rule in running.stand_in.rules(running.bucket(host.name))} == {True}, output


@pytest.mark.proof
def test_hosts_that_are_cut_off_while_they_are_maintained(running: Site, fleet: BootedHosts) -> None:
    dead, lonely = fleet.hosts["h1"], fleet.hosts["h2"]
    for host in fleet:
        back_up(host)
        newest, bucket = running.stand_in.last_request(), running.bucket(host.name)
        running.stand_in.fault(method="PUT", path=f"/{bucket}/data/", held=True)
        host.run(
            "head -c 400000 /dev/urandom | base64 >/srv/blob; systemctl start --no-block holdfast-backup@data.service"
        )
        running.stand_in.wait_for_request(60, since=newest, arrived=True, method="PUT", path=f"/{bucket}/data/")
    dead.power_off()
    lonely.unplug()
    running.stand_in.clear_faults()
    newest = running.stand_in.last_request()
    started, _record = running.start("maintenance")
    with started:
        # It sees that somebody was at work, and opens nothing for as long as nobody knows that this is over.
        for host in fleet:
            key = next(key for key in running.stand_in.objects(running.bucket(host.name)) if key.startswith("locks/"))
            running.stand_in.wait_for_request(
                120, since=newest, method="GET", path=f"/{running.bucket(host.name)}/{key}"
            )
            assert {rule["enabled"] for rule in running.stand_in.rules(running.bucket(host.name))} == {True}
        dead.power_on()
        lonely.plug()
        # The first run after the power cut takes the lock of the one before away, whatever comes of it itself.
        dead.ssh("systemctl start holdfast-backup@data.service")
        output, _nothing = started.communicate(timeout=300)
    assert started.returncode == 0, output
    for host in fleet:
        host.await_success(
            "systemctl show --value -p ActiveState holdfast-backup@data | grep -qE '^(inactive|failed)$'"
        )
        host.run("systemctl reset-failed; systemctl start holdfast-backup@data.service")
        assert "no errors were found" in running.restic_run(host, "check", "--read-data")
        assert running.restic_run(host, "dump", "latest", "/srv/blob").strip() == host.run("cat /srv/blob")
        assert {rule["enabled"] for rule in running.stand_in.rules(running.bucket(host.name))} == {True}


@pytest.mark.proof
def test_a_deleted_host_comes_back_on_a_fresh_one(running: Site, fleet: BootedHosts, tmp_path: Path) -> None:
    for host in fleet:
        host.write("/var/tmp/manifest.py", MANIFEST)
        host.run("bash -s", stdin=TREE)
    before = {host.name: host.run("python3 /var/tmp/manifest.py /srv/tree") for host in fleet}
    for host in fleet:
        host.run("systemctl start holdfast-backup@data.service")
        host.erase()
        assert host.ssh("test -e /srv/tree").returncode == 1
    # Another maintenance node: nothing but the inventory and the vault is left of the old one.
    running.common.update(holdfast_record_dir=str(tmp_path / "records"), holdfast_cache_dir=str(tmp_path / "cache"))
    running.provision()
    for host in fleet:
        restored = running.play(
            "restore",
            extra={
                "holdfast_restore_host": host.name,
                "holdfast_restore_to": host.name,
                "holdfast_restore_target": "/var/lib/holdfast/restores/all",
                # All of it comes back, also what gives rights: it was made before anybody broke in.
                "holdfast_restore_special": True,
            },
        )
        assert restored.exit_code == 0, restored.output
        host.write("/var/tmp/manifest.py", MANIFEST)
        after = host.run("python3 /var/tmp/manifest.py /var/lib/holdfast/restores/all/srv/tree")
        assert after.splitlines() == before[host.name].splitlines()
        # It goes on backing up where the lost host ended.
        host.run("mv /var/lib/holdfast/restores/all/srv/tree /srv/; systemctl start holdfast-backup@data.service")


@pytest.mark.proof
def test_a_hostile_host_harms_nobody_while_maintenance_goes_on(running: Site, fleet: BootedHosts) -> None:
    """The last of this file: a host that destroys its own backups in a window gets no window any more."""
    hostile, other = fleet.hosts["h1"], fleet.hosts["h2"]
    for host in fleet:
        for _each in range(2):
            back_up(host)
    kept = {host.name: [snapshot["id"] for snapshot in running.snapshots(host)][-2:] for host in fleet}
    stolen = loot(running, hostile)
    inside = ["nsenter", f"--net=/run/netns/hf-{fleet.name}-h1", sys.executable, "-m", "tests.hosts.hostile"]
    with subprocess.Popen(inside, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as attack:
        assert attack.stdin
        attack.stdin.write(json.dumps(stolen) + "\n")
        attack.stdin.flush()
        running.stand_in.wait_for_request(60, method="DELETE", path=f"/{running.bucket('h1')}/snapshots/")
        run = running.play("maintenance")
        outcome, _nothing = attack.communicate(timeout=60)
    done = json.loads(outcome)
    assert len(done) == 2 * (5 * 4 + 2) + 3
    worked = {what for what, answer in done.items() if answer == "done"}
    # Against others: nothing at all. Against itself: reading, and what a window lets through.
    how = ("overwrite", "delete", "delete many")
    unlocked = [f"own {each} {part}" for each in how for part in ("index/", "data/", "snapshots/")]
    assert worked - set(unlocked) == {f"own read {part}" for part in hostile_module.PARTS}
    ledger = running.stand_in.ledger()
    by_host = [
        entry
        for entry in ledger["destructive"]
        if entry["key_id"] == stolen["aws_access_key_id"] and not entry["key"].startswith("locks/")
    ]
    assert [entry for entry in by_host if entry["bucket"] != running.bucket("h1")] == []
    assert [entry for entry in by_host if not any(covers(exposure, entry) for exposure in ledger["exposures"])] == []
    # The others' maintenance is done, and their backups are whole.
    assert run.of(task="Forget, prune", host="h2")[0].status == "ok", run.output
    assert [snapshot["id"] for snapshot in running.snapshots(other)] == kept["h2"]
    assert "no errors were found" in running.restic_run(other, "check", "--read-data")
    # And if the hostile host has harmed itself in a window, that is no success of maintenance.
    told = run.of(task="Forget, prune", host="h1")[0]
    if told.status == "ok":
        assert {snapshot["id"] for snapshot in running.snapshots(hostile)} >= set(kept["h1"])
        assert "no errors were found" in running.restic_run(hostile, "check", "--read-data")
    for host in fleet:
        assert {rule["enabled"] for rule in running.stand_in.rules(running.bucket(host.name))} == {True}
