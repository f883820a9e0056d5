# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides whether a host looks as if it is being encrypted, by what changed between two snapshots of a job. Pure.

Neither the share of files that changed nor how compressible their content is tells it alone: an upgrade rewrites a third of
all files, and photos are as dense as what is encrypted. What tells it is how much of that which was replaced came back in a
form that cannot be compressed any more.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from .._common.untrusted import shown
from .tree_changes import TreeChanges

ENCRYPTED, SHRANK, EMPTY = "looks_encrypted", "files_vanished", "no_files"
ENDING, NOTES, NOT_LOOKED_AT = "common_ending", "note_files", "not_looked_at"
# Not seen in a snapshot: the signals of before are not known any more.
LOST = "signals_lost"
# Codes that say that no look was possible, and not that something was seen.
NO_SIGN = (NOT_LOOKED_AT, LOST, "signals_damaged", "signals_not_weighed")
# Content that is this dense cannot be told from encrypted content.
_DENSE = 0.95
# Of fewer files a share says little, for each of them may be a disk of another machine: there bytes are counted.
_FEW_FILES = 50
# So few files are no pattern.
_LEAST_FILES = 10
# How large a note is.
NOTE_SIZE = (32, 64 << 10)


@dataclass(frozen=True)
class Limits:
    """From when on a change is a signal; the defaults are what `make bench` measures.

    Args:
        share: The share of the files of before that were replaced.
        lost: The share of what was replaced that cannot be compressed any more.
        partly_share: The same where only a part of each file may be encrypted.
        partly_lost: The same there.
        few_share: The share of the bytes that were replaced, in a job of few files.
        remaining: The share of the files that must remain.
        ending: The share of the files of before whose names gained the same ending.
        quiet: The share of the files of before up to which nothing is looked into.
    """

    share: float = 0.05
    lost: float = 0.4
    partly_share: float = 0.5
    partly_lost: float = 0.12
    few_share: float = 0.2
    remaining: float = 0.25
    ending: float = 0.05
    quiet: float = 0.045


@dataclass(frozen=True)
class Bytes:
    """Content: its length, and what it takes in the repository."""

    plain: int = 0
    packed: int = 0

    def __sub__(self, other: Bytes) -> Bytes:
        return Bytes(max(0, self.plain - other.plain), max(0, self.packed - other.packed))

    @property
    def ratio(self) -> float:
        """Packed over plain; 0 where there is nothing."""
        return min(1.0, self.packed / self.plain) if self.plain else 0.0


@dataclass(frozen=True)
class Came:
    """What the repository got since a snapshot was stored, as the packs tell it that were read: see index_claims.PackWeight.

    Args:
        plain: The length of all of it before it was compressed.
        dense: What of it could not be compressed, as it is stored.
    """

    plain: int
    dense: int


@dataclass(frozen=True)
class Change:
    """What changed between two snapshots.

    Args:
        files: How many files there were before.
        counts: What changed among them.
        content: What there was before.
        replaced: What of that is no longer there.
        new: What came.
        notes: Names of small files that were added to many folders with the same content, and to how many.
    """

    files: int
    counts: TreeChanges
    content: Bytes = Bytes()
    replaced: Bytes = Bytes()
    new: Bytes = Bytes()
    notes: tuple[tuple[str, int], ...] = ()

    @property
    def share(self) -> float:
        """The share of the files of before that changed or vanished."""
        return min(1.0, self.counts.gone / self.files) if self.files else 0.0

    @property
    def lost(self) -> float:
        """The least share of what was replaced that came back in a form that cannot be compressed, from 0 to 1.

        What came is taken for as much compressible content, of the kind that was replaced, as it can be; that is taken for
        what replaced it first, and the rest, such as photos, for additions.
        """
        before = self.replaced.ratio
        if not self.replaced.plain or before >= _DENSE:
            return 0.0
        dense = min(self.new.plain, max(0.0, (self.new.packed - before * self.new.plain) / (1 - before)))
        missing = self.replaced.plain - (self.new.plain - dense)
        return max(0.0, min(missing, dense, self.replaced.plain) / self.replaced.plain)


@dataclass(frozen=True)
class Signal:
    """Something that a person has to look at: a fixed name, and what was seen."""

    code: str
    evidence: str


def signals(change: Change, limits: Limits) -> list[Signal]:
    """What in a change looks like ransomware."""
    found = [_encrypted(change, limits), _ending(change, limits), _notes(change), _vanished(change, limits)]
    return [signal for signal in found if signal]


def worth_weighing(counts: TreeChanges, files: int, limits: Limits) -> bool:
    """Whether enough has changed that its content is to be weighed."""
    if files < _FEW_FILES:
        return counts.gone > 0
    return counts.gone >= max(_LEAST_FILES, limits.share * files)


def at_most_lost(counts: TreeChanges, came: Optional[Came], limits: Limits) -> Optional[float]:
    """The greatest share of what was replaced that can be encrypted, where that is too little to look like it; else None.

    What is encrypted cannot be compressed, so it is among the dense content that came. That says nothing where some of the
    new content was stored before: then there is more of it than came.
    """
    if came is None or not counts.removed_bytes or counts.added_bytes > came.plain:
        return None
    lost = came.dense / counts.removed_bytes
    return lost if lost < min(limits.partly_lost, limits.lost) else None


def suspected_notes(counts: TreeChanges) -> dict[str, list[str]]:
    """Names that were added to at least half of the folders in which anything changed, with some of these folders."""
    least = max(_LEAST_FILES, counts.touched // 2)
    return {name: note.samples for name, note in counts.notes.items() if note.folders >= least}


def _encrypted(change: Change, limits: Limits) -> Optional[Signal]:
    lost = change.lost
    if not _looks_encrypted(change, lost, limits):
        return None
    before, new = change.replaced.ratio, change.new.ratio
    text = (
        f"{change.share:.0%} of {change.files} files changed or vanished, and {lost:.0%} of what was replaced cannot be "
        f"compressed any more (packed {new:.2f} of its length, before {before:.2f}). {_most_hit(change)}"
    )
    return Signal(ENCRYPTED, text)


def _looks_encrypted(change: Change, lost: float, limits: Limits) -> bool:
    counts, files = change.counts, change.files
    if files < _FEW_FILES:
        return change.replaced.plain >= limits.few_share * change.content.plain and lost >= limits.lost
    share = counts.replaced / files if counts.replaced >= _LEAST_FILES else 0.0
    whole = share >= limits.share and lost >= limits.lost
    partly = share >= limits.partly_share and lost >= limits.partly_lost
    # Under other names in other folders.
    moved = change.share >= 1 - limits.remaining and lost >= limits.lost
    return whole or partly or moved


def _ending(change: Change, limits: Limits) -> Optional[Signal]:
    counts = change.counts
    if not counts.gained:
        return None
    ending, number = counts.gained.most_common(1)[0]
    # Where the content stayed as it was, files were only renamed.
    if number < max(_LEAST_FILES, limits.ending * change.files) or counts.removed_blobs * 2 < number:
        return None
    text = f"The names of {number} of {change.files} files gained the ending {shown(ending, 60)!r}. {_most_hit(change)}"
    return Signal(ENDING, text)


def _notes(change: Change) -> Optional[Signal]:
    if not change.notes:
        return None
    name, folders = max(change.notes, key=lambda note: note[1])
    text = f"A file {shown(name, 80)!r} with the same content was added to {folders} folders that were there before."
    return Signal(NOTES, text)


def _vanished(change: Change, limits: Limits) -> Optional[Signal]:
    files = change.files - change.counts.packed
    after = change.counts.after(change.files)
    if files and not after and not change.counts.packed:
        return Signal(EMPTY, f"It has no file at all, where there were {change.files}.")
    if files < 2 * _LEAST_FILES or after >= limits.remaining * files:
        return None
    return Signal(SHRANK, f"Of {change.files} files, {after} are left. {_most_hit(change)}")


def _most_hit(change: Change) -> str:
    folders = change.counts.worst_folders()
    return f"Hit most: {', '.join(folders)}." if folders else ""


# Without looking into the trees --------------------------------------------------------------------------------------


def _number(data: Any, name: str) -> Optional[int]:
    found = data.get(name) if isinstance(data, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 1 << 53 else None


def hits_by_summary(before: Mapping[str, Any], after: Mapping[str, Any]) -> Optional[tuple[int, int]]:
    """How many files changed or vanished, and how many there were, by what two snapshots say of themselves; None if they do
    not say it: restic before 0.17 writes no summary, and that of a snapshot with another parent is about something else.
    """
    if before.get("tree") and before.get("tree") == after.get("tree"):
        return 0, 1
    if after.get("parent") != before.get("id"):
        return None
    files = _number(before.get("summary"), "total_files_processed")
    changed, same = (_number(after.get("summary"), name) for name in ("files_changed", "files_unmodified"))
    if files is None or changed is None or same is None:
        return None
    return changed + max(0, files - changed - same), files


def packed_by_summary(snapshot: Mapping[str, Any]) -> int:
    """How many bytes a snapshot says that it added to the repository; 0 where it does not say it."""
    return _number(snapshot.get("summary"), "data_added_packed") or 0
