# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What jobs do on booted hosts: their sandbox, dumps of real databases, failures that are heard, and their end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.heartbeat import Heartbeat
from tests.support.hosts import Host
from tests.support.recipes import recipe
from tests.support.site import JOBS, Site

pytestmark = pytest.mark.hosts

SAMPLE = ("bookworm",)
# The servers of this machine.
SERVERS = [int(path.parts[-3]) for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
# As long ago as its newest snapshot claims that it began.
LAST = datetime.now(timezone.utc) - timedelta(hours=3)
NIGHTLY: dict[str, Any] = {
    "name": "nightly",
    "command": ["pg_dumpall"],
    "user": "postgres",
    "max_age": 2,
    "extra_args": [f"--time={LAST:%Y-%m-%d %H:%M:%S}"],
}
DUMPS: list[dict[str, Any]] = [
    {"name": "postgresql", "command": ["pg_dumpall"], "filename": "all.sql", "user": "postgres"},
    {"name": "mariadb", "command": ["mariadb-dump", "--all-databases", "--single-transaction"], "user": "mysql"},
    {"name": "nosuch", "command": ["pg_dump", "nosuch"], "user": "postgres"},
    {"name": "halfway", "command": ["sh", "-c", "pg_dumpall; kill -9 $$"], "user": "postgres"},
    NIGHTLY,
    {"name": "anything", "command": ["printf", "%s\\n", "it's $HOME"], "filename": "said.txt"},
]
LIMITS = {"cpu_quota": "50%", "memory_max": "1G", "io_weight": 20, "nice": 15, "timeout": "5min", "limit_upload": 4096}
# Each prints a file in a home; the script of the last two does not show it in its words.
ASKS_HOME: dict[str, Any] = {"command": ["/usr/local/bin/password"], "filename": "password", "user": "admin"}
HOME_JOBS: list[dict[str, Any]] = [
    {**ASKS_HOME, "name": "named", "command": ["cat", "/home/admin/.pgpass"]},
    {**ASKS_HOME, "name": "opened", "open_homes": True},
    {**ASKS_HOME, "name": "closed"},
]
PLAIN_JOBS: list[dict[str, Any]] = [
    *JOBS,
    {"name": "limited", "paths": ["/srv"], "exclude": ["*.tmp", "it's"], "one_file_system": True, **LIMITS},
    {"name": "missing", "paths": ["/srv", "/nowhere"]},
    {"name": "refused", "paths": ["/srv"], "before": "exit 4"},
    {"name": "around", "paths": ["/srv"], "before": "echo it begins", "after": "echo it ended with $HOLDFAST_STATUS"},
]


@pytest.fixture(scope="module")
def jobs(site: Site, heartbeat: Heartbeat) -> Site:
    """Hosts with all jobs of this module."""
    databases = [
        {
            "hosts": "holdfast",
            "gather_facts": False,
            "tasks": [
                {"ansible.builtin.apt": {"name": ["postgresql", "mariadb-server"], "update_cache": True}},
                {"ansible.builtin.copy": {"content": "kept\n", "dest": "/srv/file", "mode": "0600"}},
            ],
        }
    ]
    run = site.play(databases)
    assert run.exit_code == 0, run.output
    site.common.update(
        holdfast_heartbeat_url=heartbeat.address,
        backup_jobs=PLAIN_JOBS + DUMPS,
        backup_failure_command='echo "$HOLDFAST_JOB" >>/var/lib/failed-jobs',
        backup_reruns=0,
    )
    site.provision()
    return site


def start(host: Host, job: str) -> bool:
    """Run a job as its timer would; whether systemd thinks that it succeeded."""
    return host.ssh(f"systemctl start holdfast-backup@{job}.service").returncode == 0


def exposure(host: Host, unit: str) -> float:
    """The score of systemd's own analysis, 0 to 10."""
    told = host.run(f"systemd-analyze security --no-pager {unit}.service")
    return float(told.split("Overall exposure level for")[1].split(":")[1].split()[0])


def test_sandboxes_are_tight(jobs: Site, record_property: Callable[[str, object], None]) -> None:
    scores = {}
    for host in jobs.fleet:
        found = {job["name"]: exposure(host, f"holdfast-backup@{job['name']}") for job in PLAIN_JOBS + DUMPS}
        asking = {job["name"] for job in DUMPS} | {"refused", "around"}
        found.update({f"user of {name}": exposure(host, f"holdfast-user-{name}@0") for name in sorted(asking)})
        scores[host.suite] = max(found.values())
        assert found.pop("home") <= 1.6, host.name
        assert {name: score for name, score in found.items() if score > 1.5} == {}, host.name
    record_property("security_score", scores)


def test_a_job_reads_every_file_and_cannot_write(jobs: Site) -> None:
    for host in jobs.fleet:
        host.run("install -o admin -m 0600 /dev/null /home/admin/private && echo mine >/home/admin/private")
        assert start(host, "home"), host.journal("holdfast-backup@home")
        assert jobs.restic_run(host, "dump", "latest", "/home/admin/private") == "mine\n"
        settings = "User\\|Dynamic\\|Ambient\\|Capability\\|Protect\\|NoNew"
        options = f"systemctl cat holdfast-backup@home | sed -n '/^\\({settings}\\)/s/^/-p /p'"
        unit = f"systemd-run --wait --pipe --quiet $({options})"
        refused = host.ssh(f"{unit} sh -c 'cat /etc/shadow >/dev/null && touch /home/admin/new'")
        assert refused.returncode != 0
        assert "new" in refused.stderr and "shadow" not in refused.stderr


def test_limits_reach_systemd(jobs: Site) -> None:
    for host in jobs.fleet:
        shown = host.run(
            "systemctl show -p CPUQuotaPerSecUSec,MemoryMax,IOWeight,Nice,TimeoutStartUSec holdfast-backup@limited.service"
        )
        assert sorted(shown.splitlines()) == [
            "CPUQuotaPerSecUSec=500ms",
            "IOWeight=20",
            f"MemoryMax={1 << 30}",
            "Nice=15",
            "TimeoutStartUSec=5min",
        ]
        host.run("mkdir -p /srv/mounted /srv/cache; mount -t tmpfs tmpfs /srv/mounted; touch /srv/mounted/elsewhere")
        host.write("/srv/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55")
        host.run('touch /srv/cache/cached /srv/left.tmp "/srv/it\'s" "/srv/kept too"')
        assert start(host, "limited"), host.journal("holdfast-backup@limited")
        held = jobs.restic_run(host, "ls", "latest").splitlines()
        assert [path for path in held if path.startswith("/srv/")] == [
            "/srv/cache",
            "/srv/cache/CACHEDIR.TAG",
            "/srv/file",
            "/srv/kept too",
            "/srv/mounted",
        ]
        host.run("umount /srv/mounted")


def test_dumps_of_real_databases(jobs: Site) -> None:
    for host in jobs.fleet:
        host.run("runuser -u postgres -- psql -c \"create table t as select 'row of postgres' as words\"")
        host.run("mariadb -e \"create database d; create table d.t select 'row of mariadb' as words\"")
        assert start(host, "postgresql"), host.journal("holdfast-backup@postgresql")
        assert "row of postgres" in jobs.restic_run(host, "dump", "latest", "/all.sql")
        assert start(host, "mariadb"), host.journal("holdfast-backup@mariadb")
        assert "row of mariadb" in jobs.restic_run(host, "dump", "latest", "/mariadb")
        assert start(host, "anything"), host.journal("holdfast-backup@anything")
        assert jobs.restic_run(host, "dump", "latest", "/said.txt") == "it's $HOME\n"
        # The servers are as well as before.
        assert "1 row" in host.run("runuser -u postgres -- psql -c 'select * from t'")


@pytest.mark.skipif(not SERVERS, reason="PostgreSQL is not on this machine, which is the one that is drilled on")
def test_a_drill_loads_the_dump_that_a_host_has_backed_up(jobs: Site) -> None:
    """By the command of the page, into a server of the machine that is drilled on, which must not be older than the host's."""
    hosts = [host for host in jobs.fleet if version(host.run("psql --version")) <= max(SERVERS)]
    assert hosts, "every host has a newer PostgreSQL than this machine"
    for host in hosts:
        host.run("runuser -u postgres -- psql -c 'create database shop'")
        host.run("runuser -u postgres -- psql -c 'create table goods as select 1 as id' shop")
        assert start(host, "postgresql"), host.journal("holdfast-backup@postgresql")
    drilled = [{**DUMPS[0], "drill": recipe("PostgreSQL")}]
    folder = jobs.node / "drills"
    names = ",".join(host.name for host in hosts)
    run = jobs.play("drill", "-l", names, backup_jobs=drilled, holdfast_drill_dir=str(folder))
    assert run.exit_code == 0, run.output
    rows = run.of(task="Show the table")[-1].result["msg"][1:]
    assert all("restored and proved all of" in row and "its command succeeded" in row for row in rows), rows
    assert len(rows) == len(hosts) and list(folder.glob("*")) == []


def version(told: str) -> int:
    """The major version of PostgreSQL, as in `psql (PostgreSQL) 15.14`."""
    return int(told.split()[2].split(".")[0])


def test_a_dead_timer_alarms_within_the_age_of_its_job_although_another_job_is_alive(jobs: Site) -> None:
    known = [JOBS[0], NIGHTLY]
    for host in jobs.fleet:
        for name in ("nightly", "system"):
            assert start(host, name), host.journal(f"holdfast-backup@{name}")
        host.run("systemctl disable --now holdfast-backup@nightly.timer")
        assert "nightly" not in host.run("systemctl list-timers --all --no-legend 'holdfast*'")
        (last,) = jobs.snapshots(host, tag="job:nightly")
        stored = f"{LAST + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"
        jobs.stand_in.set_upload_time(jobs.bucket(host.name), f"snapshots/{last['id']}", stored)
    told = verified(jobs, known)
    for host in jobs.fleet:
        assert told[host.name][1] == "FAILED" and "job system" not in " ".join(told[host.name])
        assert " ".join(told[host.name][2:8]) == "The newest snapshot of job nightly"
        host.run("systemctl enable --now holdfast-backup@nightly.timer")
        assert start(host, "nightly"), host.journal("holdfast-backup@nightly")
    assert {words[1] for words in verified(jobs, known).values()} == {"ok"}


def verified(jobs: Site, known: list[dict[str, Any]]) -> dict[str, list[str]]:
    """What `verify` says of each host that has these jobs, in words."""
    rows = jobs.play("verify", backup_jobs=known).of(task="Show the table")[-1].result["msg"]
    return {row.split()[0]: row.split() for row in rows[1:] if row.split()[1] in ("ok", "FAILED")}


@pytest.mark.parametrize("job", ["halfway", pytest.param("nosuch", marks=pytest.mark.proof)])
def test_a_failed_dump_makes_no_snapshot_and_is_heard(jobs: Site, heartbeat: Heartbeat, job: str) -> None:
    for host in jobs.fleet:
        assert not start(host, job)
        assert jobs.snapshots(host, tag=f"job:{job}") == []
        host.await_success(f"grep -qx {job} /var/lib/failed-jobs")
        assert f"FAILED: read 'journalctl -u holdfast-backup@{job}'" in host.journal(f"holdfast-backup-failed@{job}")
        assert heartbeat.told(host.name, job) == ["/start", "/fail"]


def test_exit_codes_are_told_as_they_are(jobs: Site, heartbeat: Heartbeat) -> None:
    for host in jobs.fleet:
        assert not start(host, "missing")
        assert "a snapshot was made, but some files could not be read" in host.journal("holdfast-backup@missing")
        assert len(jobs.snapshots(host, tag="job:missing")) == 1
        assert not start(host, "refused")
        assert "the command before the backup failed, so no backup was made" in host.journal("holdfast-backup@refused")
        assert jobs.snapshots(host, tag="job:refused") == []
        assert start(host, "around")
        assert "it begins" in host.journal("holdfast-backup@around")
        assert "it ended with 0" in host.journal("holdfast-backup@around")
        assert heartbeat.told(host.name, "around") == ["/start", ""]


def test_nobody_cleans_up_while_another_user_works(jobs: Site) -> None:
    for host in jobs.fleet:
        bucket = jobs.bucket(host.name)
        newest = jobs.stand_in.last_request()
        jobs.stand_in.fault(method="PUT", path=f"/{bucket}/snapshots/", held=True)
        host.run("date >/home/admin/private; systemctl start --no-block holdfast-backup@home")
        jobs.stand_in.wait_for_request(60, since=newest, arrived=True, method="PUT", path=f"/{bucket}/snapshots/")
        host.run("pkill -STOP -x restic")
        working = {key for key in jobs.stand_in.objects(bucket) if key.startswith("locks/")}
        assert len(working) == 1
        # As if the other's last run had been cut off.
        host.run("touch /var/lib/holdfast-jobs/postgresql")
        assert start(host, "postgresql"), host.journal("holdfast-backup@postgresql")
        assert working <= set(jobs.stand_in.objects(bucket))
        jobs.stand_in.clear_faults()
        host.run("pkill -CONT -x restic")
        host.await_success("[ $(systemctl show --value -p ActiveState holdfast-backup@home) = inactive ]")


def test_people_use_the_same_command(jobs: Site) -> None:
    for host in jobs.fleet:
        listed = host.run("holdfast-restic home snapshots --json")
        assert len(jobs.snapshots(host)) == listed.count('"short_id"')
        assert host.ssh("holdfast-restic unknown snapshots").returncode == 64
        assert host.ssh("holdfast-restic home snapshots --no-such-option").returncode == 1
        assert host.run("ls -d /run/holdfast.* 2>/dev/null | wc -l") == "0"
        assert host.ssh("runuser -u admin -- holdfast-restic home snapshots").returncode != 0


@pytest.mark.proof
def test_a_command_reads_a_home_where_its_words_or_its_job_say_so(jobs: Site) -> None:
    jobs.common["backup_jobs"] = HOME_JOBS
    jobs.provision()
    for host in jobs.fleet:
        host.write("/usr/local/bin/password", "#!/bin/sh\nexec cat /home/admin/.pgpass\n", mode="0755")
        host.run("install -o admin -m 0600 /dev/null /home/admin/.pgpass && echo of admin >/home/admin/.pgpass")
        for job in ("named", "opened"):
            assert start(host, job), host.journal(f"holdfast-backup@{job}")
            assert jobs.restic_run(host, "dump", "--tag", f"job:{job}", "latest", "/password") == "of admin\n"
        count = len(jobs.snapshots(host))
        assert not start(host, "closed") and len(jobs.snapshots(host)) == count


@pytest.mark.proof
def test_a_renamed_job_takes_its_units_along(jobs: Site) -> None:
    jobs.common["backup_jobs"] = [{"name": "people", "paths": ["/home"]}]
    jobs.provision()
    for host in jobs.fleet:
        units = host.run("ls /etc/systemd/system /etc/systemd/system/timers.target.wants | grep holdfast | sort -u")
        assert units.split() == [
            "holdfast-backup-failed@.service",
            "holdfast-backup-resume.service",
            "holdfast-backup-resume.timer",
            "holdfast-backup@people.service",
            "holdfast-backup@people.timer",
        ]
        assert "holdfast-backup@home" not in host.run("systemctl list-units --all --no-legend 'holdfast*'")
        assert start(host, "people"), host.journal("holdfast-backup@people")


@pytest.mark.proof
def test_absent_removes_all_that_was_made_and_keeps_the_backups(jobs: Site) -> None:
    before = {host.name: len(jobs.snapshots(host)) for host in jobs.fleet}
    run = jobs.provision(holdfast_state="absent")
    assert {result.host for result in run.changed} >= set(jobs.fleet.hosts)
    for host in jobs.fleet:
        left = host.run(
            "find / -xdev \\( -name '*holdfast*' -o -name restic \\) -not -path '/proc/*' -not -path '/sys/*'"
        )
        assert left == ""
        assert host.run("systemctl list-units --all --no-legend 'holdfast*'") == ""
        assert len(jobs.snapshots(host)) == before[host.name]
    assert jobs.provision(holdfast_state="absent").changed == []
