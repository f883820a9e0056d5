# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintains one repository, as a transaction: judge, prepare, prove; then delete exactly that in one window.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

from .._audit import checks as audit
from .._audit import pending as _pending
from .._audit.auditor import Auditor, AuditSettings
from .._audit.options import LIMIT, expected_from, remembered
from .._audit.policies import plan_from
from .._audit.signals_watch import told, watch
from .._audit.survey import Survey
from .._clients import Clients
from .._common.clock import elapsed
from .._common.errors import HoldfastError
from .._common.process_signals import ended_by_signals
from .._common.progress import Progress
from .._locks.store import time_told
from .._restic.cli import MAINTENANCE_MINIMUM
from .._restic.retention import Decision
from .._windows.fence import FenceHolder
from .._windows.fence_tokens import NEVER, fence_for, fence_told
from .._windows.session import WindowSession, WindowSpec, window_told
from .._windows.spec import noted_spec_of
from .commit import Commit, Parts, lease_for
from .exclusive_lock import ExclusiveLock
from .newest_snapshots import remember_newest
from .other_restics import await_others
from .prepare import DRY_RUN, PARTS, PREPARATION, Preparation, Prepared, kept_here
from .prune_figures import FIGURES

# The least and the most that make sense, in seconds. A window without an end would be no window.
_BOUNDS = {
    "window_seconds": (1, 86400),
    "open_timeout": (1, 3600),
    "lock_wait": (0, 86400),
    "fence_seconds": (0, 3600),
}
# How often to prepare when backups need what was to go, and how often to wait for those that begin just then.
_ATTEMPTS = 3
_LOCK_ATTEMPTS = 4
# restic takes a lock of 30 minutes for one that was left behind.
_LOCK_AGE = 600.0


@dataclass(frozen=True)
class Terms:
    """The limits of a maintenance.

    Args:
        lock_wait: Seconds to wait for other restic processes to end.
        open_timeout: Seconds to repeat deletes that are refused.
        fence_seconds: Seconds that a fence takes to hold.
        dry_run: Only say what would be done.
    """

    lock_wait: float = 600.0
    open_timeout: float = 60.0
    fence_seconds: float = 0.0
    dry_run: bool = False


class Maintenance:
    """Maintenance of one repository. `outcome` tells at any time the work done so far.

    Args:
        auditor: The auditor of the repository.
        terms: What the maintenance itself may do.
        open_window: Makes a window over these parts of the repository, for so many objects.
        lock: Makes a lock of restic's in the bucket of what restic wrote.
        sleep: Waits for so many seconds.
        fence: Makes what keeps the host out meanwhile.
    """

    def __init__(
        self,
        auditor: Auditor,
        terms: Terms,
        open_window: Callable[[Parts, int], WindowSession],
        lock: Callable[[bytes], ExclusiveLock],
        sleep: Callable[[float], None] = time.sleep,
        fence: Callable[[Callable[[str], object]], AbstractContextManager[object]] = lambda warn: nullcontext(),
    ) -> None:
        self.auditor = auditor
        self.restic = auditor.restic
        self.terms = terms
        self.name = auditor.name
        self.step = auditor.progress.step
        self.lock = lock
        self.sleep = sleep
        self.fence = fence
        self.changed = False
        self.predicted_by: Optional[str] = None
        self.fences: list[AbstractContextManager[object]] = []
        self.warnings: list[str] = []
        self.snapshots: dict[str, list[dict[str, Any]]] = {"removed": [], "kept": []}
        self.figures = dict.fromkeys(FIGURES, 0)
        self.preparation = Preparation(auditor, remembered=not terms.dry_run)
        self.commit = Commit(auditor.s3, auditor.name, open_window, terms.open_timeout, sleep=sleep, lost=self._lost)

    @property
    def behind(self) -> str | None:
        """The holder of the fence that is up."""
        fence = self.fences[-1] if self.fences else None
        return fence.behind if isinstance(fence, FenceHolder) else None

    def _lost(self) -> Optional[str]:
        """Why the fence that is up is not to be relied upon."""
        fence = self.fences[-1] if self.fences else None
        return str(fence.lost() or "") or None if isinstance(fence, FenceHolder) else None

    @property
    def outcome(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            **self.snapshots,
            **self.figures,
            "predicted_by": self.predicted_by,
            "windows": [window_told(window) for window in self.commit.windows],
            "fences": [told for told in map(fence_told, self.fences) if told],
            "holds": self.auditor.holds,
            "findings": [finding.as_dict() for finding in self.auditor.findings],
            "time": time_told(self.auditor.cloudflare),
            "signals": told(self.auditor.signals, self.auditor.prefix),
        }

    def run(self) -> None:
        """Do it. The outcome is there also when this raises."""
        limit, work = self.auditor.settings.time_limit, f"Maintenance of {self.name}"
        with self.auditor.progress.told(), ended_by_signals(work, self._interrupted, limit, LIMIT):
            self._run()

    def _interrupted(self) -> str:
        """How things are after a signal."""
        for window in self.commit.windows:
            if not window.get("in_force"):
                return window.get("error") or "no probe has proved its window closed: run the relock playbook now."
        return "its window is closed." if self.commit.windows else "nothing was deleted."

    def _run(self) -> None:
        self.restic.require(MAINTENANCE_MINIMUM, "Maintenance")
        for _attempt in range(_ATTEMPTS):
            if self._once():
                return
        raise HoldfastError(
            f"{_ATTEMPTS} times in a row, a backup of {self.name} ended meanwhile that needs data which was to be deleted; "
            "nothing was deleted, run it again later."
        )

    def _once(self) -> bool:
        """Judge, prepare and commit; False when it has to begin anew."""
        auditor = self.auditor
        self.step("listing")
        found = auditor.look(probe=True)
        auditor.identified(found)
        if auditor.unused(found.objects):
            return True
        self.step("reading the list of snapshots")
        auditor.opened(found, count=True)
        self.step("reading what is new")
        auditor.contents(found)
        self.step("comparing new snapshots")
        watch(auditor, found, write=not self.terms.dry_run)
        decisions = auditor.decide(found)
        if auditor.held:
            # Data that no snapshot needs stays, too: a person may want to look at it.
            self._report(decisions, ())
            if not self.terms.dry_run and not auditor.pending:
                auditor.remember(found.objects)
            return True
        if self.terms.dry_run:
            self._predict(found, decisions)
            return True
        self._report(decisions, ())
        prepared = self.preparation.run(auditor.finished(found), _going(decisions))
        if prepared.deletes:
            return self._commit(prepared, decisions)
        auditor.remember(found.objects)
        return True

    # From the proof to the deletion ----------------------------------------------------------------------------------

    def _commit(self, prepared: Prepared, decisions: list[Decision]) -> bool:
        if self.auditor.settings.folder:
            _pending.deletes(self.auditor.settings.folder, prepared.deletes)
        for attempt in range(_LOCK_ATTEMPTS):
            # A check that is shorter than the wait of the fence runs during that wait; a longer one runs before, without a fence.
            later = not attempt and prepared.seconds < self.terms.fence_seconds
            if not later and not self.preparation.judge(prepared, self.auditor.look()):
                return False
            self.step("waiting for other restic processes")
            await_others(self.auditor, prepared.found, self.terms.lock_wait, self.sleep)
            if not later and elapsed() - prepared.checked > _LOCK_AGE and not self.preparation.renew(prepared):
                return False
            done = self._behind_fence(prepared, decisions, later, last=attempt == _LOCK_ATTEMPTS - 1)
            if done is not None:
                return done
        raise HoldfastError(
            f"Other restic processes keep beginning to work in {self.name}; nothing was deleted, run it later."
        )

    def _behind_fence(
        self, prepared: Prepared, decisions: list[Decision], unchecked: bool, last: bool
    ) -> Optional[bool]:
        """Keep the hosts out, and delete; None when another restic has begun to work: then try again."""
        self.step("waiting for the fence")
        self.fences.append(self.fence(self.warnings.append))
        with self.fences[-1] as fence:
            # While the fence comes up, so that no host is kept out longer than it must be.
            if unchecked or (isinstance(fence, FenceHolder) and self.terms.fence_seconds):
                found = self.auditor.look()
                if not self._alone(prepared, found, last or unchecked):
                    return None
                if not self.preparation.judge(prepared, found):
                    return False
            lock = self.lock(prepared.lock)
            try:
                with lock:
                    if isinstance(fence, FenceHolder):
                        fence.await_open()
                    found = self.auditor.look()
                    return (
                        self._delete(prepared, found, decisions)
                        if self._alone(prepared, found, last, lock.key)
                        else None
                    )
            finally:
                if not lock.removed:
                    self.warnings.append(
                        f"{lock.key} in {self.name}, a lock of restic, could not be removed: no backup is made until "
                        "it is 30 minutes old and removed by restic unlock."
                    )

    def _alone(self, prepared: Prepared, found: Survey, last: bool, lock: str = "") -> bool:
        """Whether to go on. A backup that began before our lock was there is let go on, and waited for; what one has left is
        judged while no host is kept out, as long as that comes to an end.
        """
        return not found.restic_locks().keys() - {lock} and (last or not prepared.view.unknown(found.objects))

    def _delete(self, prepared: Prepared, found: Survey, decisions: list[Decision]) -> bool:
        """Delete the prepared keys, unless newer objects forbid it."""
        auditor = self.auditor
        if not self.preparation.judge(prepared, found):
            return False
        # Nothing is written while the window is open.
        self.step("deleting")
        try:
            left = self.commit.run({part: prepared.below(part) for part in PARTS})
        except BaseException:
            with suppress(HoldfastError):
                self._account(prepared, found, auditor.listed(), decisions)
            raise
        self.step("proving that all is locked")
        after = auditor.look(probe=True)
        self._account(prepared, found, after, decisions)
        intro = f"Maintenance of {self.name} found after it had deleted"
        planned = [auditor.prefix + key for key in prepared.deletes]
        auditor.note(audit.vanished(found.objects, after.objects, planned), intro)
        auditor.note(audit.leftovers(left), intro)
        auditor.enforced(after, f"After maintenance of {self.name}")
        auditor.remember(after.objects)
        remember_newest(auditor, after.objects.values())
        return True

    # The account -----------------------------------------------------------------------------------------------------

    def _account(self, prepared: Prepared, before: Survey, after: Survey, decisions: list[Decision]) -> None:
        start = f"{self.auditor.prefix}snapshots/"
        gone = {key[len(start) :] for key in before.objects.keys() - after.objects.keys() if key.startswith(start)}
        self._report(decisions, gone)
        judged, start = prepared.found.objects, f"{self.auditor.prefix}data/"
        old, new = ({key for key in found if key.startswith(start)} for found in (judged, after.objects))
        added = {self.auditor.prefix + key for key in prepared.added}
        self.changed = bool(judged.keys() - after.objects.keys())
        removed = sum(judged[key].size for key in old - new)
        self.figures.update(
            prepared.figures,
            packs_removed=len(old - new),
            bytes_removed=removed - sum(after.objects[key].size for key in new & added),
        )

    def _report(self, decisions: Iterable[Decision], gone: Collection[str]) -> None:
        described = self.auditor.described
        self.snapshots = {
            "removed": [described[decision.id] for decision in decisions if decision.id in gone],
            "kept": [
                {**described[decision.id], "reasons": list(decision.reasons)}
                for decision in decisions
                if decision.id not in gone
            ],
        }

    # Check mode ------------------------------------------------------------------------------------------------------

    def _predict(self, found: Survey, decisions: list[Decision]) -> None:
        """Prepare without the bucket; where that does not fit on this machine, have restic count."""
        going = _going(decisions)
        with kept_here(self.auditor) as folder:
            prepared = self.preparation.predict(self.auditor.finished(found), going, folder)
        self._report(decisions, going)
        if prepared:
            self.predicted_by = PREPARATION
            self.figures = prepared.predicted()
            self.changed = bool(prepared.deletes)
        else:
            self.predicted_by = DRY_RUN
            self.figures = self.preparation.counted(found, going)
            self.changed = bool(going or self.figures["packs_removed"])


def _going(decisions: Iterable[Decision]) -> set[str]:
    return {decision.id for decision in decisions if not decision.keep}


def maintenance_for(clients: Clients, dry_run: bool) -> Maintenance:
    """The maintenance that a module's parameters ask for."""
    params = clients.params
    _check_seconds(params)
    audit.parse_limit(params["max_remove"], 0)
    settings = AuditSettings(
        plan=plan_from(params),
        expected=expected_from(params),
        max_remove=params["max_remove"],
        **remembered(clients),
    )
    restic = clients.restic(settings.record.key_id if settings.record else None)

    make = clients.make_s3

    def window(parts: Parts, count: int) -> WindowSession:
        return WindowSession(
            WindowSpec(
                parts=parts,
                **noted_spec_of(clients),
                reason=f"maintenance deletes {count} objects",
                lease_seconds=lease_for(count),
                cap_seconds=params["window_seconds"],
                proved=False,
                behind=maintenance.behind,
            )
        )

    def lock(body: bytes) -> ExclusiveLock:
        return ExclusiveLock(clients.s3, make, clients.prefix, body)

    fence_seconds = 0.0 if params["fence"] == NEVER else params["fence_seconds"]
    terms = Terms(params["lock_wait"], params["open_timeout"], fence_seconds, dry_run)
    auditor = Auditor(restic, clients.s3, clients.cloudflare, settings, clients.lock_probe)
    auditor.progress = Progress(settings.folder, "maintenance", auditor.name)
    maintenance = Maintenance(auditor, terms, window, lock, fence=partial(fence_for, clients))
    return maintenance


def _check_seconds(params: Mapping[str, Any]) -> None:
    for name, (least, most) in _BOUNDS.items():
        if params[name] is not None and not least <= params[name] <= most:
            raise HoldfastError(f"{name} is {params[name]}; it must be from {least} to {most} seconds.")
