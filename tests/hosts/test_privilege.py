# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users of a booted host can do to its backups, and what its owner can do to somebody who restores one as root."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3

from tests.support.hostile_trees import HONEST, HOSTILE
from tests.support.hosts import Host
from tests.support.repository_format import Key
from tests.support.site import Site

pytestmark = pytest.mark.hosts

SAMPLE = ("bookworm",)
SECRET = "a-secret-in-a-hook"
# Everything that a user finds in his job is written down, as its dump.
SPY = """
id -un
grep CapEff /proc/self/status
env
for path in /run/credentials/* /run/credentials/*/* /etc/holdfast/* /etc/holdfast-jobs/* /var/cache/private/*/*/* \
    /var/cache/holdfast/*/* /proc/[0-9]*/environ; do
  cat "$path" && echo "READ $path"
done 2>/dev/null
"$1" spy snapshots 2>&1 && echo OPENED
python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("/run/holdfast-user/other")' 2>&1 && echo CONNECTED
true
"""
# The checksum of each file below a folder; names need not be UTF-8.
SUMS = """import hashlib, json, os, sys
top, found = os.fsencode(sys.argv[1]), {}
for folder, _folders, files in os.walk(top):
    for path in (os.path.join(folder, name) for name in files):
        with open(path, "rb") as file:
            found[os.path.relpath(path, top).hex()] = hashlib.sha256(file.read()).hexdigest()
print(json.dumps(found))
"""
JOBS: list[dict[str, Any]] = [
    {"name": "spy", "command": ["sh", "-c", SPY, "sh", "/usr/local/bin/holdfast-restic"], "user": "postgres"},
    {
        "name": "other",
        "paths": ["/srv"],
        "before": f": {SECRET}; id -un; grep CapEff /proc/self/status; env",
        "user": "daemon",
    },
    {"name": "data", "paths": ["/srv"]},
]


@pytest.fixture(scope="module")
def hosts(site: Site) -> Site:
    site.common["backup_jobs"] = JOBS
    for host in site.fleet:
        host.run("id postgres >/dev/null 2>&1 || useradd --system postgres")
    site.provision()
    for host in site.fleet:
        host.run("mkdir -p /srv/outside; echo mine >/srv/outside/mine; install -m 0600 /dev/null /srv/private")
    return site


def start(host: Host, job: str) -> None:
    done = host.ssh(f"systemctl start holdfast-backup@{job}.service")
    assert done.returncode == 0, host.journal(f"holdfast-backup@{job}") + host.journal(f"holdfast-user-{job}@*")


def test_the_user_of_a_job_finds_nothing_that_opens_the_repository(hosts: Site) -> None:
    for host in hosts.fleet:
        start(host, "data")
        start(host, "spy")
        found = hosts.restic_run(host, "dump", "latest", "/spy")
        assert found.startswith("postgres\nCapEff:\t0000000000000000\n")
        read = [line for line in found.splitlines() if line.startswith("READ ") and not line.endswith("/environ")]
        assert read == []
        assert [secret for secret in hosts.secrets() if secret in found] == []
        assert "OPENED" not in found and "CONNECTED" not in found
        assert SECRET not in found


def test_hooks_have_neither_rights_nor_credentials(hosts: Site) -> None:
    for host in hosts.fleet:
        start(host, "other")
        told = host.journal("holdfast-backup@other")
        assert "daemon\nCapEff:\t0000000000000000\n" in told
        assert "AWS_" not in told and "CREDENTIALS_DIRECTORY" not in told
        # restic alone reads what is somebody else's.
        assert "/srv/private" in hosts.restic_run(host, "ls", "latest")


def test_nobody_delays_a_job_or_reads_what_it_does(hosts: Site) -> None:
    for host in hosts.fleet:
        as_nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups"
        for path in (
            "/usr/local/bin/holdfast-restic",
            "/usr/local/lib/holdfast/holdfast_serve.py",
            "/var/lib/holdfast-jobs",
        ):
            host.run(f"systemd-run --quiet --collect --uid=nobody flock -x {path} sleep infinity")
        start(host, "data")
        start(host, "other")
        host.run("systemctl start holdfast-backup-failed@data.service")
        for path in (
            "/var/cache/holdfast/holdfast-backup/lock",
            "/etc/holdfast-jobs/settings.json",
            "/run/holdfast-user/.",
        ):
            assert host.ssh(f"{as_nobody} cat {path}").returncode != 0
            host.run(f"test -e {path}")
        assert host.ssh(f"{as_nobody} touch /var/lib/holdfast-jobs/data").returncode != 0
        open_to_all = host.run(
            f"find /etc /usr/local /var/lib /run -xdev -type f -perm -o+r -print0 | xargs -0 grep -ls {SECRET} || true"
        )
        assert open_to_all == ""


def test_a_note_that_leads_elsewhere_holds_nothing_up(hosts: Site) -> None:
    for host in hosts.fleet:
        host.run("ln -sf /proc/kmsg /var/lib/holdfast-jobs/data; truncate -s 1T /var/lib/holdfast-jobs/other")
        host.run("timeout 60 systemctl start holdfast-backup-resume.service; rm /var/lib/holdfast-jobs/*")
        host.await_success(
            "systemctl show --value -p ActiveState holdfast-backup@other | grep -qE '^(inactive|failed)$'"
        )


def hostile(site: Site, host: Host) -> dict[str, str]:
    """Write every hostile tree into the repository of a host; the snapshots' ids."""
    key = Key.from_json(json.loads(site.restic_run(host, "cat", "masterkey")))
    keys = (site.stand_in.access_key_id, site.stand_in.secret_access_key)
    s3 = S3(site.endpoint, *keys, bucket=site.bucket(host.name))
    found = {}
    for name, tree in HOSTILE.items():
        for path, content in tree.objects(key, "/srv/outside").items():
            s3.put_if(path, content)
            found[name] = path.rpartition("/")[2]
    return found


def shown(told: dict[str, str]) -> dict[str, str]:
    """As a playbook shows it: control characters are written out."""
    return {re.sub("[\\0-\x1f]", lambda found: f"\\x{ord(found[0]):02x}", path): why for path, why in told.items()}


@pytest.mark.proof
def test_hostile_trees_restored_as_root_on_a_host(hosts: Site) -> None:
    snapshots = {host.name: hostile(hosts, host) for host in hosts.fleet}
    state = "find /srv/outside /etc /usr/local -xdev -printf '%p %m %U %G %n %s %T@\\n' | sort"
    before = {host.name: host.run(state) for host in hosts.fleet}
    restore = {
        "holdfast.restic_r2.restic_restore": {
            "s3_endpoint": hosts.endpoint,
            "access_key_id": "{{ holdfast_access_key_id }}",
            "secret_access_key": "{{ holdfast_secret_access_key }}",
            "bucket": "backup-{{ inventory_hostname }}",
            "password": "{{ holdfast_password }}",
            "snapshot": "{{ snapshots[inventory_hostname][item] }}",
            "target": "/var/lib/holdfast/restores/{{ trees.index(item) }}",
        },
        "loop": "{{ trees }}",
    }
    variables = {"snapshots": snapshots, "trees": list(HOSTILE)}
    run = hosts.play([{"hosts": "holdfast", "gather_facts": False, "vars": variables, "tasks": [restore]}])
    assert run.exit_code == 0, run.output
    for host in hosts.fleet:
        assert host.run(state) == before[host.name]
        told = {
            result.result["item"]: result.result
            for result in run.results
            if result.host == host.name and "item" in result.result
        }
        for number, (name, tree) in enumerate(HOSTILE.items()):
            target = f"/var/lib/holdfast/restores/{number}"
            assert {item["path"]: item["why"] for item in told[name]["left_out"]} == shown(tree.told("/srv/outside")), (
                name
            )
            found = json.loads(host.run(f"python3 -c {shlex.quote(SUMS)} {target}/honest"))
            assert found == {path.hex(): hashlib.sha256(content).hexdigest() for path, content in HONEST.items()}, name
            assert host.run(f"find {target} \\( -perm /6000 -type f -o -type b -o -type c \\) -print") == "", name
        assert host.run("stat -c %a /var/lib/holdfast /var/lib/holdfast/restores").split() == ["700", "700"]
