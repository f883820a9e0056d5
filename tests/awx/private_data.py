# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs of ansible-runner, with the private data directory that AWX lays out for it, over a few hosts."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Repository, Restic

from tests.stand_in.client import StandIn
from tests.support.many_hosts import bucket_of, host_name, inventory_of, make_hosts, restic_path, variables
from tests.support.processes import gone, tree
from tests.support.repositories import PASSWORD
from tests.support.running import ROOT, Ansible
from tests.support.waiting import wait_for

HOSTS = 3
PROJECT = ROOT / "examples" / "awx"
# In AWX these come from credentials, and the inventory holds how to look them up.
_ENVIRONMENT = {
    "holdfast_account_id": "CLOUDFLARE_ACCOUNT_ID",
    "holdfast_api_token": "CLOUDFLARE_API_TOKEN",
    "holdfast_api_url": "CLOUDFLARE_API_BASE_URL",
    "holdfast_s3_endpoint": "AWS_ENDPOINT_URL_S3",
}
# How a container dies: with everything in it.
CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@dataclass
class Ended:
    """A job that is over.

    Attributes:
        status: What runner wrote down, and AWX shows; empty when runner died too.
        rc: The exit status of ansible-playbook, as runner wrote it down.
        artifacts: Everything that runner left.
    """

    status: str
    rc: str
    artifacts: Path
    output: str

    def events(self, name: str) -> list[dict[str, Any]]:
        """The data of all events of a kind."""
        found = [json.loads(path.read_text()) for path in (self.artifacts / "job_events").glob("*-*.json")]
        return [
            event["event_data"] for event in sorted(found, key=lambda one: one["counter"]) if event["event"] == name
        ]

    @property
    def stats(self) -> dict[str, Any]:
        """What was set with set_stats for the run: the variables of the next nodes of a workflow."""
        return dict(self.events("playbook_on_stats")[0].get("artifact_data", {}))

    def result(self, task: str) -> dict[str, Any]:
        """The result of the task of this name, on one host."""
        return next(one["res"] for one in self.events("runner_on_ok") if one["task"] == task)


@dataclass
class Jobs:
    """Hosts with repositories that have something to forget, and a project with an inventory of them."""

    home: Path
    stand_in: StandIn
    number: int = field(default=0)

    def lay_out(
        self,
        *,
        cmdline: str = "",
        timeout: int = 0,
        extravars: dict[str, Any] | None = None,
        more: dict[str, str] | None = None,
    ) -> Path:
        """The private data directory of the next job; `more` are playbooks that a user's project would have."""
        self.number += 1
        folder = self.home / f"job-{self.number}"
        shutil.copytree(PROJECT, folder / "project", ignore=shutil.ignore_patterns("inventory"))
        for name, content in (more or {}).items():
            (folder / "project" / f"{name}.yml").write_text(content, encoding="utf-8")
        (folder / "env").mkdir()
        (folder / "inventory").mkdir()
        credential = folder / "repositories"
        credential.write_text(json.dumps({host_name(n + 1): {"password": PASSWORD} for n in range(HOSTS)}))
        environment = {
            **{name: value for name, value in Ansible(folder / "ansible").environment().items() if "ANSIBLE_" in name},
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.default",
            "JOB_ID": str(self.number),
            "CLOUDFLARE_ACCOUNT_ID": self.stand_in.account_id,
            "CLOUDFLARE_API_TOKEN": self.stand_in.api_token,
            "CLOUDFLARE_API_BASE_URL": self.stand_in.api_url,
            "AWS_ENDPOINT_URL_S3": self.stand_in.s3_endpoint,
            "HOLDFAST_REPOSITORIES": str(credential),
        }
        extra = {"awx_job_id": self.number, "tower_job_id": self.number, **(extravars or {})}
        for name, content in (
            ("envvars", json.dumps(environment)),
            ("extravars", json.dumps(extra)),
            ("cmdline", f"--forks={HOSTS} {cmdline}"),
            ("settings", json.dumps({"job_timeout": timeout, "suppress_ansible_output": False})),
        ):
            (folder / "env" / name).write_text(content, encoding="utf-8")
            (folder / "env" / name).chmod(0o600)
        self._write_inventory(folder / "inventory" / "hosts")
        return folder

    def _write_inventory(self, path: Path) -> None:
        """A script that prints what is stored, as AWX writes it."""
        common = {key: value for key, value in variables(self.stand_in, self.home).items() if key not in _ENVIRONMENT}
        secrets = "lookup('file', lookup('env', 'HOLDFAST_REPOSITORIES')) | from_json"
        common["holdfast_password"] = f"{{{{ ({secrets})[inventory_hostname].password }}}}"
        inventory = inventory_of([host_name(n + 1) for n in range(HOSTS)], common)
        inventory["holdfast"]["hosts"] = list(inventory["holdfast"]["hosts"])
        document = {**inventory, "_meta": {"hostvars": {}}}
        path.write_text(f"#!/usr/bin/env python3\nimport json\nprint(json.dumps({document!r}))\n", encoding="utf-8")
        path.chmod(0o700)

    @contextmanager
    def running(self, playbook: str, *wrapper: str, **layout: Any) -> Iterator[tuple[subprocess.Popen[str], Path]]:
        """The process of a job, and where its artifacts go."""
        folder = self.lay_out(**layout)
        environment = {k: v for k, v in Ansible(folder / "ansible").environment().items() if "ANSIBLE_" not in k}
        command = [*wrapper, "ansible-runner", "run", str(folder), "-p", f"{playbook}.yml", "-i", "job"]
        with (folder / "output").open("w") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            try:
                yield process, folder
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait(60)

    def run(self, playbook: str, **layout: Any) -> Ended:
        """A job to its end."""
        with self.running(playbook, **layout) as (process, folder):
            process.wait(600)
        return ended(folder)

    def end(
        self, playbook: str, how: Callable[[subprocess.Popen[str]], object], *wrapper: str, hold: float, **layout: Any
    ) -> Ended:
        """A job that is ended while windows of two repositories are open.

        Args:
            how: What ends it.
            hold: Seconds by which deletes are answered late, so that the windows stay open meanwhile.
        """
        since = self.stand_in.last_request()
        self.stand_in.fault(kind="DeleteObjects", delay=hold, times=0)
        with self.running(playbook, *wrapper, **layout) as (process, folder):
            for bucket in self._opened(since):
                assert not self.locked()[bucket]
            processes = tree(process.pid)
            how(process)
            self.stand_in.clear_faults()
            wait_for(lambda: all(gone(one.pid) for one in processes), "the end of all processes of the job", 300)
        return ended(folder)

    def _opened(self, since: int) -> list[int]:
        """Wait until something of two repositories is about to be deleted; the places of these two."""

        def found() -> list[int]:
            log = self.stand_in.requests(since)
            deleting = {one["bucket"] for one in log if one["kind"] == "DeleteObjects"}
            return [number for number in range(HOSTS) if bucket_of(number + 1) in deleting]

        wait_for(lambda: len(found()) >= 2, "windows of two repositories", 300)
        return found()

    # What became of it ---------------------------------------------------------------------------------------------

    def locked(self) -> list[bool]:
        """For each host whether the document is as it was, and R2 protects everything."""
        open_now = {entry["bucket"] for entry in self.stand_in.ledger()["exposures"] if entry["to"] is None}
        buckets = [bucket_of(number + 1) for number in range(HOSTS)]
        return [bucket not in open_now and self.stand_in.rules(bucket) == lock_set("") for bucket in buckets]

    def snapshots(self) -> list[int]:
        """For each host how many there are, after `restic check` found nothing wrong."""
        counts = []
        for number in range(HOSTS):
            repository = Repository(
                self.stand_in.s3_endpoint,
                bucket_of(number + 1),
                "",
                self.stand_in.token_id,
                self.stand_in.secret_access_key,
                None,
                password=PASSWORD,
            )
            restic = Restic(repository, path=restic_path(), cache_dir=str(self.home / "check"))
            checked = restic.run(["check", "--read-data", "--no-lock"])
            assert checked.exit_code == 0, checked.stderr
            counts.append(len(restic.snapshots()))
        return counts

    def guard(self) -> Ended:
        """The guard's job, two hours later: every lease is over then. It stays two hours later."""
        self.stand_in.settings(clock_offset=7200.0, max_skew=100000.0)
        return self.run("relock")

    def secrets(self) -> list[str]:
        return [PASSWORD, self.stand_in.api_token, self.stand_in.secret_access_key]


def ended(folder: Path) -> Ended:
    artifacts = folder / "artifacts" / "job"
    status, rc = (
        (artifacts / name).read_text().strip() if (artifacts / name).exists() else "" for name in ("status", "rc")
    )
    return Ended(status, rc, artifacts, (folder / "output").read_text())


def cancel(process: subprocess.Popen[str]) -> None:
    """What AWX does on an execution node: SIGINT to runner, which kills ansible-playbook's process group."""
    process.send_signal(signal.SIGINT)


@contextmanager
def jobs(home: Path) -> Iterator[Jobs]:
    """Hosts and a project, in an empty folder."""
    account_id, api_token = make_hosts(home, HOSTS)
    with StandIn.start(home / "data", account_id=account_id, api_token=api_token) as stand_in:
        yield Jobs(home, stand_in)
