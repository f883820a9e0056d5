# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintenance of one repository: look, decide, forget, prune, look again.

restic deletes in two windows only: snapshots/ for forget, index/ and data/ for the end of prune. Everything else happens
under lock.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils import _audit as audit
from ansible_collections.holdfast.restic_r2.plugins.module_utils import _phases
from ansible_collections.holdfast.restic_r2.plugins.module_utils._clients import Clients
from ansible_collections.holdfast.restic_r2.plugins.module_utils._cloudflare import cloudflare_client
from ansible_collections.holdfast.restic_r2.plugins.module_utils._control import elapsed
from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._fence import fence_for, fence_told
from ansible_collections.holdfast.restic_r2.plugins.module_utils._gate import Gate, Objects, Wanted
from ansible_collections.holdfast.restic_r2.plugins.module_utils._gate_options import expected_from, remembered
from ansible_collections.holdfast.restic_r2.plugins.module_utils._phases import Phase, Plan
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import Completed
from ansible_collections.holdfast.restic_r2.plugins.module_utils._retention import Decision, policy_from
from ansible_collections.holdfast.restic_r2.plugins.module_utils._s3 import S3, S3Object, endpoint
from ansible_collections.holdfast.restic_r2.plugins.module_utils._signals import Interrupted, signals_raise
from ansible_collections.holdfast.restic_r2.plugins.module_utils._window import Window, WindowSpec, open_window
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windowed_run import Parts, WindowedRun

# The first restic whose forget does not take a refused delete for a success.
MINIMUM = (0, 19, 0)
# What prune needs open at which of its phases; nothing for a phase that closes what is open.
_PRUNE_PHASES: dict[Phase, Parts] = {
    Phase.UNREFERENCED: ("data",),
    Phase.REPACKING: (),
    Phase.INDEX: ("index", "data"),
    Phase.REMOVING: ("index", "data"),
    Phase.DONE: (),
}
# The least and the most that make sense, in seconds. A window without an end would be no window.
_BOUNDS = {
    "lease_seconds": (1, 3600),
    "window_seconds": (1, 86400),
    "open_patience": (1, 3600),
    "close_patience": (60, 86400),
    "lock_wait": (0, 86400),
    "prune_timeout": (1, 31 * 86400),
}
_FENCE_ATTEMPTS = 3
_RESTIC_NAME = re.compile(r"[0-9a-f]{64}")
_WINDOW_FIELDS = ("repository", "prefixes", "opened", "closed", "seconds", "ended_by", "in_force")


class Maintenance:
    """Maintenance of one repository. `outcome` tells at any time what was done so far.

    Args:
        gate: The repository, and what is wanted.
        open_window: Makes a window over these parts of the repository.
        sleep: Waits for so many seconds.
        fence: Makes what keeps the host out meanwhile.
    """

    def __init__(
        self,
        gate: Gate,
        open_window: Callable[[Parts], Window],
        sleep: Callable[[float], None] = time.sleep,
        fence: Callable[[Callable[[str], object]], AbstractContextManager[object]] = lambda warn: nullcontext(),
    ) -> None:
        self.gate = gate
        self.restic = gate.restic
        self.wanted = gate.wanted
        self.prefix = gate.prefix
        self.name = gate.name
        self.open_window = open_window
        self.sleep = sleep
        self.fence = fence
        self.changed = False
        self.windows: list[dict[str, Any]] = []
        self.fences: list[AbstractContextManager[object]] = []
        self.warnings: list[str] = []
        self.snapshots: dict[str, list[dict[str, Any]]] = {"removed": [], "kept": []}
        self.figures = dict.fromkeys(("packs_removed", "bytes_removed", "packs_repacked", "bytes_repacked"), 0)

    @property
    def outcome(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            **self.snapshots,
            **self.figures,
            "windows": [{name: window.get(name) for name in _WINDOW_FIELDS} for window in self.windows],
            "fences": [told for told in map(fence_told, self.fences) if told],
            "findings": [finding.as_dict() for finding in self.gate.findings],
        }

    def run(self) -> None:
        """Do it. The outcome is there also when this raises."""
        try:
            with signals_raise():
                self._run()
        except Interrupted as signal:
            end = "restic was stopped, and what was open is closed."
            for window in self.windows:
                if not window.get("in_force"):
                    end = window.get("error") or "that its window is closed is not proved: run the guard now."
            raise HoldfastError(f"Maintenance of {self.name} was ended by {signal}; {end}") from signal

    def _run(self) -> None:
        gate = self.gate
        self.restic.require(MINIMUM, "Maintenance")
        gate.locked()
        before = gate.objects()
        gate.identified(before)
        if gate.unused(before):
            return
        gate.contents(before)
        decisions = gate.decide(before)
        going = [decision.id for decision in decisions if not decision.keep]
        plan = gate.plan(going)
        if self.wanted.dry_run or not (going or not plan.empty):
            self._predict(decisions, plan)
            if not self.wanted.dry_run:
                gate.remember(before)
            return
        for _attempt in range(_FENCE_ATTEMPTS):
            self._await_other_restics()
            self.fences.append(self.fence(self.warnings.append))
            with self.fences[-1]:
                # A backup that began before the fence was up is let go on, and waited for.
                if not self._restic_locks():
                    self._remove(before, decisions, plan)
                    return
        raise HoldfastError(f"Somebody else keeps beginning to work in {self.name}; nothing was changed, run it later.")

    def _remove(self, before: Objects, decisions: list[Decision], plan: Plan) -> None:
        """What needs windows, and its proof."""
        gate = self.gate
        if gate.unjudged():
            # A backup may have ended while others were waited for, or somebody has waited for the gate to look away.
            gate.contents(gate.objects())
        gate.remember(before, removing=[decision.id for decision in decisions if not decision.keep])
        self._forget(before, decisions)
        after = self._prune(before, plan)
        self._prove()
        gate.remember(after)

    def _await_other_restics(self) -> None:
        """Wait until nobody works in the repository: waiting inside a window would keep it open."""
        deadline = elapsed() + self.wanted.lock_wait
        self._remove_stale_locks()
        while locks := self._restic_locks():
            if elapsed() >= deadline and (locks := self._remove_stale_locks()):
                stored = {key: item.last_modified for key, item in locks.items()}
                found = audit.other_restics(stored, self.wanted.lock_wait)
                self.gate.note(found, f"No window is opened for {self.name}")
            self.sleep(2)

    def _remove_stale_locks(self) -> dict[str, S3Object]:
        """Remove the locks of processes that are certainly gone; returns the others."""
        locks = self._restic_locks()
        if locks:
            self.restic.run(["unlock"])
            locks = self._restic_locks()
        return locks

    def _restic_locks(self) -> dict[str, S3Object]:
        # restic ignores other names, and so a host that writes them must not hold up maintenance.
        found = self.gate.objects("locks")
        return {key: item for key, item in found.items() if _RESTIC_NAME.fullmatch(key.rpartition("/")[2])}

    # Forget ----------------------------------------------------------------------------------------------------------

    def _forget(self, before: Objects, decisions: Iterable[Decision]) -> None:
        going = {decision.id for decision in decisions if not decision.keep}
        completed = None
        try:
            if going:
                # Its own lock object is the last thing that restic writes before it deletes.
                completed = self._windowed(["forget", *sorted(going)], ("snapshots",), ready=self._restic_locks)
        finally:
            after = self.gate.objects("snapshots")
            gone = set(self.gate.names(before, "snapshots")) - set(self.gate.names(after, "snapshots"))
            self.changed = bool(gone)
            self._report(decisions, gone)
        snapshots = {key: item for key, item in before.items() if key.startswith(f"{self.prefix}snapshots/")}
        planned = [f"{self.prefix}snapshots/{name}" for name in going]
        self.gate.note(audit.vanished(snapshots, after, planned), f"Maintenance of {self.name} stopped after forget")
        if completed and completed.exit_code:
            raise self.restic.error("forget", completed)
        if gone != going:
            raise HoldfastError(
                f"restic forget removed {len(gone)} of {len(going)} snapshots of {self.name}; prune was not started."
            )

    # Prune -----------------------------------------------------------------------------------------------------------

    def _prune(self, before: Objects, plan: Plan) -> Objects:
        """Prune, and compare what is there with what was there and with what restic says that it removed."""
        named = [f"{self.prefix}snapshots/{snapshot['id']}" for snapshot in self.snapshots["removed"]]
        said = Plan()

        def listen(line: str) -> None:
            said.read(line)
            removed = _phases.removed(line)
            if removed:
                named.append(self.prefix + removed)
            # An index object that came since, and that says anything of data that is needed, makes this number grow.
            if said.duplicate_blobs > plan.duplicate_blobs:
                raise audit.GateError(
                    f"prune of {self.name} was stopped before it deleted anything: it found {said.duplicate_blobs} "
                    f"duplicate blobs, {plan.duplicate_blobs} were there a moment ago. Somebody adds index objects."
                )

        try:
            command = ["prune", "-vv", "--retry-lock", f"{self.wanted.lock_wait:.0f}s"]
            completed = self._windowed(command, ("index", "data"), phases=_PRUNE_PHASES, on_line=listen)
        finally:
            after = self.gate.objects()
            self._count(before, after, said)
        intro = f"Maintenance of {self.name} found after prune"
        self.gate.note([*audit.vanished(before, after, named), *audit.leftovers(after, named)], intro)
        if completed.exit_code:
            raise self.restic.error("prune", completed)
        return after

    def _windowed(self, args: list[str], parts: Parts, **settings: Any) -> Completed:
        version = self.restic.version()
        whole = "phases" in settings and not _phases.known(version)
        if whole:
            self.warnings.append(
                f"restic {'.'.join(map(str, version))} is newer than this collection knows: data/ and index/ of "
                f"{self.name} were unlocked while all of prune ran."
            )
        run = WindowedRun(
            self.restic,
            args,
            parts,
            self.open_window,
            whole=whole,
            windows=self.windows,
            timeout=self.wanted.prune_timeout,
            **settings,
        )
        try:
            return run.run()
        finally:
            if run.refused_first and "phases" in settings:
                self.warnings.append(
                    f"restic did not say when it began to delete: {self.name} was unlocked after a refused delete."
                )

    # The account -----------------------------------------------------------------------------------------------------

    def _prove(self) -> None:
        """Everything is locked again, and the repository is whole."""
        self.gate.locked()
        self.gate.note(self.gate.probe(), f"After maintenance of {self.name}")
        self.gate.sound(intro=f"After maintenance of {self.name}")

    def _count(self, before: Objects, after: Objects, said: Plan) -> None:
        old, new = ({key for key in found if key.startswith(f"{self.prefix}data/")} for found in (before, after))
        self.changed = self.changed or set(before) != set(after)
        self.figures.update(
            packs_removed=len(old - new),
            bytes_removed=sum(before[key].size for key in old) - sum(after[key].size for key in new),
            packs_repacked=said.repack_packs,
            bytes_repacked=said.repack_bytes,
        )

    def _report(self, decisions: Iterable[Decision], gone: Iterable[str]) -> None:
        gone, described = set(gone), self.gate.described
        self.snapshots = {
            "removed": [described[decision.id] for decision in decisions if decision.id in gone],
            "kept": [
                {**described[decision.id], "reasons": list(decision.reasons)}
                for decision in decisions
                if decision.id not in gone
            ],
        }

    def _predict(self, decisions: list[Decision], plan: Plan) -> None:
        self._report(decisions, [decision.id for decision in decisions if not decision.keep])
        self.changed = bool(self.snapshots["removed"]) or not plan.empty
        self.figures.update(
            packs_removed=plan.delete_packs + plan.unreferenced_packs + plan.repack_packs,
            bytes_removed=plan.remove_bytes,
            packs_repacked=plan.repack_packs,
            bytes_repacked=plan.repack_bytes,
        )


def maintenance_for(clients: Clients, dry_run: bool) -> Maintenance:
    """The maintenance that a module's parameters ask for."""
    params = clients.params
    _check_seconds(params)
    audit.parse_limit(params["max_remove"], 0)
    wanted = Wanted(
        policy=policy_from(params),
        expected=expected_from(params),
        max_remove=params["max_remove"],
        lock_wait=params["lock_wait"],
        prune_timeout=params["prune_timeout"],
        dry_run=dry_run,
        **remembered(clients),
    )
    restic = clients.restic(wanted.record.key_id if wanted.record else None)

    def window(parts: Parts) -> Window:
        return open_window(
            WindowSpec(
                clients.bucket,
                clients.prefix,
                parts,
                partial(cloudflare_client, dict(params)),
                partial(S3, endpoint(params), *clients.keys, bucket=clients.bucket),
                lease_seconds=params["lease_seconds"],
                cap_seconds=params["window_seconds"],
                open_patience=params["open_patience"],
                close_patience=params["close_patience"],
                log_path=params["log_path"],
            )
        )

    gate = Gate(restic, clients.s3, clients.cloudflare, wanted, clients.lock_probe)
    return Maintenance(gate, window, fence=partial(fence_for, clients))


def _check_seconds(params: Mapping[str, Any]) -> None:
    for name, (least, most) in _BOUNDS.items():
        if params[name] is not None and not least <= params[name] <= most:
            raise HoldfastError(f"{name} is {params[name]}; it must be from {least} to {most} seconds.")
