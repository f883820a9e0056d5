# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A locked repository to maintain, and what must be true of it whatever maintenance did."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import PARTS, lock_set, rule_id

from tests.stand_in.client import StandIn
from tests.stand_in.fixtures import HURRIED
from tests.support.repositories import Bed
from tests.support.running import Ansible

PREFIX = "web1/"
SIZE = 400_000


@dataclass
class LockedRepository:
    """A locked repository with some backups, of files of which each backup replaced one."""

    bed: Bed
    files: Path
    ids: list[str] = field(default_factory=list)

    def back_up(self, times: int = 1) -> None:
        for _time in range(times):
            number = len(self.ids)
            for name in ("a", "b"):
                (self.files / f"{name}{number}").write_bytes(os.urandom(SIZE))
            if number:
                (self.files / f"a{number - 1}").unlink()
            self.ids.append(self.bed.backup(self.files))

    def prune(self, **arguments: Any) -> dict[str, Any]:
        """Run the module; afterwards everything must be locked and whole, whatever it did."""
        arguments = {"record_dir": str(self.bed.record_dir), "keep_last": 1, "lock_wait": 0, **arguments}
        result = self.bed.module("restic_prune", **arguments)
        assert not [secret for secret in self.bed.secrets() if secret in json.dumps(result)]
        self.assert_locked()
        return result

    def audit(self, **arguments: Any) -> dict[str, Any]:
        """Run restic_audit; it must not have changed the bucket."""
        before = self.bed.keys()
        result = self.bed.module("restic_audit", **{"record_dir": str(self.bed.record_dir), **arguments})
        assert not [secret for secret in self.bed.secrets() if secret in json.dumps(result)]
        assert self.bed.keys() == before and self.exposed(closed=False) == []
        return result

    def assert_locked(self) -> None:
        rules = self.bed.stand_in.rules(self.bed.bucket)
        assert {rule["id"] for rule in rules} == {rule_id(self.bed.prefix, part) for part in PARTS}
        assert all(rule["enabled"] for rule in rules)
        assert self.exposed(closed=False) == []

    def exposed(self, closed: bool = True) -> list[dict[str, Any]]:
        """When prefixes of the bucket were not protected, in the eyes of the stand-in."""
        found = [entry for entry in self.bed.stand_in.ledger()["exposures"] if entry["bucket"] == self.bed.bucket]
        return [entry for entry in found if closed or entry["to"] is None]

    def destroyed(self) -> list[dict[str, Any]]:
        """The objects of the repository that were deleted or replaced."""
        found = self.bed.stand_in.ledger()["destructive"]
        held = tuple(rule["prefix"] for rule in lock_set(self.bed.prefix))
        return [entry for entry in found if entry["bucket"] == self.bed.bucket and entry["key"].startswith(held)]

    def refused(self) -> list[str]:
        """The deletes that the lock refused."""
        return [
            entry["key"]
            for entry in self.bed.stand_in.requests()
            if entry["kind"] == "DeleteObject" and entry["bucket"] == self.bed.bucket and entry["status"] in (403, 409)
        ]

    def snapshots(self) -> list[str]:
        return [snapshot["id"] for snapshot in self.bed.restic.snapshots()]

    def packs(self) -> list[str]:
        start = f"{self.bed.prefix}data/"
        return [key for key in self.bed.stand_in.objects(self.bed.bucket) if key.startswith(start)]

    def add(self, key: str, content: bytes) -> None:
        """Put an object there as anybody can who has the S3 keys."""
        self.bed.s3.client.put_object(Bucket=self.bed.bucket, Key=self.bed.prefix + key, Body=content)


def make_site(stand_in: StandIn, ansible: Ansible, restic_path: str, home: Path, backups: int) -> LockedRepository:
    bed = Bed(stand_in, ansible, restic_path, home, prefix=PREFIX)
    bed.initialise()
    assert "failed" not in bed.repository()
    bed.lock()
    files = home / "files"
    files.mkdir()
    site = LockedRepository(bed, files)
    site.back_up(backups)
    stand_in.clear_log()
    return site


@pytest.fixture(scope="session")
def site_template(restic_path: str, tmp_path_factory: pytest.TempPathFactory) -> LockedRepository:
    """A site whose stand-in has ended: its folder is there to be copied."""
    home = tmp_path_factory.mktemp("site")
    with StandIn.start(data=home / "data", **HURRIED) as stand_in:
        made = make_site(stand_in, Ansible(home / "ansible"), restic_path, home, 4)
        assert made.audit(baseline="update")["changed"]
    made.files.rename(home / "pristine")
    return made


@pytest.fixture
def site(site_template: LockedRepository, ansible: Ansible, tmp_path: Path) -> Iterator[LockedRepository]:
    """A site of the test's own, four backups old."""
    made = site_template.bed
    for name in ("data", "records"):
        shutil.copytree(made.home / name, tmp_path / name)
    # Always in the same place: snapshots are grouped by their paths.
    shutil.rmtree(site_template.files, ignore_errors=True)
    shutil.copytree(made.home / "pristine", site_template.files)
    account_id, api_token = made.stand_in.account_id, made.stand_in.api_token
    with StandIn.start(data=tmp_path / "data", account_id=account_id, api_token=api_token, **HURRIED) as stand_in:
        bed = Bed(stand_in, ansible, made.restic_path, tmp_path, PREFIX, made.bucket)
        stand_in.clear_log()
        yield LockedRepository(bed, site_template.files, list(site_template.ids))


def prefixes(result: dict[str, Any]) -> list[list[str]]:
    return [[prefix.removeprefix(PREFIX) for prefix in window["prefixes"]] for window in result["windows"]]
