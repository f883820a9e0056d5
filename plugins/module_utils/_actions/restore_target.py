# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the folder of a restore, owned by this user and closed to others, and removes harmful entries from it.

Also runs on backed-up hosts.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .._audit.restore_listing import LONGEST_PATH, LeftOut
from .._common.errors import HoldfastError

CAPABILITY = "security.capability"
PROPOSED = "/var/lib/holdfast/restores"
# How many files may be open beside folders, one in the other.
_OPEN_ELSEWHERE = 128


class TargetError(HoldfastError):
    """The target must not be restored into."""


@dataclass(frozen=True)
class Target:
    """A folder that may be restored into.

    Attributes:
        path: Its path, which goes through no link.
        filled: Whether there is something in it already.
    """

    path: str
    filled: bool

    def make(self) -> None:
        """Make it, and missing folders above it, for this user alone."""
        missing = []
        path = self.path
        while not os.path.lexists(path):
            missing.append(path)
            path = os.path.dirname(path)
        try:
            for path in reversed(missing):
                os.mkdir(path, 0o700)
        except OSError as error:
            raise TargetError(f"The target {self.path} cannot be made: {path}: {error.strerror}.") from error


def inspect(path: str, roots: Sequence[str] = (), *, overwrite: bool = False, special: bool = False) -> Target:
    """The target, when it may be restored into.

    Args:
        path: The folder; it need not be there yet.
        roots: Folders in which it must be; any when there are none.
        overwrite: Whether something may be in it.
        special: Whether it may be open to others.
    """
    if not os.path.isabs(path):
        raise TargetError(f"The target {path!r} is not an absolute path.")
    normal = os.path.normpath(path)
    if normal != path.rstrip("/") and path.strip("/"):
        raise TargetError(f"Write the target {path!r} without '..', '.' and double slashes: {normal}.")
    if roots and not any(os.path.commonpath([root, normal]) == root for root in map(os.path.normpath, roots)):
        raise TargetError(
            f"The target {normal} is below none of the folders that are restored into, {', '.join(roots)} (for the playbook "
            "restore holdfast_restore_roots)."
        )
    closed = _judge_folders(normal) or not os.path.lexists(normal)
    filled = _filled(normal)
    if filled and not overwrite:
        raise TargetError(
            f"The target {normal} is not empty: choose an empty folder, or set overwrite to true (for the playbook restore "
            "holdfast_restore_overwrite)."
        )
    if not closed and not special:
        raise TargetError(
            f"Other users may enter the target {normal}, and could use a restored file before it is judged: restore below "
            f"{PROPOSED}, or make the target's mode 0700."
        )
    return Target(normal, filled)


def _judge_folders(path: str) -> bool:
    """Refuse a path in which others could put something in the way; whether others are kept out of its end."""
    closed, parts = False, path.split("/")
    for number in range(1, len(parts) + 1):
        folder = "/".join(parts[:number]) or "/"
        try:
            found = os.lstat(folder)
        except FileNotFoundError:
            break
        except OSError as error:
            raise TargetError(f"The target {path} cannot be looked at: {folder}: {error.strerror}.") from error
        if stat.S_ISLNK(found.st_mode):
            raise TargetError(f"The target {path} goes through the link {folder}: name the folder itself.")
        if not stat.S_ISDIR(found.st_mode):
            raise TargetError(f"The target {path} is not a folder: {folder} is none.")
        own = found.st_uid == os.geteuid() or (found.st_uid == 0 and folder != path)
        sticky = found.st_mode & stat.S_ISVTX and folder != path
        if not own or (found.st_mode & 0o022 and not sticky):
            raise TargetError(
                f"The target {path} is not safe: {folder} belongs to another user, or others can write it and put a "
                f"link in the way. Restore below {PROPOSED}, or another folder that is this user's alone."
            )
        closed = closed or not found.st_mode & 0o011
    return closed


def _filled(path: str) -> bool:
    try:
        return bool(os.listdir(path))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise TargetError(f"The target {path} is not a folder that can be read: {error.strerror}.") from error


def entries(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Everything below a folder, however deep, through no link; however many folders there are in one.

    The folders above an entry are open meanwhile. A path has no more of them than Linux lets it have, and no list is kept,
    unless this process may open only few files.
    """
    most = _may_open() - _OPEN_ELSEWHERE
    deeper = [folder]
    while deeper:
        above = [os.scandir(deeper.pop())]
        try:
            while above:
                entry = next(above[-1], None)
                if entry is None:
                    above.pop().close()
                    continue
                status = entry.stat(follow_symlinks=False)
                yield entry.path, status
                if stat.S_ISDIR(status.st_mode):
                    if len(above) < most:
                        above.append(os.scandir(entry.path))
                    else:
                        deeper.append(entry.path)
        finally:
            for one in above:
                one.close()


def _may_open() -> int:
    """How many files this process may open; where it may choose, enough for the deepest path that there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = LONGEST_PATH if hard == resource.RLIM_INFINITY else min(hard, LONGEST_PATH)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return most
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):
        return soft
    return most


def disarm(target: str, most: int) -> list[LeftOut]:
    """Take setuid and setgid bits and capabilities from the files below a target; which had some, so many of them."""
    taken: list[LeftOut] = []
    for path, status in entries(target):
        if not stat.S_ISREG(status.st_mode):
            continue
        armed = stat.S_IMODE(status.st_mode) & (stat.S_ISUID | stat.S_ISGID)
        if armed:
            os.chmod(path, stat.S_IMODE(status.st_mode) & ~armed)
        capable = _drop_capability(path)
        if (armed or capable) and len(taken) < most:
            shown = os.fsencode(path[len(target.rstrip("/")) :]).decode(errors="replace")
            taken += [LeftOut(shown, "setuid" if armed & stat.S_ISUID else "setgid")] if armed else []
            taken += [LeftOut(shown, "capability")] if capable else []
    return taken


def _drop_capability(path: str) -> bool:
    try:
        os.getxattr(path, CAPABILITY, follow_symlinks=False)
    except OSError:
        # None, or a file system that has none.
        return False
    os.removexattr(path, CAPABILITY, follow_symlinks=False)
    return True
