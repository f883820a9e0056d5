# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What it takes to provision booted hosts: a first and a second `site`, beside a playbook written by hand.

`tasks` are those that a host's recap counts as done. `cpu_seconds` is what the controller needed, Ansible and all that it
runs there, without ssh connections that outlive a run. Controller and hosts share one machine, so that the wall time
of many hosts is more than it would be elsewhere. Each host has two jobs; the file of restic is on the controller.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import results
from bench._plain_playbook import tasks
from bench._scene import restic_path
from tests.stand_in.client import StandIn
from tests.support.hosts import BootedHosts, unusable
from tests.support.running import Run
from tests.support.site import Site

SIZES = (1, 3, 10)
SUITES = ("bookworm", "trixie")


def measure() -> dict[str, Any]:
    """Tasks, wall and CPU seconds for each host; what was measured before where no host can be booted."""
    if unusable():
        print(f"SKIPPED: provision was not measured, {unusable()}.", file=sys.stderr)
        return dict(results.read().get("provision", {}))
    return {f"{size}_hosts": {"ours": _measured(size, _ours), "plain": _measured(size, _plain)} for size in SIZES}


def _ours(site: Site) -> Run:
    return site.play("site")


def _plain(site: Site) -> Run:
    play = {"hosts": "holdfast", "gather_facts": False, "become": True, "tasks": tasks(site.restic)}
    return site.play([play])


def _measured(size: int, provision: Callable[[Site], Run]) -> dict[str, Any]:
    """A first and a second run on freshly booted hosts."""
    fleet = BootedHosts(f"p{os.getpid() % 100000}")
    try:
        fleet.up(*(SUITES[number % len(SUITES)] for number in range(size)))
        with fleet.network(), tempfile.TemporaryDirectory() as folder:
            account = Path(folder) / "account"
            with StandIn.start(account, host="0.0.0.0") as stand_in:
                site = Site(fleet, stand_in, restic_path(), Path(folder) / "node", account)
                # Measured with restic's own keys, not with those of the tests, which open in a moment.
                site.common["holdfast_restic_path"] = site.restic
                site.ansible.extra["ANSIBLE_FORKS"] = str(max(SIZES))
                return {run: _figures(site, provision) for run in ("first", "second")}
    finally:
        fleet.down()


def _figures(site: Site, provision: Callable[[Site], Run]) -> dict[str, float]:
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    run = provision(site)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run.exit_code == 0, run.output
    count = len(site.hosts)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "tasks": round(sum(run.recap[name]["ok"] for name in site.hosts) / count, 1),
        "changed": round(sum(run.recap[name]["changed"] for name in site.hosts) / count, 1),
        "wall_seconds": round(wall / count, 2),
        "cpu_seconds": round(cpu / count, 2),
    }
