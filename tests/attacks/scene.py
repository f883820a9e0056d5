# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository with a history, copied for each attack, and what must come back of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Restic
from ansible_collections.holdfast.restic_r2.plugins.module_utils._tokens.desired import NAMESPACE
from ansible_collections.holdfast.restic_r2.plugins.module_utils._tokens.key_file import FILE, KeyFile

from tests.attacks.attack import POLICIES
from tests.attacks.host import Host
from tests.stand_in.client import StandIn
from tests.support import restic
from tests.support.repositories import PASSWORD, Bed
from tests.support.running import Ansible

DAYS = 18
# Before this many days, all was merged into few packs; then the baseline was taken.
MERGED, BASELINE = 4, 2
SIZE = 30_000
GENUINE = ("config", "keys/", "data/", "index/", "snapshots/")


@dataclass
class Template:
    """What is the same for every attack; kept in a folder, apart from any running stand-in.

    Args:
        home: The folder: data/ of the stand-in, records/ of the maintenance node.
        bucket: The bucket in which it is.
        account: Account id and API token of the stand-in.
        paths: The folder that was backed up.
        contents: What must come back: for each snapshot the SHA-256 of each file.
        kept: The snapshots that each policy keeps as long as nobody lies.
    """

    home: Path
    bucket: str
    account: tuple[str, str]
    paths: Path
    contents: dict[str, dict[str, str]] = field(default_factory=dict)
    kept: dict[str, list[str]] = field(default_factory=dict)


def restic_path() -> str:
    return restic.required()


def set_clock(stand_in: StandIn, days_ago: float) -> datetime:
    """Let the server live in the past; what it takes for now."""
    stand_in.settings(clock_offset=-days_ago * 86400, max_skew=10**9)
    return datetime.now(timezone.utc) - timedelta(days=days_ago)


def make_template(home: Path) -> Template:
    """A host that made a backup each day, and was maintained."""
    with StandIn.start(data=home / "data") as stand_in:
        set_clock(stand_in, DAYS)
        bed = Bed(stand_in, Ansible(home / "ansible"), restic_path(), home)
        template = Template(home, bed.bucket, (stand_in.account_id, stand_in.api_token), home / "files")
        template.paths.mkdir()
        bed.initialise(above="80")  # attackers want to come before the key
        for number in range(DAYS):
            days_ago = DAYS - number - 0.9
            if number == DAYS - MERGED:
                bed.restic.succeed(["prune"])
            if number == DAYS - BASELINE:
                take_baseline(bed)
            snapshot = back_up(template, bed, number, set_clock(stand_in, days_ago))
            template.contents[snapshot] = contents(template.paths)
        for name, policy in POLICIES.items():
            answer = bed.restic.succeed(["forget", *options(policy), "--dry-run", "--no-lock", "--json"]).stdout
            template.kept[name] = [snapshot["id"] for group in json.loads(answer) for snapshot in group["keep"]]
            assert 3 <= len(template.kept[name]) <= DAYS - 5, (name, len(template.kept[name]))
    return template


def take_baseline(bed: Bed) -> None:
    """What the maintenance node knows of the repository, two backups before the attack."""
    assert "failed" not in bed.repository()
    bed.lock()
    taken = bed.module("restic_audit", record_dir=str(bed.record_dir), baseline="update")
    assert taken.get("changed") and not taken["findings"], taken


def back_up(template: Template, bed: Bed, number: int, now: datetime) -> str:
    """A new file, an old one gone, and one that is another each day."""
    for name in (f"day{number}", "changing"):
        (template.paths / name).write_bytes(os.urandom(SIZE))
    (template.paths / f"day{number - 6}").unlink(missing_ok=True)
    return bed.backup(template.paths, "--time", now.strftime("%Y-%m-%d %H:%M:%S"))


def contents(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def options(policy: dict[str, Any]) -> list[str]:
    """A policy as restic's options."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in policy.items()]


@dataclass
class Copy:
    """The repository of the template in a bucket of its own, locked."""

    template: Template
    bed: Bed

    @property
    def record(self) -> Path:
        """The folder with what the maintenance node remembers of this repository."""
        return self.bed.record_dir / self.bed.bucket

    @property
    def key_id(self) -> str:
        return str(json.loads((self.record / "record.json").read_text(encoding="utf-8"))["key_id"])

    def host(self) -> Host:
        """What the host of this repository holds."""
        stand_in = self.bed.stand_in
        token = stand_in.create_token(f"{NAMESPACE}{self.bed.bucket}", bucket=self.bed.bucket)
        pair = (token["access_key_id"], token["secret_access_key"])
        home = self.bed.home / "host"
        home.mkdir(exist_ok=True)
        # As if it had been made by the site playbook, whose tokens are disabled while maintenance is at work.
        KeyFile(str(self.record / FILE)).write(access_key_id=pair[0], secret_access_key=pair[1])
        return Host(stand_in.s3_endpoint, self.bed.bucket, pair, PASSWORD, self.bed.restic_path, home)

    def copy(self, name: str) -> Copy:
        """The same once more, with all that an attacker has done to it."""
        return copy_of(self.template, self.bed.stand_in, self.bed.home / name, self.bed.bucket)

    def objects(self) -> dict[str, Any]:
        """What identifies each object of the repository, by key."""
        return {item.key: item for item in self.bed.s3.iterate("") if item.key.startswith(GENUINE)}

    def restic(self) -> Restic:
        """restic that is told which key to open."""
        return Restic(replace(self.bed.restic.repository, key_id=self.key_id), path=self.bed.restic_path)

    def unrestorable(self, snapshots: list[str]) -> list[str]:
        """Those of the snapshots that do not come back byte for byte."""
        program = self.restic()
        bad = []
        for snapshot in snapshots:
            with tempfile.TemporaryDirectory(dir=self.bed.home) as folder:
                what = f"{snapshot}:{self.template.paths}"
                done = program.run(["restore", what, "--target", folder, "--no-lock", "--no-cache"], timeout=120)
                if done.exit_code != 0 or contents(Path(folder)) != self.template.contents[snapshot]:
                    bad.append(snapshot)
        return bad


def copy_of(template: Template, stand_in: StandIn, home: Path, source: str) -> Copy:
    """The objects of a bucket in another one, locked; and the template's record of it."""
    home.mkdir(parents=True)
    bed = Bed(stand_in, Ansible(home / "ansible"), restic_path(), home)
    stand_in.copy_bucket(source, bed.bucket)
    bed.lock()
    records = home / "records"
    shutil.copytree(template.home / "records", records)
    for path in sorted(records.rglob("*"), reverse=True):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(template.bucket.encode(), bed.bucket.encode()))
        if path.name == template.bucket:
            path.rename(path.with_name(bed.bucket))
    return Copy(template, bed)


@contextmanager
def stage(template: Template, home: Path) -> Iterator[StandIn]:
    """A stand-in with the template in it, in the present."""
    shutil.copytree(template.home / "data", home / "data")
    account_id, api_token = template.account
    with StandIn.start(data=home / "data", account_id=account_id, api_token=api_token) as stand_in:
        stand_in.settings(rate_limit=10**6)
        yield stand_in
