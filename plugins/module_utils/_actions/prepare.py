# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prepares the deletes of a maintenance, and has restic prove them while everything is locked.

restic forgets and prunes in a view of what was judged. What it adds goes into the bucket, what it deletes is written down.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Optional

from .._audit import checks as audit
from .._audit import pending as _pending
from .._audit.auditor import Auditor
from .._audit.survey import Survey
from .._common.clock import elapsed
from .._common.errors import HoldfastError
from .._common.process_signals import dies_with_parent
from .._restic.cli import Restic
from .._restic.process import half_of_memory
from .._restic.view import Added, View
from .prune_figures import PruneProgress, figures

# In the order in which they are deleted: at every moment, what is there needs nothing that is gone.
PARTS = ("snapshots", "index", "data")
# The kernel takes two megabytes of arguments.
_IDS_AT_ONCE = 5000
PREPARATION, DRY_RUN = "preparation", "dry_run"


class TooLarge(HoldfastError):
    """The additions of restic do not fit on this machine."""


@dataclass
class Prepared:
    """A state of the repository that is proved, and what has to be deleted for it.

    Args:
        found: What was judged.
        view: What restic has made of it.
        going: The ids of the snapshots that go.
        figures: What restic said of it.
        seconds: How long that took.
        checked: When it was proved last.
        newer: Whether anything is in the view that came after the judged listing.
    """

    found: Survey
    view: View
    going: frozenset[str]
    figures: dict[str, int]
    seconds: float = 0.0
    checked: float = 0.0
    newer: bool = False

    @property
    def deletes(self) -> list[str]:
        """The keys below the prefix that have to be deleted."""
        return self.view.deleted

    @property
    def added(self) -> dict[str, tuple[int, str]]:
        """Size and ETag of the added objects that stay, by key below the prefix."""
        gone = set(self.view.deleted)
        return {key: (item.size, item.etag) for key, item in self.view.added.items() if key not in gone}

    @property
    def lock(self) -> bytes:
        """The last lock that restic made."""
        return list(self.view.lock_bodies.values())[-1]

    def below(self, part: str) -> list[str]:
        """The full keys below one part that have to be deleted."""
        return [self.view.prefix + key for key in self.view.deleted if key.startswith(f"{part}/")]

    def predicted(self) -> dict[str, int]:
        """The figures as they will be."""
        judged, prefix = self.found.objects, self.view.prefix
        packs = [key for key in self.view.deleted if key.startswith("data/")]
        removed = sum(judged[prefix + key].size for key in packs if prefix + key in judged)
        added = sum(size for key, (size, _etag) in self.added.items() if key.startswith("data/"))
        return {**self.figures, "packs_removed": len(packs), "bytes_removed": removed - added}


class Preparation:
    """Prepares for one repository.

    Args:
        auditor: The auditor of the repository.
        remembered: Write down what is added, before it is.
    """

    def __init__(self, auditor: Auditor, remembered: bool = True) -> None:
        self.auditor = auditor
        self.folder = auditor.settings.folder if remembered else ""

    def run(self, found: Survey, going: Collection[str], additions: str = "bucket") -> Prepared:
        """Forget these snapshots, and prune, in a view of the judged objects."""
        auditor, started = self.auditor, elapsed()
        auditor.progress.step("preparing")
        view = auditor.view(
            found.objects,
            additions=additions,
            most=_room(additions),
            scratch=auditor.settings.scratch_dir,
            announce=self._announce,
        )
        with auditor.served(view) as restic:
            ids = iter(sorted(going))
            while some := list(islice(ids, _IDS_AT_ONCE)):
                self._run(restic, view, found, "forget", *some)
            output = self._run(restic, view, found, "prune", "-v")
        prepared = Prepared(found, view, frozenset(going), figures(output), elapsed() - started)
        auditor.note(self._unplanned(prepared), f"Nothing was deleted from {auditor.name}")
        return prepared

    def predict(self, found: Survey, going: Collection[str], folder: str) -> Optional[Prepared]:
        """The same with additions in a folder, and the proof; None when they do not fit in there."""
        try:
            prepared = self.run(found, going, additions=folder)
        except TooLarge:
            return None
        self._proved(prepared)
        return prepared

    def counted(self, found: Survey, going: Collection[str]) -> dict[str, int]:
        """The figures of restic's own dry run."""
        command = ["forget", "--prune", *sorted(going)] if going else ["prune"]
        with self.auditor.reading(found.objects) as restic:
            command += ["--dry-run", "--no-lock", "-v"]
            return figures(restic.succeed(command, memory=half_of_memory()).stdout)

    def _announce(self, key: str, added: Added) -> None:
        if self.folder:
            _pending.adds(self.folder, key, added.size, added.md5)

    def _run(self, restic: Restic, view: View, found: Survey, *args: str) -> str:
        limits: dict[str, Any] = {"memory": half_of_memory()}
        if args[0] == "prune":
            told = PruneProgress(self.auditor.progress)
            # Else it says nothing where it is, or that sixty times a second.
            limits.update(take=told.hear, env={**restic.environment(), "RESTIC_PROGRESS_FPS": "0.1"})
        completed = restic.run(args, preexec_fn=dies_with_parent(signal.SIGKILL), **limits)
        self._stop_at_problems(view)
        if completed.exit_code:
            with self.auditor.reading(found.objects) as other:
                self.auditor.sound(other)
            raise restic.error(args[0], completed)
        return completed.stdout

    def _stop_at_problems(self, view: View) -> None:
        if view.full:
            raise TooLarge(view.problems[0])
        if view.problems:
            raise HoldfastError(f"Nothing was deleted from {self.auditor.name}: {view.problems[0]}")

    def _unplanned(self, prepared: Prepared) -> list[audit.Finding]:
        judged = {key[len(self.auditor.prefix) :] for key in prepared.found.objects}
        return audit.unplanned(prepared.deletes, judged | prepared.view.added.keys(), prepared.going)

    # Proof -----------------------------------------------------------------------------------------------------------

    def judge(self, prepared: Prepared, found: Survey) -> bool:
        """Judge what came since, and prove that what remains is whole.

        Returns False when what came needs something of what goes: then all has to be prepared again.

        Raises:
            HoldfastError: The repository is not as it should be.
        """
        auditor, view = self.auditor, prepared.view
        intro = f"Nothing was deleted from {auditor.name}"
        auditor.note(audit.otherwise(view.differences(found.objects)), intro)
        auditor.contents(found, prepared.added)
        auditor.note(self._still_named(prepared), intro)
        new = view.extend(found.objects)
        prepared.newer = prepared.newer or bool(new)
        return self._proved(prepared) if new or not prepared.checked else True

    def renew(self, prepared: Prepared) -> bool:
        """Have restic make a new lock, by proving everything once more; returns as judge() does."""
        return self._proved(prepared)

    def _proved(self, prepared: Prepared) -> bool:
        self.auditor.progress.step("checking")
        with self.auditor.served(prepared.view) as restic:
            # With a lock: it is only in the view, and needed later on.
            errors = restic.errors(lock=True, preexec_fn=dies_with_parent(signal.SIGKILL))
        self._stop_at_problems(prepared.view)
        prepared.checked = elapsed()
        if errors and prepared.newer:
            return False
        self.auditor.note(audit.not_sound(errors), f"Nothing was deleted from {self.auditor.name}")
        return True

    def _still_named(self, prepared: Prepared) -> list[audit.Finding]:
        """The contents of the index objects that restic wrote, read back."""
        claimed = self.auditor.looked_into.claimed
        named = {pack for key in prepared.added for pack in claimed.get(key.rpartition("/")[2], ())}
        return audit.still_named(named, prepared.deletes)


def _room(additions: str) -> int:
    return 0 if additions == "bucket" else shutil.disk_usage(additions).free // 2


@contextmanager
def kept_here(auditor: Auditor) -> Iterator[str]:
    """A folder for additions that stay on the node."""
    parent = auditor.settings.scratch_dir
    try:
        with tempfile.TemporaryDirectory(prefix="holdfast-prepare-", dir=parent, ignore_cleanup_errors=True) as folder:
            yield folder
    except OSError as error:
        raise HoldfastError(
            f"No temporary folder can be made in {parent or 'TMPDIR'}: {error.strerror}; set scratch_dir."
        ) from error


__all__ = ["DRY_RUN", "PARTS", "PREPARATION", "Preparation", "Prepared", "kept_here"]
