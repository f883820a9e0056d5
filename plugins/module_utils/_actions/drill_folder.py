# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the folder of one restore drill, and removes it, however the drill ended.

A host and the command of a job wrote its files: names, depth and modes can be anything.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from .._common.errors import HoldfastError
from .._common.private_file import make_private
from .._restic.drill_sandbox import SPARE
from .restore_said import free_space

_MADE = "drill-"
_LOCK = ".lock"


class DrillFolderError(HoldfastError):
    """The folder for drills cannot be used."""


@contextmanager
def drill_folder(root: str) -> Iterator[str]:
    """An empty folder below this one, and what drills that were killed have left there is removed first.

    Args:
        root: The folder of all drills, closed to others; made when it is not there.
    """
    try:
        make_private(root)
        _judge(root)
        remove_leftovers(root)
        path = tempfile.mkdtemp(prefix=_MADE, dir=root)
        lock = _locked(path + _LOCK)
    except OSError as error:
        raise DrillFolderError(
            f"The folder for drills {root} cannot be used: {error.filename}: {error.strerror} (holdfast_drill_dir)."
        ) from error
    try:
        yield path
    finally:
        wipe(path)
        os.unlink(path + _LOCK)
        os.close(lock)


def _judge(root: str) -> None:
    found = os.lstat(root)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise DrillFolderError(
            f"The folder for drills {root} must be a folder of the user who runs this, closed to others: run chmod 700 on it, "
            "or choose another one (holdfast_drill_dir)."
        )


def _locked(path: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def remove_leftovers(root: str) -> list[str]:
    """Remove what drills have left that are not at work any more; which these were."""
    removed = []
    for name in sorted(os.listdir(root)):
        if not name.startswith(_MADE) or name.endswith(_LOCK):
            continue
        path = os.path.join(root, name)
        try:
            lock = _locked(path + _LOCK)
        except BlockingIOError:
            continue
        try:
            wipe(path)
            os.unlink(path + _LOCK)
            removed.append(name)
        finally:
            os.close(lock)
    return removed


def wipe(path: str) -> None:
    """Remove a folder with all that is in it, whatever its modes, however deep, and however many folders there are in one.

    Each folder is moved up and then emptied, and no list of them is kept.
    """
    mark, numbers = os.urandom(8).hex(), count()
    os.chmod(path, 0o700)
    left = True
    while left:
        left = False
        with os.scandir(path) as found:
            for entry in found:
                left = True
                if not _removed(entry):
                    _remove_folder(entry.path, (os.path.join(path, f"{mark}-{number}") for number in numbers))
    os.rmdir(path)


def _remove_folder(folder: str, places: Iterator[str]) -> None:
    """Remove a folder; those that are in it get other places."""
    os.chmod(folder, 0o700)
    left = True
    while left:
        left = False
        with os.scandir(folder) as found:
            for entry in found:
                left = True
                if not _removed(entry):
                    # Without the right to write it, it cannot be moved.
                    os.chmod(entry.path, 0o700)
                    os.rename(entry.path, next(places))
    os.rmdir(folder)


def _removed(entry: os.DirEntry[str]) -> bool:
    """Remove what is no folder."""
    if entry.is_dir(follow_symlinks=False):
        return False
    os.unlink(entry.path)
    return True


def require_room(folder: str, needed: int) -> None:
    """Raise DrillFolderError where the disk of the folder has less free space than so many bytes, and some to spare."""
    free = free_space(folder)
    if free < needed + SPARE:
        raise DrillFolderError(
            f"The disk of {folder} has {free >> 20} MiB free, and the drill needs {(needed + SPARE) >> 20}: choose a larger one "
            "(holdfast_drill_dir), or restore less (holdfast_drill_bytes)."
        )
