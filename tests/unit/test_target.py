# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders that are restored into: which are refused, and how they are made."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.restore_target import (
    TargetError,
    disarm,
    inspect,
)
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
