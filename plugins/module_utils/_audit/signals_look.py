# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Has restic tell what changed between two snapshots, and weigh what was replaced. Changes nothing.

Time, memory and lines are bounded: a host chooses how large its folders are.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, TypeVar

from .._common.clock import elapsed
from .._common.parallel import in_parallel
from .._restic.cli import Restic, ResticError, TooLargeError
from .._restic.process import half_of_memory
from .signals import (
    NOTE_SIZE,
    Bytes,
    Came,
    Change,
    Limits,
    Signal,
    at_most_lost,
    signals,
    suspected_notes,
    worth_weighing,
)
from .tree_changes import ChangesError, TreeChanges

# The longest line and the longest folder that are read, in bytes, and how many lines a list of files may have.
_LONGEST_LINE, _LARGEST_FOLDER, _MOST_LISTED = 1 << 20, 64 << 20, 4_000_000
# For how many names is looked whether their files have the same content.
_MOST_NAMES = 3
Answer = TypeVar("Answer")
# How much content there is, and whether the repository tells its length.
Weight = tuple[Bytes, bool]


@dataclass(frozen=True)
class Looked:
    """What was seen.

    Args:
        signals: What looks like ransomware.
        files: How many files there are now; None when they were not counted.
        before: How many there were before.
        gone: Whether any file of before changed or vanished.
        lost: The share of what was replaced that cannot be compressed any more, or at most can be; None when too little changed
            to weigh it.
        weighed: Whether the repository tells how well its content can be compressed.
    """

    signals: list[Signal] = field(default_factory=list)
    files: Optional[int] = None
    before: Optional[int] = None
    gone: bool = False
    lost: Optional[float] = 0.0
    weighed: bool = True


class Look:
    """Compares snapshots with each other.

    Args:
        restic: restic for the repository.
        limits: From when on a change is a signal.
        seconds: How long all of it may take.
    """

    def __init__(self, restic: Restic, limits: Limits, seconds: float) -> None:
        self.restic = restic
        self.limits = limits
        self._end = elapsed() + seconds
        # Of this run only: a later one may see other copies of the same content.
        self._weights: dict[tuple[str, ...], Weight] = {}

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return self._left() <= 0

    def _left(self) -> float:
        return self._end - elapsed()

    def compare(self, before: str, after: str, files: Optional[int] = None, came: Optional[Came] = None) -> Looked:
        """What changed from one snapshot to another.

        Args:
            before: The id of the earlier one.
            after: The id of the later one.
            files: How many files the earlier one has, if that is known.
            came: What the repository got in between, if that is known.

        Raises:
            ResticError: restic could not tell, or it would take too long.
            ChangesError: There is too much of it, or restic did not tell all.
        """
        counts, files = self._counts(before, after, files)
        if not counts.gone and not counts.packed and not counts.notes:
            return Looked(files=counts.after(files), before=files)
        change, weighed = Change(files, counts, notes=self._same_content(after, counts)), True
        enough = worth_weighing(counts, files, self.limits)
        lost = at_most_lost(counts, came, self.limits) if enough else None
        if enough and lost is None:
            (content, weighed), (both, _told), (now, _told) = self._weigh((before,), (before, after), (after,))
            change = Change(files, counts, content, both - now, both - content, change.notes)
            lost = change.lost
        return Looked(signals(change, self.limits), counts.after(files), files, counts.gone > 0, lost, weighed)

    def _side_by_side(self, works: Sequence[Callable[[int], Answer]]) -> list[Answer]:
        """Each with its part of the memory; one after the other, with all of it, where that is too little."""
        memory, number = half_of_memory(), len(works)
        try:
            answers = in_parallel(lambda place: works[place](memory // number), range(number), number)
        except TooLargeError:
            if number == 1:
                raise
            return [work(memory) for work in works]
        return [answers[place] for place in range(number)]

    def _run(self, memory: int, *args: str, **limits: Any) -> str:
        left = self._left()
        if left <= 0:
            raise ChangesError("the time for it is over")
        completed = self.restic.run([*args, "--no-lock"], timeout=left, memory=memory, **limits)
        if completed.exit_code:
            raise self.restic.error(args[0], completed)
        return completed.stdout

    def _counts(self, before: str, after: str, files: Optional[int]) -> tuple[TreeChanges, int]:
        """What changed, and how many files there were."""
        if files is not None:
            return self._changes(half_of_memory(), before, after), files
        works: list[Callable[[int], Any]] = [
            lambda memory: self._changes(memory, before, after),
            lambda memory: self._count(memory, before),
        ]
        counts, counted = self._side_by_side(works)
        return counts, counted

    def _changes(self, memory: int, before: str, after: str) -> TreeChanges:
        counts = TreeChanges()

        def take(stream: str, line: str) -> None:
            if stream == "stdout" and line:
                counts.take(line)

        self._run(memory, "diff", "--json", before, after, most=_LONGEST_LINE, take=take)
        if not counts.complete:
            raise ChangesError("restic did not tell all changes")
        return counts

    def _count(self, memory: int, snapshot: str) -> int:
        """How many files a snapshot has: everything that is no folder."""
        lines = files = 0

        def take(stream: str, line: str) -> None:
            nonlocal lines, files
            lines += 1
            if lines > _MOST_LISTED:
                raise ChangesError(f"more than {_MOST_LISTED} files")
            # Quotes in a name are written otherwise.
            files += stream == "stdout" and '"struct_type":"node"' in line and '"type":"dir"' not in line

        self._run(memory, "ls", "--json", snapshot, most=_LONGEST_LINE, take=take)
        return files

    def _weigh(self, *wanted: tuple[str, ...]) -> list[Weight]:
        """The weights of these snapshots together, for each of the lists."""
        new = [snapshots for snapshots in wanted if snapshots not in self._weights]

        def work(snapshots: tuple[str, ...]) -> Callable[[int], Weight]:
            return lambda memory: self._weight(memory, snapshots)

        self._weights.update(zip(new, self._side_by_side([work(snapshots) for snapshots in new])))
        return [self._weights[snapshots] for snapshots in wanted]

    def _weight(self, memory: int, snapshots: tuple[str, ...]) -> Weight:
        said = self.restic.parse("stats", self._run(memory, "stats", "--json", "--mode", "raw-data", *snapshots))
        try:
            packed, plain = int(said["total_size"]), int(said.get("total_uncompressed_size") or 0)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ResticError("restic stats did not tell how much there is.") from error
        return Bytes(plain or packed, packed), plain > 0

    def _same_content(self, snapshot: str, counts: TreeChanges) -> tuple[tuple[str, int], ...]:
        """The names of small files that have the same content in the folders that were remembered."""
        suspected = list(suspected_notes(counts).items())[:_MOST_NAMES]
        return tuple(
            (name, counts.notes[name].folders) for name, folders in suspected if self._same(snapshot, name, folders)
        )

    def _same(self, snapshot: str, name: str, folders: Collection[str]) -> bool:
        contents = {self._content(snapshot, folder, name) for folder in folders}
        return len(contents) == 1 and contents != {None}

    def _content(self, snapshot: str, folder: str, name: str) -> Optional[str]:
        """What tells the content of a small file from others."""
        try:
            tree = self.restic.parse(
                "cat", self._run(half_of_memory(), "cat", "tree", f"{snapshot}:{folder or '/'}", most=_LARGEST_FOLDER)
            )
        except ResticError:
            # A name that is no UTF-8 cannot be given back to restic.
            return None
        for node in tree.get("nodes", ()) if isinstance(tree, dict) else ():
            if isinstance(node, dict) and node.get("name") == name and node.get("type") == "file":
                size = node.get("size")
                small = isinstance(size, int) and NOTE_SIZE[0] <= size <= NOTE_SIZE[1]
                return repr(node.get("content")) if small else None
        return None
