# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository per case, copied from one template, and maintenance of it as a process."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set

from tests.stand_in.client import StandIn
from tests.stand_in.settings import Settings
from tests.support import restic
from tests.support.preloaded import MODULES, Forked
from tests.support.repositories import Bed
from tests.support.running import COLLECTION, Ansible

LATENCY = 0.03
SETTINGS = {**asdict(Settings()), "rate_limit": 10**6}
INVENTORY = {"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}
_MODULE_FILES = ("arguments", "result", "errors")
_copies = itertools.count()


@dataclass(frozen=True)
class Original:
    """A repository with something to forget and to repack, as it lies in a bucket."""

    objects: dict[str, bytes]
    newest: str


def original() -> Original:
    """Make one."""
    found = restic.required()
    with tempfile.TemporaryDirectory() as folder, StandIn.start() as stand_in:
        home = Path(folder)
        bed = Bed(stand_in, Ansible(home / "ansible"), found, home)
        bed.initialise()
        files = home / "files"
        files.mkdir()
        newest = ""
        for number in range(3):
            for name in ("a", "b"):
                (files / f"{name}{number}").write_bytes(os.urandom(100_000))
            if number:
                (files / f"a{number - 1}").unlink()
            # The old ones claim a time that fits the one at which they are said to have been uploaded.
            newest = bed.backup(files, *([] if number == 2 else ["--time=2025-12-31 06:00:00"]))
        s3 = bed.s3
        return Original({item.key: s3.get(item.key) for item in s3.iterate() if "locks/" not in item.key}, newest)


@dataclass
class PreparedBucket:
    """The original in a bucket of a stand-in."""

    bed: Bed
    newest: str

    def copy(self) -> Case:
        """The same repository in a bucket of its own, locked, on a stand-in that does nothing strange."""
        self.bed.stand_in.clear_faults()
        self.bed.stand_in.clear_log()
        self.bed.stand_in.settings(**SETTINGS)
        home = self.bed.home / f"case-{next(_copies)}"
        home.mkdir()
        bed = Bed(self.bed.stand_in, Ansible(home / "ansible"), self.bed.restic_path, home)
        bed.stand_in.copy_bucket(self.bed.bucket, bed.bucket)
        bed.lock()
        return Case(bed, self.newest)


@contextmanager
def template(source: Original) -> Iterator[PreparedBucket]:
    """A stand-in with the original in it."""
    found = restic.find()
    assert found
    with tempfile.TemporaryDirectory() as folder, StandIn.start(**SETTINGS) as stand_in:
        home = Path(folder)
        bed = Bed(stand_in, Ansible(home / "ansible"), found, home)
        s3 = bed.s3
        for key, content in source.objects.items():
            s3.put_if(key, content)
            if key.startswith("snapshots/") and source.newest not in key:
                stand_in.set_upload_time(bed.bucket, key, "2026-01-01T00:00:00Z")  # retention goes by it
        yield PreparedBucket(bed, source.newest)


@dataclass
class Case:
    """One repository, maintained once."""

    bed: Bed
    newest: str
    since: int = field(default=0)

    def _options(self, more: dict[str, Any]) -> dict[str, Any]:
        return {**self.bed.options, "keep_last": 1, "max_remove": "100%", "lock_wait": 0, **more}

    def start_module(self, **arguments: Any) -> Forked:
        """restic_prune alone, in a fork of a process that has loaded it already: that saves some seconds.

        Its result is in `told`, and what it wrote besides in `wrong`.
        """
        self.since = self.bed.stand_in.last_request()
        arguments = {**self._options(arguments), "_ansible_remote_tmp": str(self.bed.home), "_ansible_tmpdir": None}
        (self.bed.home / "arguments").write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}), encoding="utf-8")
        files = [os.open(self.bed.home / name, os.O_RDWR | os.O_CREAT, 0o600) for name in _MODULE_FILES]
        try:
            return Forked(f"{MODULES}.restic_prune", [], self.bed.ansible.environment(), files)
        finally:
            for file in files:
                os.close(file)

    def told(self) -> str:
        return (self.bed.home / "result").read_text(encoding="utf-8")

    def wrong(self) -> str:
        return (self.bed.home / "errors").read_text(encoding="utf-8")

    def start(self, *wrapper: str, **arguments: Any) -> subprocess.Popen[str]:
        """A play with restic_prune below ansible-playbook, in a session of its own.

        The wrapper is a command to run it by, or ("ansible-runner", seconds that it may take).
        """
        self.since = self.bed.stand_in.last_request()
        task = {f"{COLLECTION}.restic_prune": self._options(arguments)}
        play = {"hosts": "localhost", "gather_facts": False, "tasks": [task]}
        project = self.bed.home / "project"
        project.mkdir(exist_ok=True)
        (project / "play.json").write_text(json.dumps([play]), encoding="utf-8")
        (project / "hosts.json").write_text(json.dumps(INVENTORY), encoding="utf-8")
        hosts = str(project / "hosts.json")
        command = (*wrapper, "ansible-playbook", "-i", hosts, str(project / "play.json"))
        if wrapper and wrapper[0] == "ansible-runner":
            (self.bed.home / "env").mkdir()
            (self.bed.home / "env" / "settings").write_text(
                json.dumps({"job_timeout": int(wrapper[1])}), encoding="utf-8"
            )
            command = ("ansible-runner", "run", str(self.bed.home), "-p", "play.json", "--inventory", hosts)
        return subprocess.Popen(
            command,
            env=self.bed.ansible.environment({"PYTHONFAULTHANDLER": "1"}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.bed.home,
            start_new_session=True,
        )

    def exposures(self) -> list[dict[str, Any]]:
        found = self.bed.stand_in.ledger()["exposures"]
        return [entry for entry in found if entry["bucket"] == self.bed.bucket]

    def locked(self) -> bool:
        """Whether the document is as it was and R2 protects every prefix."""
        return self.bed.stand_in.rules(self.bed.bucket) == lock_set("") and all(
            entry["to"] is not None for entry in self.exposures()
        )

    def restic_locks(self) -> list[str]:
        """The lock objects that restic has left."""
        return [key for key in self.bed.stand_in.objects(self.bed.bucket) if "locks/" in key]

    def guard(self) -> bool:
        """Run the guard as if the lease were over; returns whether everything is locked then."""
        stand_in = self.bed.stand_in
        stand_in.settings(clock_offset=7200.0, max_skew=100000.0)
        try:
            account = {name: self.bed.account[name] for name in ("account_id", "api_token", "api_url")}
            self.bed.ansible.module("r2_bucket_relock", buckets=[self.bed.bucket], **account)
            return self.locked()
        finally:
            stand_in.settings(clock_offset=0.0)

    def lost(self) -> str:
        """What is lost or broken; empty when nothing is."""
        latency = self.bed.stand_in.settings()["latency"]
        self.bed.stand_in.settings(latency=0.0)
        try:
            check = self.bed.restic.run(["check", "--read-data", "--no-lock"])
            if check.exit_code != 0:
                return f"restic check: {check.stderr.strip().splitlines()[-1:]}"
            found = [snapshot["id"] for snapshot in self.bed.restic.snapshots()]
            return "" if self.newest in found else "the newest snapshot is gone"
        finally:
            self.bed.stand_in.settings(latency=latency)
