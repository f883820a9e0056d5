# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The world of the demo: hosts that are folders, their files, the stand-in, and Ansible. All of it below .demo/."""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

from tests.stand_in.client import StandIn
from tests.support import restic
from tests.support.running import ROOT, Ansible, Run, read_record

DEMO = ROOT / ".demo"
INVENTORY = ROOT / "demo" / "inventory.yml"
# Real files: parts of Python's standard library, different ones on each host.
HOSTS = {
    "web1": ("email", "encodings", "http", "json"),
    "web2": ("asyncio", "logging"),
    "db1": ("sqlite3", "xml", "unittest"),
}
# How long one playbook may take, in seconds.
TIMEOUT = 600


class Broken(Exception):
    """A promise does not hold, or the demo cannot run; told in one sentence."""


def bucket_of(name: str) -> str:
    return f"backup-{name}"


class Demo:
    """Everything that the story plays with. Use as a context manager."""

    def __init__(self) -> None:
        found = restic.find()
        if found is None:
            raise Broken("There is no restic 0.19 or newer: run `make restic`.")
        self.restic = found
        shutil.rmtree(DEMO, ignore_errors=True)
        (DEMO / "logs").mkdir(parents=True)
        self.stand_in = StandIn.start(DEMO / "r2")
        self.ansible = Ansible(DEMO / "ansible", {"ANSIBLE_FORKS": "3", "TMPDIR": str(self.folder("tmp"))})
        self.folder("metrics")
        self.random = random.Random(20261123)
        self.doing: str | Path = "the hosts are being made"
        # Ends what was started also when the demo itself is told to end.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def __enter__(self) -> Demo:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stand_in.stop()

    @staticmethod
    def folder(name: str) -> Path:
        """A folder of the demo, which is made where it is not there."""
        folder = DEMO / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def root(self, name: str) -> Path:
        """The folder that plays the root of a host."""
        return DEMO / "hosts" / name

    # --- hosts and their files ----------------------------------------------------------------------------------

    def make_hosts(self) -> int:
        """Three hosts with real files, and what would be in Ansible Vault; how many files there are."""
        library = Path(sysconfig.get_paths()["stdlib"])
        vault: dict[str, Any] = {
            "vault_account_id": self.stand_in.account_id,
            "vault_api_token": self.stand_in.api_token,
            "stand_in_url": self.stand_in.url,
            "demo_restic": self.restic,
            "vault_hosts": {name: self._keys(name) for name in HOSTS},
        }
        path = DEMO / "vault.yml"
        path.touch(mode=0o600)
        path.write_text(json.dumps(vault, indent=2), encoding="utf-8")
        for name, packages in HOSTS.items():
            root = self.root(name)
            for folder in ("bin", "etc", "srv"):
                (root / folder).mkdir(parents=True)
            for package in packages:
                shutil.copytree(library / package, root / "srv" / package, ignore=shutil.ignore_patterns("__pycache__"))
            (root / "etc" / "hostname").write_text(f"{name}\n", encoding="utf-8")
            (root / "srv" / "empty").touch()
            (root / "srv" / "link").symlink_to("empty")
            for number in range(6):
                self._write(root / "srv" / "media" / f"{number}.bin", 700_000)
        return sum(len(self.files(self.root(name) / "srv")) for name in HOSTS)

    def _keys(self, name: str) -> dict[str, str]:
        token = self.stand_in.create_token(name, bucket=bucket_of(name))
        pair = {part: token[part] for part in ("access_key_id", "secret_access_key")}
        return {**pair, "password": secrets.token_urlsafe(24)}

    def _write(self, path: Path, size: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.random.randbytes(size))

    def change_files(self, name: str, day: int) -> None:
        """What happens on a host in a day: files come, change and go."""
        srv = self.root(name) / "srv"
        (srv / "log").open("a", encoding="utf-8").write(f"day {day}\n" * 50)
        for number in (day % 6, (day + 3) % 6):
            self._write(srv / "media" / f"{number}.bin", 700_000)
        self._write(srv / "uploads" / f"{day}.bin", 300_000)
        (srv / "uploads" / f"{day - 2}.bin").unlink(missing_ok=True)

    def encrypt_files(self, name: str) -> int:
        """What ransomware does to a host: every file has other content and another name; how many there were."""
        paths = [path for path in (self.root(name) / "srv").rglob("*") if path.is_file() and not path.is_symlink()]
        for path in paths:
            path.write_bytes(self.random.randbytes(path.stat().st_size))
            path.rename(path.with_name(f"{path.name}.locked"))
        return len(paths)

    @staticmethod
    def files(folder: Path) -> dict[str, bytes]:
        """Every file below a folder with its content; a link counts with where it leads."""
        found = {}
        for path in sorted(folder.rglob("*")):
            if path.is_symlink():
                found[str(path.relative_to(folder))] = os.readlink(path).encode()
            elif path.is_file():
                found[str(path.relative_to(folder))] = path.read_bytes()
        return found

    def back_up(self, name: str, job: str = "files") -> None:
        """Run a job as its timer would: the very command of the unit's ExecStart."""
        self.doing = f"a backup of {name}"
        command = [str(self.root(name) / "bin" / "holdfast-restic"), "--backup", job]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.defpath})
        with (DEMO / "logs" / f"backup-{name}.log").open("a", encoding="utf-8") as log:
            log.write(done.stdout + done.stderr)
        if done.returncode != 0:
            raise Broken(f"The backup of {name} ended with {done.returncode}; see .demo/logs/backup-{name}.log.")

    # --- Ansible ------------------------------------------------------------------------------------------------

    def start(self, playbook: str, log: Path, *arguments: str) -> tuple[subprocess.Popen[str], Path]:
        """Start a playbook in a process group of its own."""
        self.doing = log
        with log.open("w", encoding="utf-8") as output:
            return self.ansible.start_playbook(
                f"holdfast.restic_r2.{playbook}", INVENTORY, "-e", f"@{DEMO / 'vault.yml'}", *arguments,
                start_new_session=True, stdout=output,
            )  # fmt: skip

    def run(self, playbook: str, log_name: str, *arguments: str, alarms: bool = False) -> Run:
        """Run a playbook to its end; one that alarms has to fail."""
        log = DEMO / "logs" / log_name
        process, record = self.start(playbook, log, *arguments)
        try:
            process.wait(TIMEOUT)
        except BaseException as error:
            kill_ansible(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise Broken(f"The playbook {playbook} hangs; see {log.relative_to(ROOT)}.") from error
            raise
        if (process.returncode != 0) != alarms:
            raise Broken(f"The playbook {playbook} ended with {process.returncode}; see {log.relative_to(ROOT)}.")
        return Run(process.returncode, log.read_text(encoding="utf-8"), *read_record(record))

    def at_work(self) -> str:
        """What goes on at this moment: of a playbook, the task."""
        if isinstance(self.doing, str):
            return self.doing
        tasks = re.findall(r"^TASK \[(.*)\]", self.doing.read_text(encoding="utf-8"), re.MULTILINE)
        return tasks[-1] if tasks else "Ansible begins"

    def open_prefixes(self) -> set[str]:
        """What is open at this moment, by the ledger of the stand-in."""
        exposures = self.stand_in.ledger()["exposures"]
        return {f"{entry['bucket']}/{entry['prefix']}" for entry in exposures if entry["to"] is None}


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text(encoding="utf-8").split()]
        except OSError:
            continue
    return found


def kill_ansible(process: subprocess.Popen[str]) -> float:
    """Kill ansible-playbook and all its workers with their modules, as kill -9 on their process groups does.

    Returns:
        When, in seconds since the epoch.
    """
    # Since ansible-core 2.19 each worker leads a group of its own, so that one kill would spare it.
    groups = {os.getpgid(process.pid)}
    for worker in children(process.pid):
        try:
            groups.add(os.getpgid(worker))
        except ProcessLookupError:
            continue
    moment = time.time()
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    return moment
