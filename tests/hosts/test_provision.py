# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From bare hosts to backups: dry run, provisioning as an ordinary user, second run, the first firing of a timer."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.hosts.heartbeat import SECRET, Heartbeat
from tests.stand_in.others import s3_client
from tests.support.hosts import BootedHosts, Host
from tests.support.site import CALENDAR, UNTIL_TIMERS, Site, hour_in

pytestmark = pytest.mark.hosts
# The tests below are one story, told in this order on the same hosts.
PLAIN = {"ANSIBLE_PIPELINING": "0"}
FORMER = 43200  # seconds for which keys work that were rotated away


@contextlib.contextmanager
def firing(host: Host, job: str, calendar: str) -> Iterator[None]:
    """A job whose timer fires by itself, and soon."""
    timer = f"holdfast-backup@{job}.timer"
    folder = f"/run/systemd/system/{timer}.d"
    timing = f"OnCalendar=\nOnCalendar={calendar}\nAccuracySec=1us\nRandomizedDelaySec=0\n"
    host.write(f"{folder}/soon.conf", f"[Timer]\n{timing}")
    host.run(f"systemctl daemon-reload && systemctl restart {timer}")
    try:
        yield
    finally:
        host.run(f"rm -r {folder} && systemctl daemon-reload && systemctl restart {timer}")


def left_on_host(host: Host, secrets: Collection[str]) -> str:
    """The files of a host, its journal among them, that hold a secret in clear."""
    journal = host.journal()
    assert "holdfast" in journal
    places = "/etc /home /opt/*.* /root /run /srv /tmp /usr/local /var"
    found = host.ssh(f"grep -rlF -f - {places} --exclude-dir=journal", stdin="\n".join(secrets)).stdout
    return found + ("the journal" if any(secret in journal for secret in secrets) else "")


def left_on_controller(site: Site, secrets: Collection[str]) -> list[Path]:
    """What Ansible and its modules left, beside the vault of this site (its inventories) and the keys that are kept."""
    left = [path for path in site.node.rglob("*") if path.is_file()]
    left = [path for path in left if not path.name.startswith(("inventory-", "host_keys."))]
    return [path for path in left if any(secret.encode() in path.read_bytes() for secret in secrets)]


@pytest.mark.proof
def test_dry_run_on_bare_hosts_predicts_and_changes_nothing(site: Site, heartbeat: Heartbeat) -> None:
    site.common["holdfast_heartbeat_url"] = heartbeat.address
    before = {host.name: host.run("find / -xdev -newer /etc/machine-id -type f | sort") for host in site.fleet}
    run = site.provision("--check", "--diff", user="admin")
    assert {result.host for result in run.changed} >= set(site.fleet.hosts)
    for host in site.fleet:
        after = host.run("find / -xdev -newer /etc/machine-id -type f | sort")
        new = set(after.splitlines()) - set(before[host.name].splitlines())
        assert not [path for path in new if not path.startswith(("/var/log/", "/home/admin/."))]
    assert site.stand_in.ask("ledger")["destructive"] == []


def test_an_ordinary_user_provisions_from_bare(site: Site) -> None:
    run = site.provision("--diff", user="admin", environment=PLAIN)
    assert {result.host for result in run.changed} >= set(site.fleet.hosts)
    for host in site.fleet:
        assert host.property_of("holdfast-backup@home.timer", "ActiveState") == "active"


@pytest.mark.parametrize(
    "environment", [pytest.param(PLAIN, marks=pytest.mark.proof, id="plain"), pytest.param({}, id="pipelining")]
)
def test_a_second_run_changes_nothing(site: Site, environment: dict[str, str]) -> None:
    run = site.provision("--diff", user="admin", environment=environment)
    assert [(result.host, result.task) for result in run.changed] == []


def test_a_timer_is_what_was_asked_for(site: Site, fleet: BootedHosts) -> None:
    for host in fleet:
        names = "TimersCalendar,RandomizedDelayUSec,FixedRandomDelay,Persistent"
        shown = host.run(f"systemctl show -p {names} holdfast-backup@home.timer")
        assert f"OnCalendar={CALENDAR}" in shown
        assert {"RandomizedDelayUSec=1h", "FixedRandomDelay=yes", "Persistent=yes"} <= set(shown.splitlines())
        for name in ("Wants", "After"):
            assert "network-online.target" in host.property_of("holdfast-backup@home.service", name)


def test_a_timer_that_stood_still_runs_again_and_a_unit_that_was_never_loaded_goes(
    site: Site, fleet: BootedHosts
) -> None:
    units = "/etc/systemd/system/holdfast-backup@"
    for host in fleet:
        timer = host.run(f"cat {units}home.timer")
        host.write(f"{units}home.timer", timer.replace(f"OnCalendar={CALENDAR}", "OnCalendar=2020-02-02"))
        host.run("systemctl daemon-reload && systemctl restart holdfast-backup@home.timer")
        assert host.property_of("holdfast-backup@home.timer", "SubState") == "elapsed"
        host.write(f"{units}stray.timer", "[Timer]\nOnCalendar=dayly\n\n[Install]\nWantedBy=timers.target\n")
    site.provision("--diff", user="admin")
    for host in fleet:
        assert host.property_of("holdfast-backup@home.timer", "SubState") == "waiting"
        assert host.ssh(f"ls {units}stray.timer").returncode != 0


def test_a_timer_fires_by_itself_and_makes_a_snapshot(site: Site, fleet: BootedHosts) -> None:
    for host in fleet:
        with firing(host, "home", "*:*:*"):
            host.await_success("journalctl -u holdfast-backup@home.service | grep -q 'snapshot .* saved'")
        host.run("systemctl stop holdfast-backup@home.timer holdfast-backup@home.service; systemctl reset-failed")
        host.run("systemctl start holdfast-backup@home.timer")
        assert len(site.snapshots(host, tag="people")) >= 1


def test_nothing_secret_is_seen_while_a_job_runs(site: Site, fleet: BootedHosts) -> None:
    for host in fleet:
        newest = site.stand_in.last_request()
        site.stand_in.fault(method="PUT", path=f"/{site.bucket(host.name)}/snapshots/.*", delay=8, times=1)
        host.run("echo changed >/home/admin/file; systemctl start --no-block holdfast-backup@home.service")
        site.stand_in.wait_for_request(since=newest, arrived=True, method="PUT", path=".*/snapshots/.*", timeout=60)
        host.run("pkill -STOP -x restic")
        processes = host.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'")
        assert "--tag" in processes and "RESTIC_PASSWORD_FILE" in processes
        # What the sandbox is in fact: it reads every file, and that is all.
        status = host.run("cat /proc/$(pgrep -x restic)/status")
        held = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert held["Uid"].split()[0] != "0" and (held["NoNewPrivs"], held["Seccomp"]) == ("1", "2")
        read_only = f"{1 << 2:016x}"  # CAP_DAC_READ_SEARCH, capabilities(7)
        assert {held[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh")} == {read_only}
        mounts = host.run("cat /proc/$(pgrep -x restic)/mountinfo")
        assert " / / ro," in mounts and " /home rw," not in mounts
        shown = processes + host.run("systemctl show holdfast-backup@home.service; systemctl cat 'holdfast-*'")
        assert [secret for secret in [*site.secrets(), SECRET] if secret in shown] == []
        host.run("pkill -CONT -x restic")
        host.await_success("[ $(systemctl show --value -p ActiveState holdfast-backup@home) = inactive ]")


def test_nothing_secret_is_left_on_a_host(site: Site, fleet: BootedHosts) -> None:
    for host in fleet:
        # Encrypted credentials are the one place, and even they do not hold them in clear.
        assert left_on_host(host, [*site.secrets(), SECRET]) == ""
        assert host.run("ls /etc/holdfast").split() == [
            f"{name}.cred" for name in ("heartbeat", "key_id", "password", "s3")
        ]
        assert host.run("stat -c '%a %U' /etc/holdfast /etc/holdfast/password.cred").split("\n") == [
            "700 root",
            "600 root",
        ]


def test_nothing_secret_is_told_to_people_or_left_on_the_controller(site: Site, fleet: BootedHosts) -> None:
    # New passwords and keys for all hosts, so that there is something to show.
    old = site.secrets()
    for name, variables in site.hosts.items():
        token = site.stand_in.create_token(f"{name} rotated", bucket=site.bucket(name))
        variables.update(
            holdfast_access_key_id=token["access_key_id"], holdfast_secret_access_key=token["secret_access_key"]
        )
    # One host goes without encryption, as one with an older systemd would.
    plain = fleet.hosts["h2"]
    site.hosts[plain.name]["credentials_encrypt"] = "never"
    later = hour_in(UNTIL_TIMERS + 1)
    site.common["backup_jobs"][1]["on_calendar"] = f"*-*-* {later}:00:00"
    run = site.provision("-vvv", "--diff", user="admin")
    assert {result.host for result in run.changed} == set(fleet.hosts)
    facts = site.play([{"hosts": "holdfast", "gather_facts": True, "tasks": []}], "-vvv", user="admin")
    told = run.output + facts.output
    for secret in {*old, *site.secrets(), SECRET}:
        assert secret not in told
    assert left_on_controller(site, {*old, *site.secrets(), SECRET}) == []
    for host in fleet:
        host.run("systemctl start holdfast-backup@home.service")
        assert f"*-*-* {later}:00:00" in host.property_of("holdfast-backup@home.timer", "TimersCalendar")
        assert f" {later}:" in host.property_of("holdfast-backup@home.timer", "NextElapseUSecRealtime")
    assert plain.run("stat -c '%a %U %n' /etc/holdfast/*").splitlines() == [
        f"600 root /etc/holdfast/{name}" for name in ("heartbeat", "key_id", "password", "s3")
    ]
    assert "LoadCredentialEncrypted" not in plain.run("systemctl cat holdfast-backup@home")


@pytest.mark.proof
def test_keys_are_rotated_while_backups_run(site: Site, fleet: BootedHosts, heartbeat: Heartbeat) -> None:
    """One host encrypts its credentials, the other does not."""
    for variables in site.hosts.values():
        del variables["holdfast_access_key_id"], variables["holdfast_secret_access_key"]
    site.hosts["h2"]["credentials_encrypt"] = "never"
    site.common["holdfast_heartbeat_url"] = heartbeat.address
    site.common["backup_jobs"].append({"name": "held", "command": ["cat", "/srv/pipe"]})
    run = site.provision("-vvv", "--diff", user="admin")
    old, heard = {name: site.keys(name) for name in fleet.hosts}, len(heartbeat.heard)
    known = set(site.secrets())
    with contextlib.ExitStack() as busy:
        for host in fleet:
            host.run("mkfifo -m 0666 /srv/pipe")
            newest = site.stand_in.last_request()
            with firing(host, "held", "*:*:*"):
                # It has read its keys, and goes on with them.
                site.stand_in.wait_for_request(60, since=newest, method="PUT", path=f"/{site.bucket(host.name)}/locks/")
            busy.enter_context(firing(host, "home", "*:*:0/5"))
        rotated = site.play("rotate", "-vvv", "--diff", user="admin", holdfast_token_former_seconds=FORMER)
    assert rotated.exit_code == 0, rotated.output
    known |= set(site.secrets())
    for host in fleet:
        host.run("echo whole >/srv/pipe")
        for job in ("held", "home"):
            host.await_success(f"[ $(systemctl show --value -p ActiveState holdfast-backup@{job}) = inactive ]")
        assert site.restic_run(host, "dump", "--path", "/held", "latest", "/held") == "whole\n"
        told = [path for path in heartbeat.heard[heard:] if f"/{host.name}-" in path]
        assert not [path for path in told if path.endswith("/fail")], told
        assert told.count(f"/{SECRET}/{host.name}-held") == 1 and told.count(f"/{SECRET}/{host.name}-home") >= 1
        has_new_keys_only(site, host, old[host.name])
        assert left_on_host(host, {old[host.name]["secret_access_key"]}) == ""
        clear = {f"/etc/holdfast/{name}" for name in ("heartbeat", "password", "s3")} if host.name == "h2" else set()
        assert set(left_on_host(host, known | {SECRET}).split()) == clear
    assert [secret for secret in known | {SECRET} if secret in run.output + rotated.output] == []
    assert left_on_controller(site, known | {SECRET}) == []


def has_new_keys_only(site: Site, host: Host, old: dict[str, str]) -> None:
    """A host works with its new keys, and the old ones end when they should."""
    new, bucket, newest = site.keys(host.name), site.bucket(host.name), site.stand_in.last_request()
    assert set(new.values()).isdisjoint(old.values())
    kept = "[ -e s3 ] && cat s3 || systemd-creds decrypt --name=s3 s3.cred -"
    credential = host.run(f"cd /etc/holdfast && {kept}")
    assert all(value in credential for value in new.values()) and old["access_key_id"] not in credential
    s3_client(site.stand_in, old, endpoint=site.endpoint).list_objects_v2(Bucket=bucket)
    site.stand_in.settings(clock_offset=FORMER + 60.0, max_skew=2.0 * FORMER)
    with pytest.raises(ClientError):
        s3_client(site.stand_in, old, endpoint=site.endpoint).list_objects_v2(Bucket=bucket)
    host.run("systemctl start holdfast-backup@home")
    site.stand_in.settings(clock_offset=0.0)
    used = {one["key_id"] for one in site.stand_in.requests(newest) if one["method"] == "PUT"}
    assert used == {new["access_key_id"]}
