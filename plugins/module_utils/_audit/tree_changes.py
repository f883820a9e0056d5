# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counts what `restic diff --json` prints between two snapshots. Pure: lines in, counts out.

Every path in it was chosen by a host. Memory is bounded for any answer: the rest is counted together.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Optional

from .._common.untrusted import shown

# How many lines are read: two for each file of a snapshot of two million.
MOST_LINES = 4_000_000
# How many different folders, endings and names are told apart.
_MOST_FOLDERS, _MOST_NAMES = 100_000, 2_000
# How deep the folders are that are told where there are too many, how many of them are told, and how much of all makes one folder
# too large to be told instead of its parts.
_DEPTH, _TOLD, _NEARLY_ALL = 3, 5, 0.9
_LONGEST_ENDING, _LONGEST_FOLDER = 100, 500
# How many of the folders of a name are remembered, so that some of its files can be compared.
SAMPLES = 3
# What programs begin an added ending with. Flags of mails (`:2,S`) begin with others.
_BEGINS = tuple(".-_[({@#!~$+")
# Endings that people and programs give to what they compress or put aside. What is compressed is judged by its content.
HONEST = frozenset(
    (".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma", ".Z", ".zip", ".7z", ".br", ".bak", ".backup", ".old", ".orig", ".save",
     ".rej", ".dpkg-old", ".dpkg-dist", ".rpmsave", ".rpmnew")
)  # fmt: skip
# Loose objects of git: it packs them now and then, a thousand into one.
_LOOSE = re.compile(r"/objects/[0-9a-f]{2}/[0-9a-f]{38}(?:[0-9a-f]{24})?\Z")
# What desktops and tools leave in many folders. A note is to be seen, so no name that begins with a dot is one.
_COMMON_NAMES = frozenset(("Thumbs.db", "desktop.ini", "__init__.py", "py.typed", "index.html", "index.php"))


class ChangesError(ValueError):
    """The answer is not what restic prints."""


@dataclass
class Note:
    """A name that was added to folders that were there before.

    Args:
        folders: In how many.
        samples: Some of them.
    """

    folders: int = 0
    samples: list[str] = field(default_factory=list)


@dataclass
class TreeChanges:
    """The counts; `take` adds a line.

    Args:
        changed: Files of before with another content.
        vanished: Files of before that are gone.
        added: Files that were not there before.
        packed: Vanished loose objects of git, which are in none of the others.
        gained: Files whose name became longer by an ending, by that ending.
        notes: What was added to folders that were there before, by name.
        folders: How many files changed or vanished below each folder.
        removed_blobs: How many pieces of content are no longer there.
        removed_bytes: How long what is no longer there was before it was compressed.
        added_bytes: The same of what came.
    """

    changed: int = 0
    vanished: int = 0
    added: int = 0
    packed: int = 0
    gained: Counter[str] = field(default_factory=Counter)
    notes: dict[str, Note] = field(default_factory=dict)
    folders: Counter[str] = field(default_factory=Counter)
    removed_blobs: int = 0
    removed_bytes: int = 0
    added_bytes: int = 0
    complete: bool = False
    lines: int = 0
    # Vanished and added of each folder, by the hash of its path; what does not fit is one folder.
    _pairs: dict[int, list[int]] = field(default_factory=dict)
    _gone: str = ""
    _new_folder: Optional[str] = None

    def take(self, line: str) -> None:
        """Add a line.

        Raises:
            ChangesError: restic does not print that, or there are too many.
        """
        self.lines += 1
        if self.lines > MOST_LINES:
            raise ChangesError(f"more than {MOST_LINES} changes")
        try:
            said = json.loads(line)
            kind = said["message_type"]
            if kind == "change":
                self._change(str(said["path"]), str(said["modifier"]))
            elif kind == "statistics":
                removed, added = said["removed"], said["added"]
                self.removed_blobs = int(removed["data_blobs"])
                self.removed_bytes, self.added_bytes = int(removed["bytes"]), int(added["bytes"])
                self.complete = True
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if isinstance(error, ChangesError):
                raise
            raise ChangesError("an answer that is not JSON of restic's") from error

    def _change(self, path: str, modifier: str) -> None:
        if path.endswith("/"):
            if modifier == "+" and not self._inside(path):
                self._new_folder = path
            return
        folder, _slash, name = path.rpartition("/")
        if "M" in modifier or "T" in modifier:
            self.changed += 1
            self._hit(folder)
            self._pair(folder)
        elif modifier == "-":
            self._vanish(path, folder)
        elif modifier == "+":
            self.added += 1
            self._pair(folder)[1] += 1
            self._gain(path)
            self._note(path, folder, name)

    def _inside(self, path: str) -> bool:
        """Whether it lies in a folder that is new itself."""
        return self._new_folder is not None and path.startswith(self._new_folder)

    def _vanish(self, path: str, folder: str) -> None:
        if _LOOSE.search(path):
            self.packed += 1
            return
        self.vanished += 1
        self._gone = path
        self._hit(folder)
        self._pair(folder)[0] += 1

    def _gain(self, path: str) -> None:
        # restic sorts the names of a folder, so the longer name comes right after the one that it was made of.
        ending = path[len(self._gone) :]
        if not self._gone or not path.startswith(self._gone) or not 2 <= len(ending) <= _LONGEST_ENDING:
            return
        if ending.startswith(_BEGINS) and "/" not in ending and ending not in HONEST and _fits(self.gained, ending):
            self.gained[ending] += 1

    def _note(self, path: str, folder: str, name: str) -> None:
        if name.startswith(".") or name in _COMMON_NAMES or self._inside(path) or not _fits(self.notes, name):
            return
        note = self.notes.setdefault(name, Note())
        note.folders += 1
        if len(note.samples) < SAMPLES:
            note.samples.append(folder)

    def _hit(self, folder: str) -> None:
        if len(folder) > _LONGEST_FOLDER or not _fits(self.folders, folder):
            folder = "/".join(folder.split("/", _DEPTH + 1)[: _DEPTH + 1])[:_LONGEST_FOLDER]
        if _fits(self.folders, folder):
            self.folders[folder] += 1

    def _pair(self, folder: str) -> list[int]:
        key = hash(folder)
        if key not in self._pairs and len(self._pairs) >= _MOST_FOLDERS:
            key = 0
        return self._pairs.setdefault(key, [0, 0])

    @property
    def gone(self) -> int:
        """Files of before that changed or vanished."""
        return self.changed + self.vanished

    @property
    def replaced(self) -> int:
        """Files of before that changed, or vanished from a folder that got others instead."""
        return self.changed + sum(min(pair) for pair in self._pairs.values())

    @property
    def touched(self) -> int:
        """In how many folders of before a file changed, vanished or was added; at most as many as are told apart."""
        return len(self._pairs)

    def worst_folders(self) -> list[str]:
        """The folders that are hit most, for people: the parts of the deepest folder that nearly all is in."""
        within, depth = Counter(self.folders), 1
        total = sum(within.values())
        while True:
            parts: Counter[str] = Counter()
            for folder, count in self.folders.items():
                parts["/".join(folder.split("/")[: depth + 1]) or "/"] += count
            if not parts or parts.most_common(1)[0][1] < _NEARLY_ALL * total or parts == within or depth > 100:
                break
            within, depth = parts, depth + 1
        return [f"{shown(name, 120)} ({count})" for name, count in (parts or within).most_common(_TOLD)]

    def after(self, before: int) -> int:
        """How many files there are, when there were so many."""
        return max(0, before - self.vanished - self.packed + self.added)


def _fits(known: Any, key: str) -> bool:
    return key in known or len(known) < _MOST_NAMES
