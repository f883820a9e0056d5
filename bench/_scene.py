# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A locked repository on a stand-in of its own, and maintenance of it below a real ansible-playbook."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stand_in.client import StandIn
from tests.support import restic
from tests.support.repositories import Bed
from tests.support.running import COLLECTION, Ansible

# Added to every request while something is measured, as if R2 were some way off.
LATENCY = 0.03
MEBIBYTE = 1 << 20
INVENTORY = {"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}


def restic_path() -> str:
    """The restic that is measured with."""
    return restic.required()


@dataclass
class BenchRepository:
    """One repository; `files` is what its host backs up."""

    bed: Bed
    files: Path
    number: int = 0

    def back_up(self, count: int, size: int) -> None:
        """Write files, take away every second one of those before, and back up."""
        self.number += 1
        for path in sorted(self.files.glob("*"))[::2]:
            path.unlink()
        for number in range(count):
            (self.files / f"{self.number}-{number:03}").write_bytes(os.urandom(size))
        self.bed.backup(self.files)

    def start_maintenance(self, **more: Any) -> subprocess.Popen[str]:
        """A play with restic_prune, as a process."""
        arguments = {**self.bed.options, "keep_last": 1, "max_remove": "100%", "lock_wait": 60, **more}
        task = {f"{COLLECTION}.restic_prune": arguments}
        play = {"hosts": "localhost", "gather_facts": False, "tasks": [task]}
        return self.bed.ansible.start_playbook([play], INVENTORY, start_new_session=True)[0]

    def exposures(self) -> list[dict[str, Any]]:
        """When prefixes were not protected, in the eyes of the stand-in."""
        found = self.bed.stand_in.ledger()["exposures"]
        return [entry for entry in found if entry["bucket"] == self.bed.bucket]

    def locked(self) -> bool:
        """Whether everything is protected."""
        return all(entry["to"] is not None for entry in self.exposures())


@contextmanager
def scene() -> Iterator[BenchRepository]:
    """An empty repository that is locked already."""
    with tempfile.TemporaryDirectory() as folder, StandIn.start() as stand_in:
        home = Path(folder)
        bed = Bed(stand_in, Ansible(home / "ansible"), restic_path(), home)
        bed.restic.succeed(["init"])
        bed.lock()
        files = home / "files"
        files.mkdir()
        yield BenchRepository(bed, files)
