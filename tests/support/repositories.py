# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bucket in the stand-in, its repository, and a restic that tells what it was started with."""

from __future__ import annotations

import itertools
import json
import os
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import CloudflareLocks
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Repository, Restic

from tests.stand_in.client import StandIn
from tests.support.quick_restic import replace_keys
from tests.support.repository_format import Key, name_of
from tests.support.running import COLLECTION, Ansible

PASSWORD = "a staple, quite correct"
_numbers = itertools.count(1)


@dataclass
class Bed:
    """One bucket; `module` runs a module of the collection on its repository."""

    stand_in: StandIn
    ansible: Ansible
    restic_path: str
    home: Path
    prefix: str = ""
    bucket: str = field(default_factory=lambda: f"bed-{os.getpid()}-{next(_numbers)}")

    def __post_init__(self) -> None:
        self.cloudflare.create_bucket(self.bucket)

    @property
    def cloudflare(self) -> CloudflareLocks:
        return CloudflareLocks(
            self.stand_in.api_token, self.stand_in.account_id, url=self.stand_in.api_url, timeout=30, retry_timeout=5
        )

    @property
    def s3(self) -> S3:
        stand_in = self.stand_in
        return S3(stand_in.s3_endpoint, stand_in.token_id, stand_in.secret_access_key, bucket=self.bucket, attempts=1)

    @property
    def restic(self) -> Restic:
        stand_in = self.stand_in
        repository = Repository(
            endpoint=stand_in.s3_endpoint,
            bucket=self.bucket,
            prefix=self.prefix,
            access_key_id=stand_in.token_id,
            secret_access_key=stand_in.secret_access_key,
            session_token=None,
            password=PASSWORD,
        )
        return Restic(repository, path=self.restic_path, cache_dir=str(self.home / "cache"))

    @property
    def record_dir(self) -> Path:
        return self.home / "records"

    @property
    def account(self) -> dict[str, Any]:
        """The options of every module that has a bucket."""
        return {
            "account_id": self.stand_in.account_id,
            "api_token": self.stand_in.api_token,
            "api_url": self.stand_in.api_url,
            "s3_endpoint": self.stand_in.s3_endpoint,
            "bucket": self.bucket,
        }

    @property
    def options(self) -> dict[str, Any]:
        """The options of every module that has a repository."""
        return {
            **self.account,
            "prefix": self.prefix,
            "password": PASSWORD,
            "restic_path": self.restic_path,
            "cache_dir": str(self.home / "cache"),
        }

    def module(self, name: str, *, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run a module on the repository."""
        # The stand-in knows at once of changed keys, unless a test says otherwise.
        quick = {"fence_seconds": 0} if name == "restic_prune" else {}
        return self.ansible.module(name, check_mode=check_mode, **{**self.options, **quick, **arguments})

    def start(self, name: str, **arguments: Any) -> subprocess.Popen[str]:
        """Run a module on the repository, as a process that can be killed."""
        given = {
            **self.options,
            "_ansible_check_mode": False,
            "_ansible_remote_tmp": str(self.home),
            "_ansible_tmpdir": None,
            **arguments,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", f"ansible_collections.{COLLECTION}.plugins.modules.{name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.ansible.environment(),
        )
        assert process.stdin
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": given}))
        process.stdin.close()
        process.stdin = None
        return process

    def repository(self, **arguments: Any) -> dict[str, Any]:
        """Run restic_repository with a record."""
        return self.module("restic_repository", **{"record_dir": str(self.record_dir), **arguments})

    def initialise(self, above: str = "", version: int = 2) -> None:
        """Have restic make the repository, and give it a key of the same password that opens in a moment.

        Args:
            above: What the key's name must be greater than, for those who want to come before it.
            version: The format of the repository.
        """
        self.restic.succeed(["init", f"--repository-version={version}"])
        master = self.master()
        replace_keys(self.s3, self.prefix, PASSWORD, master, above)

    def master(self) -> Key:
        """The key of the repository."""
        return Key.from_json(json.loads(self.restic.succeed(["cat", "masterkey", "-q"]).stdout))

    def backup(self, folder: Path, *more: str, host: str = "web1") -> str:
        """Back up a folder as a host does; the id of the snapshot."""
        answer = self.restic.succeed(["backup", "--json", f"--host={host}", *more, str(folder)]).stdout
        return str(json.loads(answer.splitlines()[-1])["snapshot_id"])

    def lock(self) -> None:
        self.cloudflare.replace_lock_rules(self.bucket, lock_set(self.prefix))

    def unlock(self) -> None:
        self.cloudflare.replace_lock_rules(self.bucket, [], allow_empty=True)

    def keys(self) -> list[str]:
        """The keys of all objects but restic's own locks."""
        return [key for key in self.stand_in.objects(self.bucket) if "locks/" not in key]

    def secrets(self) -> list[str]:
        return [PASSWORD, self.stand_in.api_token, self.stand_in.secret_access_key]


def without_summary(bed: Bed, snapshot: str) -> str:
    """Put a snapshot that does not say what it added, as restic before 0.17 makes them, in the place of another; its id."""
    said = json.loads(bed.restic.succeed(["cat", "snapshot", snapshot, "-q"]).stdout)
    said.pop("summary")
    content = bed.master().seal_json(said)
    bed.s3.put_if(f"{bed.prefix}snapshots/{name_of(content)}", content)
    bed.s3.delete(f"{bed.prefix}snapshots/{snapshot}")
    return name_of(content)


def program(path: Path, script: str) -> str:
    """Write a shell script that can be run in place of restic."""
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def spy(folder: Path, restic_path: str) -> tuple[str, Path, Path]:
    """A restic that writes down its arguments and its environment: program, arguments, environment."""
    arguments, environment = folder / "arguments", folder / "environment"
    script = f"""printf '%s\\n' "$*" >> '{arguments}'
env >> '{environment}'
exec '{restic_path}' "$@" """
    return program(folder / "spy", script), arguments, environment


def looks(folder: Path, restic_path: str, run: str, place: Path) -> tuple[str, Path]:
    """A restic that copies where a run is before it lists a snapshot: the program, and the copy.

    Args:
        run: What the run is, as in the journal.
        place: The folder of the record.
    """
    copy = folder / "place"
    script = f"""[ "$1" != ls ] || cp '{place}/progress-{run}.json' '{copy}'
exec '{restic_path}' "$@" """
    return program(folder / "looks", script), copy


def old(folder: Path, restic_path: str) -> str:
    """A restic that says it is 0.14 and refuses what 0.14 does not know; the work is done by the real one."""
    script = f"""
if [ "$1" = version ]; then echo 'restic 0.14.0 compiled with go1.19.8 on linux/amd64'; exit 0; fi
for argument; do
  case "$1 $argument" in "restore --json"|"restore --dry-run"|"restore -vv"|"check --json")
    echo "Fatal: unknown flag: $argument" >&2; exit 1;;
  esac
done
exec '{restic_path}' "$@" """
    return program(folder / "old", script)


def tree(folder: Path) -> dict[str, Any]:
    """What is in a folder: contents of files, targets of links, None for folders."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


def sample(folder: Path) -> Path:
    """A few files of several kinds."""
    (folder / "etc" / "empty").mkdir(parents=True)
    (folder / "etc" / "hosts").write_text("127.0.0.1 localhost\n", encoding="utf-8")
    (folder / "etc" / "big").write_bytes(os.urandom(300_000))
    (folder / "etc" / "nothing").touch()
    (folder / "etc" / "link").symlink_to("hosts")
    return folder
