# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores of snapshots that were made to write elsewhere: the listing and the confinement, each alone and both."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.restore import How, Selection, restore
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.restore_target import inspect
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.scratch import LocalRepository
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Restic, ResticError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.confinement import (
    Confined,
    ConfinementError,
    require,
)

from tests.support.hostile_trees import HONEST, HOSTILE, UNLISTED, Hostile
from tests.support.repository_format import Key, key_object, name_of

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root restores owners, devices and capabilities")
PASSWORD = "x"
NOBODY = 65534


@dataclass
class Place:
    """A repository of hostile snapshots, and the folder that they reach for."""

    restic: Restic
    key: Key
    outside: Path
    snapshots: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, tree: Hostile, outside: str) -> None:
        """Write a snapshot into the repository."""
        for path, content in tree.objects(self.key, outside).items():
            file = Path(self.restic.repository.address) / path
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
            self.snapshots[name] = file.name

    def state(self) -> Any:
        """Everything about the folder outside, itself included."""
        paths = [self.outside, *sorted(self.outside.rglob("*"))]
        found = [(str(path), path.lstat()) for path in paths]
        return [(name, s.st_mode, s.st_uid, s.st_gid, s.st_nlink, s.st_size, s.st_mtime_ns) for name, s in found]


@pytest.fixture(scope="module")
def place(restic_path: str, tmp_path_factory: pytest.TempPathFactory) -> Place:
    home = tmp_path_factory.mktemp("hostile")
    repository = LocalRepository("", "web1", "", "", "", None, PASSWORD, folder=str(home / "repository"))
    restic = Restic(repository, path=restic_path, cache_dir=str(home / "cache"))
    restic.succeed(["init", "--repository-version", "1"])
    key = Key.from_json(json.loads(restic.succeed(["cat", "masterkey"]).stdout))
    keys = home / "repository" / "keys"
    shutil.rmtree(keys)
    keys.mkdir()
    opens = key_object(PASSWORD, key)
    (keys / name_of(opens)).write_bytes(opens)
    outside = home / "outside"
    outside.mkdir()
    (outside / "mine").write_bytes(b"mine\n")
    found = Place(restic, key, outside)
    for name, tree in {**HOSTILE, "cannot be listed": UNLISTED}.items():
        found.add(name, tree, str(outside))
    assert len(set(found.snapshots.values())) == len(found.snapshots) > 12
    return found


def honest(target: Path) -> dict[bytes, bytes]:
    """The honest part of what was restored."""
    top, found = os.path.join(os.fsencode(target), b"honest"), {}
    for folder, _folders, files in os.walk(top):
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, top)] = file.read()
    return found


def run(place: Place, name: str, target: Path, **how: Any) -> dict[str, Any]:
    return restore(place.restic, Selection(place.snapshots[name]), inspect(str(target)), How(**how))


# Each tree meets both walls in every run; each wall alone meets some, and all of them in `make proof`.
CHOSEN = (
    "link and folder of one name",
    "link and folder of one name, with a link in it",
    "of one name that is not UTF-8",
    "names that lead upwards",
)
ALONE = [pytest.param(name, marks=() if name in CHOSEN else pytest.mark.proof) for name in HOSTILE]


@pytest.fixture
def target() -> Iterator[Path]:
    """A folder that is not there yet. What comes there is too deep for Python to remove: pytest, which keeps what the last
    runs have left, would fail over it in some later run.
    """
    folder = tempfile.mkdtemp(prefix="holdfast-restored-")
    yield Path(folder) / "target"
    subprocess.run(["rm", "-rf", folder], check=True)


def holds(place: Place, name: str, target: Path, *, confined: bool) -> None:
    before = place.state()
    done = run(place, name, target, confined=confined)
    assert place.state() == before
    assert honest(target) == HONEST
    assert {item["path"]: item["why"] for item in done["left_out"]} == HOSTILE[name].told(str(place.outside))
    assert done["changed"] is True


@pytest.mark.sample(8)
@needs_root
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_written_outside_and_what_is_honest_comes_back(place: Place, target: Path, name: str) -> None:
    holds(place, name, target, confined=True)


@needs_root
@pytest.mark.parametrize("name", ALONE)
def test_the_listing_alone_holds(place: Place, target: Path, name: str) -> None:
    holds(place, name, target, confined=False)


@needs_root
@pytest.mark.parametrize("name", [item for item in ALONE if item.values != ("10,000 levels",)])
def test_the_confinement_alone_holds(place: Place, tmp_path: Path, name: str) -> None:
    holds_confined(place, name, tmp_path / "target")


@needs_root
def test_no_other_process_leads_out_of_the_confinement(place: Place, tmp_path: Path) -> None:
    """A process with fewer capabilities may be looked into by restic: its root is outside."""
    weak = ["setpriv", "--bounding-set=-all", "sleep", "300"]
    with subprocess.Popen(weak) as process:
        try:
            place.add(
                "weak",
                HOSTILE["link and folder of one name, with a link in it"],
                f"/proc/{process.pid}/root{place.outside}",
            )
            holds_confined(place, "weak", tmp_path / "target")
        finally:
            process.kill()


def holds_confined(place: Place, name: str, path: Path) -> None:
    before = place.state()
    target = inspect(str(path))
    target.make()
    confined = Confined(place.restic, [target.path, str(place.restic.cache_dir)], special=False)
    confined.run(["restore", place.snapshots[name], "--no-lock", f"--target={target.path}"])
    assert place.state() == before
    assert honest(path) == HONEST


@needs_root
def test_without_both_it_is_written_outside(place: Place, tmp_path: Path) -> None:
    """What the other tests are about: a restic that no longer does this may make them say nothing."""
    before = place.state()
    name = "link and folder of one name"
    place.restic.run(["restore", place.snapshots[name], f"--target={tmp_path / 'target'}"])
    escaped = place.state() != before
    (place.outside / "x").unlink(missing_ok=True)
    os.utime(place.outside, ns=(before[0][6], before[0][6]))
    assert escaped and place.state() == before


@needs_root
def test_what_gives_rights_is_restored_when_asked_for(place: Place, tmp_path: Path) -> None:
    done = run(place, "what gives rights", tmp_path / "target", special=True)
    assert done["left_out"] == []
    assert (tmp_path / "target" / "both").stat().st_mode & 0o7777 == 0o6755
    assert os.getxattr(tmp_path / "target" / "capable", "security.capability")
    assert os.getxattr(tmp_path / "target" / "trusted", "trusted.overlay.opaque") == b"y"
    assert run(place, "devices", tmp_path / "devices", special=True)["left_out"] == []
    assert (tmp_path / "devices" / "memory").is_char_device()


@needs_root
def test_files_over_which_is_restored_keep_no_rights(place: Place, tmp_path: Path) -> None:
    target = inspect(str(tmp_path))
    for expected in (True, False):
        done = restore(place.restic, Selection(place.snapshots["what gives rights"]), target, How())
        assert (done["changed"], len(done["left_out"])) == (expected, 3)
        assert (tmp_path / "both").stat().st_mode & 0o7777 == 0o755
        target = inspect(str(tmp_path), overwrite=True)


def test_includes_and_what_is_left_out_go_together(place: Place, tmp_path: Path) -> None:
    chosen = Selection(place.snapshots["link and folder of one name"], include=["/honest/file", "/a"])
    restore(place.restic, chosen, inspect(str(tmp_path / "target")), How())
    assert honest(tmp_path / "target") == {b"file": b"kept\n"}
    assert sorted(os.listdir(tmp_path / "target")) == ["honest"]


def test_a_snapshot_that_cannot_be_listed_is_not_restored(place: Place, tmp_path: Path) -> None:
    with pytest.raises(ResticError, match="restic ls on web1 failed"):
        run(place, "cannot be listed", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def as_nobody(action: Callable[[Path], None]) -> None:
    """Do something in a process without privileges, in a folder of its user."""
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, NOBODY, NOBODY)
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                os.environ["HOME"] = folder
                action(Path(folder))
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@needs_root
def test_a_user_without_privileges_is_confined_too(place: Place, restic_path: str) -> None:
    name = "link and folder of one name"

    def action(folder: Path) -> None:
        try:
            require(str(folder), special=False)
        except ConfinementError:
            # A machine that gives its users no namespaces.
            return
        repository = LocalRepository("", "web1", "", "", "", None, PASSWORD, folder=str(folder / "repository"))
        shutil.copytree(copy, folder / "repository")
        restic = Restic(repository, path=str(program), cache_dir=str(folder / "cache"))
        done = restore(restic, Selection(place.snapshots[name]), inspect(str(folder / "target")), How())
        assert honest(folder / "target") == HONEST
        assert done["left_out"] == [{"path": "/a", "why": "twice"}]

    with tempfile.TemporaryDirectory() as public:
        os.chmod(public, 0o755)
        copy, program = Path(public) / "repository", Path(public) / "restic"
        shutil.copytree(place.restic.repository.address, copy)
        shutil.copy(restic_path, program)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o755)
        as_nobody(action)
