# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks on fleets of many hosts, and what they take of the node and of the API."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench._scene import MEBIBYTE
from tests.stand_in.client import StandIn
from tests.support.many_hosts import account, inventory_of, make_hosts, variables
from tests.support.processes import memory, tree
from tests.support.running import COLLECTION, Ansible
from tools.stage import stage

# A period of Cloudflare's limit of calls takes so much less time here, for the stand-in and for the collection alike.
FASTER = 10
LIMIT, PERIOD = 1200, 300.0
SAMPLE_SECONDS = 0.25


def quicker_collection(folder: Path) -> Path:
    """A copy of the collection whose memory of its calls is FASTER times shorter; what else it does is the same."""
    limiter = stage(folder) / "plugins" / "module_utils" / "_r2/rate_limit.py"
    text = limiter.read_text(encoding="utf-8")
    assert text.count(f"PERIOD = {PERIOD}\n") == 1, "the rate limit has no period any more"
    limiter.unlink()
    limiter.write_text(text.replace(f"PERIOD = {PERIOD}\n", f"PERIOD = {PERIOD / FASTER}\n"), encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Usage:
    """What one run of a playbook took of the node, and what it asked of the API."""

    seconds: float
    cpu_seconds: float
    memory_mib: float
    calls: int
    refused: int


@dataclass(frozen=True)
class Farm:
    """So many hosts, each with a locked repository that has something to forget."""

    home: Path
    collections: Path
    hosts: int
    account_id: str
    api_token: str

    def run(self, playbook: Any, *arguments: str) -> Usage:
        """Run a playbook on a stand-in of its own, with nothing called before; it must succeed."""
        name = playbook if isinstance(playbook, str) else "plays"
        home = Path(tempfile.mkdtemp(dir=self.home, prefix=f"{name}-"))
        settings = {"rate_period": PERIOD / FASTER, "block_seconds": PERIOD / FASTER, "rate_limit": LIMIT}
        with self._stand_in(**settings) as stand_in:
            ansible = Ansible(home, collections=self.collections)
            if isinstance(playbook, str):
                playbook = f"{COLLECTION}.{playbook}"
            inventory = inventory_of([f"web[0001:{self.hosts:04}]"], variables(stand_in, self.home))
            with (home / "output").open("w", encoding="utf-8") as output:
                start = time.monotonic()
                process, _record = ansible.start_playbook(
                    playbook,
                    inventory,
                    *arguments,
                    variables=account(stand_in),
                    environment={"HOLDFAST_RECORD": ""},
                    stdout=output,
                )
                used, peak = _watched(process.pid)
                process.returncode = used[0]
                seconds = time.monotonic() - start
            text = (home / "output").read_text(encoding="utf-8")
            assert process.returncode == 0, text[-4000:]
            asked = [one for one in stand_in.requests() if one["kind"] == "rest"]
        return Usage(
            round(seconds, 1),
            round(used[1], 1),
            round(peak / MEBIBYTE, 1),
            len(asked),
            sum(one["status"] == 429 for one in asked),
        )

    def _stand_in(self, **settings: Any) -> StandIn:
        return StandIn.start(self.home / "data", account_id=self.account_id, api_token=self.api_token, **settings)


def _watched(pid: int) -> tuple[tuple[int, float], int]:
    """Wait for a process: exit status, seconds of CPU of it and of all that it waited for, and peak of memory."""
    peak = 0
    while True:
        done, status, used = os.wait4(pid, os.WNOHANG)
        if done:
            return (os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime), peak
        peak = max(peak, sum(memory(part.pid) for part in tree(pid)))
        time.sleep(SAMPLE_SECONDS)


@contextmanager
def farm(hosts: int) -> Iterator[Farm]:
    """So many hosts, of which only the repositories are there."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        collections = quicker_collection(home / "collections")
        yield Farm(home, collections, hosts, *make_hosts(home, hosts, quick=False))
