# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From bare hosts to backups: dry run, provisioning as an ordinary user, second run, the first firing of a timer."""

from __future__ import annotations

import pytest

from tests.hosts.fleet import Fleet
from tests.hosts.heartbeat import SECRET, Heartbeat
from tests.hosts.site import Site

pytestmark = pytest.mark.hosts
# The tests below are one story, told in this order on the same hosts.
PLAIN = {"ANSIBLE_PIPELINING": "0"}


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


@pytest.mark.parametrize("environment", [PLAIN, {}], ids=["plain", "pipelining"])
def test_a_second_run_changes_nothing(site: Site, environment: dict[str, str]) -> None:
    run = site.provision("--diff", user="admin", environment=environment)
    assert [(result.host, result.task) for result in run.changed] == []


def test_a_timer_is_what_was_asked_for(site: Site, fleet: Fleet) -> None:
    for host in fleet:
        names = "TimersCalendar,RandomizedDelayUSec,FixedRandomDelay,Persistent"
        shown = host.run(f"systemctl show -p {names} holdfast-backup@home.timer")
        assert "OnCalendar=*-*-* 03:00:00" in shown
        assert {"RandomizedDelayUSec=1h", "FixedRandomDelay=yes", "Persistent=yes"} <= set(shown.splitlines())
        for name in ("Wants", "After"):
            assert "network-online.target" in host.property_of("holdfast-backup@home.service", name)


def test_a_timer_fires_by_itself_and_makes_a_snapshot(site: Site, fleet: Fleet) -> None:
    for host in fleet:
        host.write(
            "/run/systemd/system/holdfast-backup@home.timer.d/soon.conf",
            "[Timer]\nOnCalendar=\nOnCalendar=*:*:*\nAccuracySec=1us\nRandomizedDelaySec=0\n",
        )
        host.run("systemctl daemon-reload && systemctl restart holdfast-backup@home.timer")
    for host in fleet:
        host.await_success("journalctl -u holdfast-backup@home.service | grep -q 'snapshot .* saved'")
        host.run("rm /run/systemd/system/holdfast-backup@home.timer.d/soon.conf && systemctl daemon-reload")
        host.run("systemctl stop holdfast-backup@home.timer holdfast-backup@home.service; systemctl reset-failed")
        host.run("systemctl start holdfast-backup@home.timer")
        assert len(site.snapshots(host, tag="people")) >= 1


def test_nothing_secret_is_seen_while_a_job_runs(site: Site, fleet: Fleet) -> None:
    for host in fleet:
        newest = site.stand_in.last_request()
        site.stand_in.fault(method="PUT", path=f"/{site.bucket(host.name)}/snapshots/.*", delay=8, times=1)
        host.run("echo changed >/home/admin/file; systemctl start --no-block holdfast-backup@home.service")
        site.stand_in.wait_for_request(since=newest, arrived=True, method="PUT", path=".*/snapshots/.*", timeout=60)
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
        host.await_success("[ $(systemctl show --value -p ActiveState holdfast-backup@home) = inactive ]")


def test_nothing_secret_is_left_on_a_host(site: Site, fleet: Fleet) -> None:
    for host in fleet:
        patterns = "\n".join([*site.secrets(), SECRET])
        # Encrypted credentials are the one place, and even they do not hold them in clear.
        found = host.ssh(
            "grep -rlF -f - /etc /home /opt/*.* /root /run /srv /tmp /usr/local /var --exclude-dir=journal",
            stdin=patterns,
        )
        assert found.stdout == "", found.stdout
        assert host.run("ls /etc/holdfast").split() == [
            f"{name}.cred" for name in ("heartbeat", "key_id", "password", "s3")
        ]
        assert host.run("stat -c '%a %U' /etc/holdfast /etc/holdfast/password.cred").split("\n") == [
            "700 root",
            "600 root",
        ]
        journal = host.journal()
        assert "holdfast" in journal
        assert [secret for secret in [*site.secrets(), SECRET] if secret in journal] == []


def test_nothing_secret_is_told_to_people_or_left_on_the_controller(site: Site, fleet: Fleet) -> None:
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
    site.common["backup_jobs"][1]["on_calendar"] = "*-*-* 04:00:00"
    run = site.provision("-vvv", "--diff", user="admin")
    assert {result.host for result in run.changed} == set(fleet.hosts)
    facts = site.play([{"hosts": "holdfast", "gather_facts": True, "tasks": []}], "-vvv", user="admin")
    told = run.output + facts.output
    for secret in {*old, *site.secrets(), SECRET}:
        assert secret not in told
        # The inventories are the vault of this site; everything else is what Ansible and its modules left.
        left = [path for path in site.node.rglob("*") if path.is_file() and not path.name.startswith("inventory-")]
        assert [path for path in left if secret.encode() in path.read_bytes()] == []
    for host in fleet:
        host.run("systemctl start holdfast-backup@home.service")
        assert "*-*-* 04:00:00" in host.property_of("holdfast-backup@home.timer", "TimersCalendar")
        assert " 04:" in host.property_of("holdfast-backup@home.timer", "NextElapseUSecRealtime")
    assert plain.run("stat -c '%a %U %n' /etc/holdfast/*").splitlines() == [
        f"600 root /etc/holdfast/{name}" for name in ("heartbeat", "key_id", "password", "s3")
    ]
    assert "LoadCredentialEncrypted" not in plain.run("systemctl cat holdfast-backup@home")
