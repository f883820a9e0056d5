# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders that are restored into: which are refused, and how they are made."""

from __future__ import annotations

import errno
import os
import resource
import stat
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions import restore_target
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.restore_target import (
    TargetError,
    disarm,
    entries,
    inspect,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import confinement
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.confinement import ConfinementError, require

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is this user's alone, below one in which everybody may write."""
    with tempfile.TemporaryDirectory() as found:
        yield Path(found)


def test_what_is_missing_is_made_for_nobody_else(folder: Path) -> None:
    before = os.umask(0)
    try:
        target = inspect(str(folder / "a" / "b"))
        assert (target.filled, (folder / "a").exists()) == (False, False)
        target.make()
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (folder / "a", folder / "a" / "b")] == [0o700, 0o700]


def test_an_open_folder_is_closed_by_one_above_it(folder: Path) -> None:
    (folder / "a").mkdir(mode=0o755)
    assert inspect(str(folder / "a")).path == str(folder / "a")
    folder.chmod(0o755)
    with pytest.raises(TargetError, match="Other users may enter"):
        inspect(str(folder / "a"))
    assert inspect(str(folder / "a"), special=True)
    assert inspect(str(folder / "new"))


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_folder_that_others_may_write_is_refused(folder: Path, mode: int) -> None:
    (folder / "a").mkdir()
    (folder / "a").chmod(mode)
    with pytest.raises(TargetError, match="is not safe"):
        inspect(str(folder / "a"), special=True)
    if mode == 0o1777:
        assert inspect(str(folder / "a" / "below"))
    else:
        with pytest.raises(TargetError, match="is not safe"):
            inspect(str(folder / "a" / "below"))


@needs_root
@pytest.mark.parametrize("below", ["", "below"])
def test_a_folder_of_another_user_is_refused(folder: Path, below: str) -> None:
    os.chown(folder, 65534, 65534)
    with pytest.raises(TargetError, match="belongs to another user"):
        inspect(str(folder / below), special=True)


def test_links_on_the_way_are_refused(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "link").symlink_to("a")
    for path in ("link", "link/b"):
        with pytest.raises(TargetError, match="goes through the link"):
            inspect(str(folder / path))


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("relative", "is not an absolute path"),
        ("/srv/../etc", "without '..'"),
        ("/srv//x", "without '..'"),
        ("/srv/restored", "is below none of the folders"),
        ("/", "is below none of the folders"),
        ("/var/lib/holdfast/restores-not", "is below none of the folders"),
    ],
)
def test_paths_that_are_refused(path: str, sentence: str) -> None:
    with pytest.raises(TargetError, match=sentence):
        inspect(path, ["/var/lib/holdfast/restores", "/mnt/"])


def test_a_file_is_no_folder_and_a_full_folder_not_empty(folder: Path) -> None:
    (folder / "file").touch()
    for path, sentence in ((folder / "file", "is not a folder"), (folder, "is not empty")):
        with pytest.raises(TargetError, match=sentence):
            inspect(str(path))
    assert inspect(str(folder), [str(folder)], overwrite=True).filled is True


def test_nothing_is_confined_to_everything() -> None:
    with pytest.raises(ConfinementError, match="confinement to none"):
        require("/", special=True)


def test_a_machine_that_cannot_confine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one without namespaces, or whose Linux is too old."""

    def cannot(*_arguments: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented", "syscall")

    monkeypatch.setattr(confinement, "_confine", cannot)
    with pytest.raises(ConfinementError, match="syscall: Function not implemented"):
        require("/srv/restored", special=False)


def test_rights_are_taken_from_files_alone(folder: Path) -> None:
    program = folder / "a" / "program"
    program.parent.mkdir()
    program.touch()
    program.chmod(0o6755)
    (folder / "shared").mkdir()
    (folder / "shared").chmod(0o2750)
    (folder / "link").symlink_to(program)
    assert [item.why for item in disarm(str(folder), 10)] == ["setuid"]
    assert program.stat().st_mode & 0o7777 == 0o755
    assert (folder / "shared").stat().st_mode & 0o7777 == 0o2750


def test_a_tree_is_walked_without_a_list_of_its_folders(folder: Path) -> None:
    """A host chooses how deep its folders are, and how many are in one of them."""
    deep = folder
    for _number in range(362):
        deep = deep / "d"
    deep.mkdir(parents=True)
    for number in range(3000):
        os.mkdir(deep / str(number))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    tracemalloc.start()
    try:
        found = sum(1 for _path, status in entries(str(folder)) if stat.S_ISDIR(status.st_mode))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert found == 3362 and peak < 1 << 20, peak


def test_where_few_files_may_be_open_all_is_found_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a" / "b" / "c").mkdir(parents=True)
    (folder / "a" / "b" / "c" / "file").touch()
    monkeypatch.setattr(restore_target, "_may_open", lambda: 0)
    assert {path[len(str(folder)) :] for path, _status in entries(str(folder))} == {
        "/a",
        "/a/b",
        "/a/b/c",
        "/a/b/c/file",
    }
