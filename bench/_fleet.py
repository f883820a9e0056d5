# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fleets of many hosts: one repository is made, and copied for every host where the stand-in keeps its data."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench._processes import memory, tree
from bench._scene import MEBIBYTE, restic_path
from tests.stand_in.client import StandIn
from tests.support.repositories import PASSWORD, Bed
from tests.support.running import COLLECTION, Ansible
from tools.stage import stage

# A period of Cloudflare's limit of calls takes so much less time here, for the stand-in and for the collection alike.
FASTER = 10
LIMIT, PERIOD = 1200, 300.0
SNAPSHOTS = 3
SAMPLE_SECONDS = 0.25
_OLD = "2026-01-01T00:00:00Z"


def host_name(number: int) -> str:
    return f"web{number:04}"


def quicker_collection(folder: Path) -> Path:
    """A copy of the collection whose memory of its calls is FASTER times shorter; what else it does is the same."""
    pace = stage(folder) / "plugins" / "module_utils" / "_pace.py"
    text = pace.read_text(encoding="utf-8")
    assert text.count(f"PERIOD = {PERIOD}\n") == 1, "the pace has no period any more"
    pace.unlink()
    pace.write_text(text.replace(f"PERIOD = {PERIOD}\n", f"PERIOD = {PERIOD / FASTER}\n"), encoding="utf-8")
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
            inventory = inventory_of(stand_in, self.home, [f"web[0001:{self.hosts:04}]"])
            with (home / "output").open("w", encoding="utf-8") as output:
                start = time.monotonic()
                process, _record = ansible.start_playbook(
                    playbook,
                    inventory,
                    *arguments,
                    variables=_variables(stand_in),
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


def _variables(stand_in: StandIn) -> dict[str, Any]:
    """What relock, which has no inventory, needs to know."""
    return {
        "holdfast_account_id": stand_in.account_id,
        "holdfast_api_token": stand_in.api_token,
        "holdfast_api_url": stand_in.api_url,
    }


def inventory_of(stand_in: StandIn, home: Path, names: list[str]) -> dict[str, Any]:
    """An inventory of these names, which may be ranges."""
    variables = {
        **_variables(stand_in),
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "holdfast_s3_endpoint": stand_in.s3_endpoint,
        "holdfast_record_dir": str(home / "records"),
        "holdfast_cache_dir": str(home / "cache"),
        "holdfast_restic_path": restic_path(),
        "holdfast_password": PASSWORD,
        "holdfast_retention": {"keep_last": 1, "max_remove": "100%"},
        "holdfast_max_age": 10**6,
    }
    return {"holdfast": {"hosts": dict.fromkeys(names), "vars": variables}}


@contextmanager
def farm(hosts: int) -> Iterator[Farm]:
    """So many hosts, of which only the repositories are there."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        collections = quicker_collection(home / "collections")
        with StandIn.start(home / "data") as stand_in:
            _make_template(stand_in, home)
            account_id, api_token = stand_in.account_id, stand_in.api_token
        _copy_template(home, hosts)
        yield Farm(home, collections, hosts, account_id, api_token)


def _make_template(stand_in: StandIn, home: Path) -> None:
    """One repository with some snapshots, of which retention keeps the last, made by the role itself."""
    ansible = Ansible(home / "template")
    play = {"hosts": "holdfast", "gather_facts": False, "roles": [f"{COLLECTION}.repository"]}
    run = ansible.playbook([play], inventory_of(stand_in, home, ["template"]))
    assert run.exit_code == 0, run.output
    bed = Bed(stand_in, ansible, restic_path(), home, bucket="backup-template")
    files = home / "files"
    files.mkdir()
    for number in range(SNAPSHOTS):
        for path in files.iterdir():
            path.unlink()
        (files / f"{number}").write_bytes(os.urandom(2000))
        newest = bed.backup(files)
    for key in stand_in.objects(bed.bucket):
        if key.startswith("snapshots/") and newest not in key:
            stand_in.set_upload_time(bed.bucket, key, _OLD)


def _copy_template(home: Path, hosts: int) -> None:
    """The files of the template under the name of every host's bucket; then the template goes."""
    buckets, objects = home / "data" / "buckets" / "default", home / "data" / "objects" / "default"
    bucket = json.loads((buckets / "backup-template.json").read_text(encoding="utf-8"))
    record = json.loads((home / "records" / "backup-template" / "record.json").read_text(encoding="utf-8"))
    for number in range(1, hosts + 1):
        name = f"backup-{host_name(number)}"
        (buckets / f"{name}.json").write_text(json.dumps({**bucket, "name": name}), encoding="utf-8")
        shutil.copytree(objects / "backup-template", objects / name)
        shutil.copytree(home / "records" / "backup-template", home / "records" / name)
        text = json.dumps({**record, "bucket": name})
        (home / "records" / name / "record.json").write_text(text, encoding="utf-8")
    (buckets / "backup-template.json").unlink()
    shutil.rmtree(objects / "backup-template")
