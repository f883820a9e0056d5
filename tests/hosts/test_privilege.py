# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the owner of a booted host can do to somebody who restores one of its backups as root."""

from __future__ import annotations

import json
import re

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._s3 import S3

from tests.support.hostile_trees import HOSTILE
from tests.support.hosts import Host
from tests.support.repository_format import Key
from tests.support.site import Site

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def hosts(site: Site) -> Site:
    site.provision()
    for host in site.fleet:
        host.run("mkdir -p /srv/outside; echo mine >/srv/outside/mine; install -m 0600 /dev/null /srv/private")
    return site


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
            assert host.run(f"cat {target}/honest/file; wc -c <{target}/honest/deep/er/other").split() == [
                "kept",
                "100000",
            ]
            assert host.run(f"find {target} \\( -perm /6000 -type f -o -type b -o -type c \\) -print") == "", name
        assert host.run("stat -c %a /var/lib/holdfast /var/lib/holdfast/restores").split() == ["700", "700"]
