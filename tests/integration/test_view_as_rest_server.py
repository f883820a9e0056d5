# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same commands of restic over a view of a bucket and over restic's own REST server end in the same repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Restic
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.view import View
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.view_server import serve

from tests.stand_in.client import StandIn
from tests.support.repositories import Bed, sample
from tests.support.running import Ansible
from tools import get_rest_server


@dataclass
class Pair:
    """One repository in two places: a bucket with a view of it, and a folder behind restic's REST server."""

    bed: Bed
    view: View
    ours: Restic
    theirs: Restic
    folder: Path

    def both(self, *args: str, code: int = 0) -> tuple[str, str]:
        """Run a command over both; what it printed."""
        done = [restic.run(args) for restic in (self.ours, self.theirs)]
        assert [(one.exit_code, args, one.stderr[-2000:] if one.exit_code != code else "") for one in done] == [
            (code, args, "")
        ] * 2
        return done[0].stdout, done[1].stdout

    def kinds(self) -> tuple[Counter[str], Counter[str]]:
        """How many objects of each kind are in the view and in the folder."""
        ours = {kind: len(self.view.listed(kind)) for kind in ("data", "index", "keys", "locks", "snapshots")}
        files = (path.relative_to(self.folder).parts[0] for path in self.folder.rglob("*") if path.is_file())
        return Counter(ours), Counter(part for part in files if part != "config")


@pytest.fixture
def pair(shared_stand_in: StandIn, ansible: Ansible, tmp_path: Path, restic_path: str) -> Iterator[Pair]:
    program = get_rest_server.find()
    if program is None:
        pytest.skip("SKIPPED: restic's REST server is not here, so the view is compared with nothing: make rest-server")
    bed = Bed(shared_stand_in, ansible, restic_path, tmp_path / "ours")
    bed.initialise()
    folder = tmp_path / "theirs" / "data"
    for kind in ("index", "locks", "snapshots", *(f"data/{number:02x}" for number in range(256))):
        (folder / kind).mkdir(parents=True)
    for item in bed.s3.list():
        path = folder / item.key
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bed.s3.get(item.key))
    bed.lock()
    socket = tmp_path / "s"
    command = [program, "--no-auth", "--path", str(folder), "--listen", f"unix:{socket}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout
            assert any("start server on" in line for line in server.stdout)
            view = View(bed.s3, bed.prefix, {item.key: item for item in bed.s3.list()})
            with serve(view) as address:
                theirs = bed.restic.through(f"rest:http+unix://{socket}:/")
                theirs.cache_dir = str(tmp_path / "theirs" / "cache")
                yield Pair(bed, view, bed.restic.through(address), theirs, folder)
        finally:
            server.terminate()
            server.communicate()


@pytest.mark.long
def test_both_end_in_the_same_repository(pair: Pair, tmp_path: Path) -> None:
    files = sample(tmp_path / "files")
    for number in range(4):
        (files / f"new{number}").write_bytes(os.urandom(2_000_000))
        (files / f"new{number - 2}").unlink(missing_ok=True)
        pair.both("backup", "--quiet", str(files))
    assert pair.kinds()[0] == pair.kinds()[1]
    pair.both("check")
    for repository in (pair.ours, pair.theirs):
        going = [one["id"] for one in repository.snapshots()][:3]
        repository.succeed(["forget", *going])
    pair.both("prune", "--max-unused", "0")
    pair.both("check", "--read-data")
    ours, theirs = pair.kinds()
    assert ours == theirs and ours["snapshots"] == 1 and ours["locks"] == 0
    for kind, listed in (
        ("packs", "data"),
        ("index", "index"),
        ("snapshots", "snapshots"),
        ("keys", "keys"),
        ("locks", "locks"),
    ):
        names, _unused = pair.both("list", kind, "--no-lock")
        assert set(names.split()) == {name for name, _size in pair.view.listed(listed)}
    assert pair.both("cat", "config")[0] == pair.both("cat", "config")[1]
    pair.both("cat", "index", "0" * 64, code=1)
    pair.both("tag", "--set", "new", "latest")
    pair.both("recover")
    pair.both("unlock")
    # what is deleted in the view is there until it is committed
    assert pair.view.problems == []
    stored = {item.key: item for item in pair.bed.s3.list()}
    assert pair.view.differences(stored) == {} and set(pair.view.deleted) <= set(stored)
    pair.bed.unlock()
    assert pair.bed.s3.delete_many(pair.view.deleted) == {}
    pair.bed.restic.succeed(["check", "--read-data"])
    left = Counter(key.partition("/")[0] for key in pair.bed.stand_in.objects(pair.bed.bucket) if key != "config")
    assert left == pair.kinds()[1]
    shutil.rmtree(tmp_path / "restored", ignore_errors=True)
    pair.both("restore", "latest", "--target", str(tmp_path / "restored"))


def test_twins_and_strangers_are_not_there_for_restic(pair: Pair, tmp_path: Path) -> None:
    files = sample(tmp_path / "files")
    for _number in range(2):
        (files / "new").write_bytes(os.urandom(1_000_000))
        pair.both("backup", "--quiet", str(files))
    kept = [one["id"] for one in pair.ours.snapshots()][-1]
    planted = {}
    for key in pair.bed.stand_in.objects(pair.bed.bucket):
        folder, _slash, name = key.rpartition("/")
        if folder.startswith("data/"):
            planted[f"{folder}/{name.upper()}"] = planted[f"data/{name}"] = planted[f"data//{name}"] = b"x"
    for number in range(3):
        planted[f"index/{number:064x}"] = planted[f"snapshots/{number:064x}"] = planted[f"data/00/{number:064x}"] = (
            b"junk"
        )
    for key, body in planted.items():
        pair.bed.s3.call("put_object", Key=key, Body=body)
    pair.both("forget", "--keep-last", "1")
    pair.both("prune", "--max-unused", "0")
    pair.both("check", "--read-data")
    assert pair.kinds()[0] == pair.kinds()[1]
    assert not set(pair.view.deleted) & set(planted) and pair.view.problems == []
    pair.bed.unlock()
    assert pair.bed.s3.delete_many([*pair.view.deleted, *planted]) == {}
    assert [one["id"] for one in pair.bed.restic.snapshots()] == [kept]
    pair.bed.restic.succeed(["check", "--read-data"])
