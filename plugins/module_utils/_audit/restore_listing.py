# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judges the listing of a snapshot before it is restored: entries that restic never writes, and devices, are left out. Pure.

A host writes its snapshots itself, and restic restores them without asking whether a name comes twice in a folder. So many
names of the folders that are open are remembered; in a folder with more, a name counts as new only where it comes later in
the order of names than all before it, as in every folder that restic wrote. Also runs on backed-up hosts.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._common.errors import HoldfastError

# Far more than a backup has, than a person wants to read, or fits among the arguments of a command.
MOST_ENTRIES = 100_000_000
MOST_LEFT_OUT = 1000
# Names of up to 255 bytes, some 15 MiB at worst.
MOST_REMEMBERED = 30_000
LONGEST_SHOWN = 1000
_MOST_PATTERNS = 512 * 1024
# What Linux allows, in bytes.
LONGEST_PATH = 4095
_LONGEST_NAME = 255
_RESTORED = frozenset({"file", "dir", "symlink", "fifo", "socket"})
_DEVICES = frozenset({"dev", "chardev"})
# restic's JSON has this in the place of a byte that is not UTF-8.
_UNCLEAR = "\ufffd"
# What fits just one character in a pattern of restic (Go's filepath.Match). What no argument can hold, NUL, is everything
# that is none of the other characters; and what is not UTF-8 counts as the one that stands for it.
_CLASSES = {"\0": "[^\x01-\U0010ffff]", _UNCLEAR: f"[{_UNCLEAR}]", **{char: "\\" + char for char in "\\*?["}}

NAME, TWICE, LONG, DEVICE, UNKNOWN = "name", "twice", "long", "device", "type"


class ListingError(HoldfastError):
    """A snapshot cannot be restored, because of its listing."""


@dataclass(frozen=True)
class LeftOut:
    """An entry that is not restored as the snapshot has it."""

    path: str
    why: str

    def as_dict(self) -> dict[str, str]:
        return {"path": self.path[:LONGEST_SHOWN], "why": self.why}


@dataclass
class _Folder:
    """A folder whose entries are being listed.

    Attributes:
        left_out: Whether nothing below it is restored anyway.
        names: Those that came so far and are remembered.
        unclear: Names that cannot be told apart here, of anything but links.
        unclear_links: Such names of links.
        last: The name that came last in the order in which restic lists them.
        all_remembered: Whether every name that came is remembered.
        remembered: How many are.
    """

    path: str
    left_out: bool = False
    names: set[str] = field(default_factory=set)
    unclear: set[str] = field(default_factory=set)
    unclear_links: set[str] = field(default_factory=set)
    last: str = ""
    all_remembered: bool = True
    remembered: int = 0

    def comes_twice(self, name: str, kind: str, *, room: bool) -> bool:
        """Whether an entry of this name was there, or could have been; it is remembered when there is room."""
        self.all_remembered = self.all_remembered and room
        if _UNCLEAR in name:
            # Files and folders of one name do no harm; only a link leads elsewhere.
            link = kind == "symlink"
            twice = name in self.unclear_links or (link and (name in self.unclear or not self.all_remembered))
            seen = self.unclear_links if link else self.unclear
        else:
            # The order of code points is that of the bytes of UTF-8, in which restic writes and lists a folder.
            twice = name <= self.last and (name in self.names or not self.all_remembered)
            self.last = max(self.last, name)
            seen = self.names
        if room:
            seen.add(name)
            self.remembered += 1
        return twice


class Listing:
    """Judges the entries of one snapshot in the order in which restic lists them.

    Args:
        devices: Whether devices are restored.
        room: How many bytes a path of the snapshot may have below the target.
        included: Paths that it should list; those that it does not are left in `missing`.
    """

    def __init__(self, *, devices: bool = False, room: int = LONGEST_PATH, included: Iterable[str] = ()) -> None:
        self.missing = set(included)
        self.left_out: list[LeftOut] = []
        self._devices = devices
        self._room = room
        self._entries = 0
        self._patterns: dict[str, None] = {}
        self._room_for_patterns = _MOST_PATTERNS
        self._folders = [_Folder("/")]
        self._remembered = 0

    @property
    def patterns(self) -> list[str]:
        """restic's patterns for entries that must not be restored."""
        return list(self._patterns)

    @property
    def bad_names(self) -> bool:
        """Whether there are names of which restic itself says that it does not restore them."""
        return any(item.why == NAME for item in self.left_out)

    def add(self, node: Mapping[str, Any]) -> None:
        """The next entry, as `restic ls --json` shows it."""
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise ListingError(f"The snapshot lists more than {MOST_ENTRIES} entries and is not restored.")
        name, path, kind = (str(node.get(key, "")) for key in ("name", "path", "type"))
        if name in ("", ".", "..") or "/" in name:
            return self._leave_out(path, NAME)
        parent = path[: -len(name) - 1] or "/"
        folder = self._enter(parent)
        if folder is None or path != f"{parent.rstrip('/')}/{name}":
            # Below something with a name like `..`, which takes its whole folder out of place.
            return self._leave_out(parent, NAME, pattern(parent) if parent != "/" else "")
        self.missing.discard(path)
        left_out = folder.left_out or self._judge(folder, name, path, kind)
        if kind == "dir":
            self._folders.append(_Folder(path, left_out))
        return None

    def _enter(self, path: str) -> _Folder | None:
        """The folder whose entries come now; those below it have no more."""
        for number in range(len(self._folders) - 1, -1, -1):
            if self._folders[number].path == path:
                self._remembered -= sum(folder.remembered for folder in self._folders[number + 1 :])
                del self._folders[number + 1 :]
                return self._folders[number]
        return None

    def _judge(self, folder: _Folder, name: str, path: str, kind: str) -> bool:
        """Leave an entry out where that is needed; whether it was."""
        if _size(name) > _LONGEST_NAME or _size(path) > self._room:
            self._leave_out(path, LONG, pattern(folder.path, name))
        elif "\0" in name:
            self._leave_out(path, NAME, pattern(path))
        elif self._comes_twice(folder, name, kind):
            self._leave_out(path, TWICE, pattern(path))
        elif kind in _DEVICES and not self._devices:
            self._leave_out(path, DEVICE, pattern(path))
        elif kind not in _RESTORED | _DEVICES:
            self._leave_out(path, UNKNOWN, pattern(path))
        else:
            return False
        return True

    def _comes_twice(self, folder: _Folder, name: str, kind: str) -> bool:
        room = self._remembered < MOST_REMEMBERED
        self._remembered += room
        return folder.comes_twice(name, kind, room=room)

    def _leave_out(self, path: str, why: str, excluded: str = "") -> None:
        if excluded in self._patterns:
            return
        self.left_out.append(LeftOut(path, why))
        if excluded:
            self._patterns[excluded] = None
            self._room_for_patterns -= len(excluded.encode(errors="surrogatepass"))
        if len(self.left_out) > MOST_LEFT_OUT or self._room_for_patterns < 0:
            raise ListingError(
                f"The snapshot lists more than {len(self.left_out) - 1} entries that must not be restored, the first "
                f"{self.left_out[0].path[:200]!r} ({self.left_out[0].why}). Nothing of it is; choose another snapshot."
            )


def _size(text: str) -> int:
    """How many bytes it has at least."""
    return len(text.encode(errors="surrogatepass")) - 2 * text.count(_UNCLEAR)


def pattern(folder: str, name: str = "") -> str:
    """The pattern of restic that fits a path, or a name in a folder, and nothing else."""
    escaped = "/".join(map(_escape, folder.split("/")))
    if not name:
        return escaped
    if _size(name) <= _LONGEST_NAME:
        return f"{escaped.rstrip('/')}/{_escape(name)}"
    # So much of it that every name which fits is too long itself; all of it could be more than a command can be given.
    end = _LONGEST_NAME // 4
    while _size(name[:end]) < _LONGEST_NAME:
        end += 1
    return (
        f"{escaped.rstrip('/')}/{_escape(name[:end])}?*"
        if end < len(name)
        else f"{escaped.rstrip('/')}/{_escape(name)}"
    )


def _escape(text: str) -> str:
    return "".join(_CLASSES.get(char, char) for char in text)
