# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads and writes files of the maintenance node that no other user may write, or can have written.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from typing import BinaryIO

from .errors import HoldfastError

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class NotPrivateError(HoldfastError):
    """Others could have written a file."""


def read_private(path: str) -> bytes:
    """The content of a file.

    Raises:
        NotPrivateError: Another user owns it or its folder, or may write there.
        OSError: It is not there, or cannot be read.
    """
    with open_private(path) as stream:
        return stream.read()


def open_private(path: str) -> BinaryIO:
    """The file, to be read. Raises as read_private does."""
    folder = os.path.dirname(path) or "."
    stream = open(path, "rb")  # noqa: SIM115 - the caller closes it
    try:
        for what, found in ((path, os.fstat(stream.fileno())), (folder, os.stat(folder))):
            _check(what, found)
    except BaseException:
        stream.close()
        raise
    return stream


def _check(path: str, found: os.stat_result) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise NotPrivateError(
            f"{path} belongs to another user (number {found.st_uid}), who could have changed it: maintenance relies upon "
            "this file. Run as that user, or change the owner to the user that runs this."
        )
    # In a folder such as /tmp, others can add files, but not replace one.
    if found.st_mode & _OTHERS and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        raise NotPrivateError(
            f"{path} can be written by other users, who could have changed it: maintenance relies upon this file. Look "
            f"whether all is well in it, then run chmod go-w on it."
        )


def write_private(path: str, content: bytes) -> None:
    """Replace a file in one step; only its owner can read it, and its folder when it has to be made. Raises OSError."""
    make_private(os.path.dirname(path))
    write_at_once(path, content)


def write_at_once(path: str, content: bytes, mode: int = 0o600, *, durable: bool = True) -> None:
    """Replace a file in one step, or make it. Raises OSError.

    Args:
        durable: It must survive a loss of power.
    """
    parent = os.path.dirname(path)
    descriptor, temporary = tempfile.mkstemp(dir=parent, prefix=".", suffix=".part")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(descriptor, mode)
            if durable:
                os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if not durable:
        return
    with suppress(OSError):  # not every file system can
        _sync_folder(parent)


def _sync_folder(path: str) -> None:
    """Make the new name survive a loss of power, too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private(path: str) -> None:
    """Make a folder and its parents with mode 0700; leave those that exist as they are."""
    if not os.path.isdir(path):
        make_private(os.path.dirname(path) or ".")
        with suppress(FileExistsError):  # another repository's record may be written at the same time
            os.mkdir(path, 0o700)
