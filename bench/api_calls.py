# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the playbooks ask for, for each host: a first and a second `site`, and `maintenance`.

`rest` is Cloudflare's API, which has a limit of calls; `s3` is what restic and the modules ask of the objects.
`of_bucket` is the most that any host's bucket saw. `of_account` is for the whole run: calls whose path names no bucket,
such as the one that creates one.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from bench._scene import restic_path
from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.running import COLLECTION, Ansible

HOSTS = ("web1", "web2")
READS_LIMIT = 2
_READS = ("GET", "HEAD")


def measure() -> dict[str, Any]:
    """Reads and writes of each run."""
    with tempfile.TemporaryDirectory() as folder, StandIn.start() as stand_in:
        home = Path(folder)
        fleet = Fleet(home / "fleet", stand_in, restic_path(), HOSTS)
        # Measured with restic's own keys, not with those of the tests, which open in a moment.
        fleet.common["holdfast_restic_path"] = restic_path()
        ansible = Ansible(home / "ansible")
        figures: dict[str, Any] = {"hosts": len(HOSTS)}
        figures["first_site"] = _run(ansible, fleet, "site")
        figures["second_site"] = _run(ansible, fleet, "site")
        for number in range(3):
            for name in HOSTS:
                fleet.fill(name, number)
                assert fleet.backup(name).returncode == 0, f"The backup of {name} failed."
        fleet.common["holdfast_retention"] = {"keep_last": 1}
        figures["maintenance"] = _run(ansible, fleet, "maintenance")
    return figures


def misses(figures: dict[str, Any]) -> list[str]:
    """The targets that were not met."""
    second = figures["second_site"]
    found = [f"api_calls.second_site.{name} is {count}, 0 is wanted" for name, count in second.items()
             if "writes" in name and count]  # fmt: skip
    if second["rest_reads_of_bucket"] > READS_LIMIT:
        count = second["rest_reads_of_bucket"]
        found.append(f"api_calls.second_site.rest_reads_of_bucket is {count}, at most {READS_LIMIT} is wanted")
    return found


def _run(ansible: Ansible, fleet: Fleet, playbook: str) -> dict[str, int]:
    since = fleet.stand_in.last_request()
    run = ansible.playbook(f"{COLLECTION}.{playbook}", fleet.inventory)
    assert run.exit_code == 0, run.output
    return _count(fleet.stand_in.requests(since), [f"backup-{name}" for name in HOSTS])


def _count(requests: list[dict[str, Any]], buckets: list[str]) -> dict[str, int]:
    """Reads and writes of both sides."""
    found: dict[str, int] = {}
    for side in ("rest", "s3"):
        for what in ("reads", "writes"):
            mine = [
                _bucket(one)
                for one in requests
                if (one["kind"] == "rest") == (side == "rest") and (one["method"] in _READS) == (what == "reads")
            ]
            found[f"{side}_{what}_of_bucket"] = max(mine.count(bucket) for bucket in buckets)
            found[f"{side}_{what}_of_account"] = sum(bucket not in buckets for bucket in mine)
    return found


def _bucket(request: dict[str, Any]) -> str:
    if request["kind"] != "rest":
        return request["bucket"] or ""
    found = re.search(r"/r2/buckets/([^/]+)", request["path"])
    return found.group(1) if found else ""
