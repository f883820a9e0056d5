# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks for ransomware as a part of an audit: compares what is new in the repository with what is remembered of it.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any, Optional

from .._restic.retention_plan import ALL_JOBS
from .auditor import Auditor
from .checks import BLOCK, WARN, Finding
from .contents_checks import listing
from .index_claims import PackWeight
from .signals import LOST, Came
from .signals_look import Look, Looked
from .signals_pass import SignalsPass
from .signals_state import NAME, SignalsError, State, about, load, save
from .survey import Survey


class _Opened:
    """Compares snapshots with restic, which is started when the first are compared: as a rule there is nothing to compare."""

    def __init__(self, auditor: Auditor, found: Survey, stack: ExitStack) -> None:
        self._auditor, self._found, self._stack = auditor, found, stack
        self._look: Optional[Look] = None

    @property
    def over(self) -> bool:
        return self._look is not None and self._look.over

    def compare(self, before: str, after: str, files: Optional[int] = None, came: Optional[Came] = None) -> Looked:
        if self._look is None:
            restic = self._stack.enter_context(self._auditor.reading(self._found.objects))
            settings = self._auditor.settings
            self._look = Look(restic, settings.signals, settings.signals_seconds)
        return self._look.compare(before, after, files, came)


def watch(auditor: Auditor, found: Survey, write: bool) -> None:
    """Look at each new snapshot once, and note what is open; what is to be held is known afterwards.

    Args:
        auditor: The audit, which has read snapshots and contents.
        found: What is there.
        write: Remember it.
    """
    if auditor.baseline is None:
        return
    folder, repository_id = auditor.settings.folder, auditor.baseline.repository_id
    try:
        before = load(folder, repository_id)
    except SignalsError as error:
        what = "Restore it from a copy. If there is none, remove it: all that is stored is held then until a person accepts that."
        auditor.note([Finding("signals_damaged", BLOCK, str(error), what)], f"No window is opened for {auditor.name}")
        return
    state = before or _begun(auditor, found, repository_id)
    if not auditor.blocked:
        state = _looked_at(auditor, found, state)
        if write and state != before:
            save(folder, state)
        # The baseline is written after the file of signals, and never without it.
        auditor.baseline = replace(auditor.baseline, watched=True)
    auditor.signals = state
    if state.hold_before:
        # Of all jobs: which one a snapshot belongs to is what the host says.
        auditor.keep_before[ALL_JOBS] = state.hold_before
    auditor.note([signal.finding() for signal in state.open], "")


def _begun(auditor: Auditor, found: Survey, repository_id: str) -> State:
    """What is known where there is no file of signals.

    The first new snapshot is compared with the last one from before the search for signals began. Where there was
    such a file, what it held is unknown, and all that is there now is held.
    """
    known = auditor.stored
    state = State(repository_id, judged=frozenset(known.snapshots if known else ()))
    # Of a baseline that is damaged nothing is known.
    watched = known.watched if known else bool(auditor.version)
    stored = {
        name: found.objects[f"{auditor.prefix}snapshots/{name}"].last_modified
        for name in auditor.names(found.objects, "snapshots")
    }
    if not watched or not stored:
        return state
    newest = max(stored, key=lambda name: (stored[name], name))
    text = (
        f"The file {NAME} beside the record is gone, and with it the list of signals and of those that were accepted."
    )
    lost = about(LOST, "all jobs", [newest], stored[newest] + timedelta(seconds=1), None, text)
    return replace(state, raised=(lost,))


def told(state: Optional[State], prefix: str) -> list[dict[str, Any]]:
    """The signals that no person has accepted, as a module returns them."""
    return [
        {
            "id": signal.finding(prefix).id,
            "code": signal.code,
            "job": signal.name or signal.job,
            "snapshot": signal.snapshots[0],
            "stored": signal.stored,
            "last_good": signal.good or None,
            "last_good_stored": signal.good_stored or None,
            "evidence": signal.evidence,
        }
        for signal in (state.open if state else ())
    ]


def _looked_at(auditor: Auditor, found: Survey, state: State) -> State:
    start = f"{auditor.prefix}snapshots/"
    uploaded = {key[len(start) :]: item.last_modified for key, item in found.objects.items() if key.startswith(start)}
    packs = listing(found.objects.values(), auditor.prefix).packs
    jobs = auditor.settings.plan.jobs
    with ExitStack() as stack:
        look = _Opened(auditor, found, stack)
        one = SignalsPass(
            look, auditor.settings.signals, uploaded, lambda snapshot: str(jobs.group(snapshot)), packs.values(), state
        )
        one.name_of = lambda snapshot: jobs.group(snapshot).job
        one.weights = _weights(auditor, packs)
        state = one.run(auditor.read)
        if not one.weighed:
            evidence = (
                "The repository does not tell how long its content is, so that only names and counts were looked at."
            )
            what = "Nothing, if that is right: it has format 1. A repository of format 2 tells more."
            auditor.note([Finding("signals_not_weighed", WARN, evidence, what)], "")
    return state


def _weights(auditor: Auditor, packs: Collection[str]) -> list[tuple[int, PackWeight]]:
    """When each pack was stored, and how much content it holds; nothing where that is not known of all."""
    known = auditor.baseline.packs if auditor.baseline else {}
    found = []
    for name in packs:
        weight = known[name].contents.weight if name in known else None
        if weight is None:
            return []
        found.append((known[name].stored, weight))
    return found
