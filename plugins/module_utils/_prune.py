# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintenance of one repository: look, decide, forget, prune, look again.

restic deletes in two windows only: snapshots/ for forget, index/ and data/ for the end of prune. Everything else happens
under lock.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Optional

from ansible_collections.holdfast.restic_r2.plugins.module_utils import _audit as audit
from ansible_collections.holdfast.restic_r2.plugins.module_utils import _phases
from ansible_collections.holdfast.restic_r2.plugins.module_utils._clients import Clients
from ansible_collections.holdfast.restic_r2.plugins.module_utils._cloudflare import Cloudflare, cloudflare_client
from ansible_collections.holdfast.restic_r2.plugins.module_utils._control import elapsed
from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._lock_rules import format_date, lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._phases import Phase
from ansible_collections.holdfast.restic_r2.plugins.module_utils._record import (
    Record,
    RecordError,
    folder,
    load,
    stored,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import Completed, Restic
from ansible_collections.holdfast.restic_r2.plugins.module_utils._retention import (
    Decision,
    Policy,
    Snapshot,
    claimed_time,
    decide,
    policy_from,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._s3 import S3, S3Object, endpoint
from ansible_collections.holdfast.restic_r2.plugins.module_utils._signals import Interrupted, signals_raise
from ansible_collections.holdfast.restic_r2.plugins.module_utils._window import Window, WindowSpec, open_window
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windowed_run import Parts, WindowedRun

MINIMUM = (0, 19, 0)
# What prune needs open at which of its phases; nothing for a phase that closes what is open.
_PRUNE_PHASES: dict[Phase, Parts] = {
    Phase.UNREFERENCED: ("data",),
    Phase.REPACKING: (),
    Phase.INDEX: ("index", "data"),
    Phase.REMOVING: ("index", "data"),
    Phase.DONE: (),
}
_WINDOW_FIELDS = ("repository", "prefixes", "opened", "closed", "seconds", "ended_by", "in_force")


@dataclass(frozen=True)
class Wanted:
    """What the maintenance is to do.

    Args:
        policy: Which snapshots to keep.
        by_upload: Decide by the server's upload times; else by the times that the snapshots claim.
        max_remove: How many snapshots may go at once, as a number or a percentage.
        read_duplicates: When data is there twice, read all of it before going on; else refuse.
        lock_wait: Seconds to wait for other restic processes to end.
        prune_timeout: Seconds that prune may take.
        repository_id: The id that the repository must have.
        record: What was recorded about the repository.
        copies: The recorded content of objects, by name ("config", "keys/…").
        dry_run: Only say what would be done.
    """

    policy: Policy
    by_upload: bool = True
    max_remove: str = "90%"
    read_duplicates: bool = True
    lock_wait: float = 600.0
    prune_timeout: Optional[float] = None
    repository_id: Optional[str] = None
    record: Optional[Record] = None
    copies: Mapping[str, bytes] = field(default_factory=dict)
    dry_run: bool = False


class Maintenance:
    """Maintenance of one repository. `outcome` tells at any time what was done so far."""

    def __init__(
        self,
        restic: Restic,
        s3: S3,
        cloudflare: Cloudflare,
        open_window: Callable[[Parts], Window],
        wanted: Wanted,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.restic = restic
        self.s3 = s3
        self.cloudflare = cloudflare
        self.open_window = open_window
        self.wanted = wanted
        self.sleep = sleep
        self.prefix = restic.repository.prefix
        self.name = restic.repository.name
        self.windows: list[dict[str, Any]] = []
        self.findings: list[audit.Finding] = []
        self.warnings: list[str] = []
        self.figures: dict[str, Any] = {
            "removed": [],
            "kept": [],
            "packs_removed": 0,
            "bytes_removed": 0,
            "packs_repacked": 0,
            "bytes_repacked": 0,
        }
        self.changed = False

    @property
    def outcome(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            **self.figures,
            "windows": [{name: window.get(name) for name in _WINDOW_FIELDS} for window in self.windows],
            "findings": [finding.as_dict() for finding in self.findings],
        }

    def run(self) -> dict[str, Any]:
        """Do it. An error that is raised carries the outcome so far."""
        try:
            with signals_raise():
                self._run()
        except HoldfastError as error:
            error.details = {**self.outcome, **error.details}
            raise
        except Interrupted as signal:
            raise HoldfastError(
                f"Maintenance of {self.name} was ended by {signal}; restic was stopped, and what was open is closed.",
                **self.outcome,
            ) from signal
        return self.outcome

    def _run(self) -> None:
        self.restic.require(MINIMUM, "Maintenance")
        self._check_locks()
        before = self._objects()
        self._check_identity(before)
        decisions = self._decide(before)
        going = [decision.id for decision in decisions if not decision.keep]
        plan = self._plan(going)
        self._stop_if_blocked(f"No window is opened for {self.name}")
        if self.wanted.dry_run:
            self._predict(decisions, plan)
        elif going or not plan.empty:
            self._await_other_restics()
            self._forget(before, decisions)
            self._prune(before, plan)
            self._prove()
        else:
            self._report(decisions, going=())

    # The gate --------------------------------------------------------------------------------------------------------

    def _stop_if_blocked(self, intro: str) -> None:
        audit.stop_if_blocked(self.findings, intro)

    def _check_locks(self) -> None:
        """The rules as they are written, and what R2 makes of them."""
        rules = self.cloudflare.lock_rules(self.restic.repository.bucket)
        self.findings += audit.locks(rules, self.prefix, self.cloudflare.server_time())
        self._stop_if_blocked(f"No window is opened for {self.name}")

    def _check_identity(self, before: Mapping[str, S3Object]) -> None:
        """The same repository, with the same keys, as was recorded; and every prefix is really locked."""
        wanted, record = self.wanted, self.wanted.record
        expected = [wanted.repository_id, record.repository_id if record else None]
        self.findings += audit.identity(self.restic.open(), expected)
        if record:
            changed = [
                name
                for name, content in wanted.copies.items()
                if self.prefix + name in before and self.s3.get(self.prefix + name) != content
            ]
            self.findings += audit.recorded(self._names(before, "keys"), record.keys, changed)
        self.findings += self._probe(before)
        self._stop_if_blocked(f"No window is opened for {self.name}")

    def _probe(self, objects: Mapping[str, S3Object]) -> list[audit.Finding]:
        states = {}
        for rule in lock_set(self.prefix):
            key = next((key for key in objects if key.startswith(rule["prefix"])), None)
            # Nothing to hold is no danger; what must be there is looked for elsewhere.
            states[rule["prefix"]] = self.s3.probe(key) if key else "locked"
        return audit.enforcement(states)

    def _decide(self, before: Mapping[str, S3Object]) -> list[Decision]:
        snapshots = self.restic.snapshots()
        names = self._names(before, "snapshots")
        uploaded = {name: before[f"{self.prefix}snapshots/{name}"].last_modified for name in names}
        self.findings += audit.readable(names, snapshots)
        self._stop_if_blocked(f"No window is opened for {self.name}")
        self.findings += audit.clocks(snapshots, uploaded)

        def upload_time(snapshot: Snapshot) -> datetime:
            return uploaded[snapshot["id"]]

        time_of = upload_time if self.wanted.by_upload else claimed_time
        decisions = decide(snapshots, self.wanted.policy, time_of=time_of, now=self.cloudflare.server_time())
        self.findings += audit.removals(decisions, self.wanted.max_remove)
        self._described = {
            snapshot["id"]: {
                "id": snapshot["id"],
                "time": snapshot.get("time"),
                "uploaded": format_date(uploaded[snapshot["id"]]),
                "host": snapshot.get("hostname"),
                "paths": snapshot.get("paths"),
            }
            for snapshot in snapshots
        }
        return decisions

    def _plan(self, going: list[str]) -> _phases.Plan:
        """What prune would do once these snapshots are gone."""
        command = ["forget", "--prune", *going] if going else ["prune"]
        plan = _phases.read_plan(self.restic.succeed([*command, "--dry-run", "--no-lock", "-v"]).stdout)
        if not plan.complete:
            raise HoldfastError(
                f"The dry run of restic {_dotted(self.restic.version())} on {self.name} was not understood; "
                "nothing was changed. Use a restic that this collection knows."
            )
        if plan.duplicate_blobs and self.wanted.read_duplicates:
            # Any copy is as good as the other when all of them are intact.
            self._check(read_data=True)
        self.findings += audit.duplicates(plan.duplicate_blobs, verified=self.wanted.read_duplicates)
        return plan

    # The work --------------------------------------------------------------------------------------------------------

    def _await_other_restics(self) -> None:
        """Wait until nobody works in the repository: waiting inside a window would keep it open."""
        deadline = elapsed() + self.wanted.lock_wait
        if self._restic_locks():
            # Removes only locks of processes that are certainly gone.
            self.restic.run(["unlock"])
        while self._restic_locks():
            if elapsed() >= deadline:
                raise HoldfastError(
                    f"Another restic works in {self.name}; maintenance waited for it for {self.wanted.lock_wait:g} "
                    "seconds. Run it again later, or see restic list locks if nothing runs."
                )
            self.sleep(2)

    def _restic_locks(self) -> list[S3Object]:
        return self.s3.list(f"{self.prefix}locks/")

    def _forget(self, before: Mapping[str, S3Object], decisions: Iterable[Decision]) -> None:
        going = [decision.id for decision in decisions if not decision.keep]
        completed = None
        try:
            if going:
                # Its own lock object is the last thing that restic writes before it deletes.
                completed = self._windowed(["forget", *going], ("snapshots",), ready=lambda: bool(self._restic_locks()))
        finally:
            listed = {found.key: found for found in self.s3.list(f"{self.prefix}snapshots/")}
            gone = set(self._names(before, "snapshots")) - set(self._names(listed, "snapshots"))
            self.changed = bool(gone)
            self._report(decisions, gone)
        own = {key: found for key, found in before.items() if key.startswith(f"{self.prefix}snapshots/")}
        self.findings += audit.vanished(own, listed, [f"{self.prefix}snapshots/{name}" for name in going])
        self._stop_if_blocked(f"Maintenance of {self.name} stopped after forget")
        if completed and completed.exit_code:
            raise self.restic.error("forget", completed)
        if gone != set(going):
            raise HoldfastError(
                f"restic forget removed {len(gone)} of {len(going)} snapshots of {self.name}; prune was not started."
            )

    def _prune(self, before: Mapping[str, S3Object], plan: _phases.Plan) -> None:
        """Prune, and compare what is there with what was there and with what restic says that it removed."""
        named: list[str] = []
        said = _phases.Plan()

        def listen(line: str) -> None:
            said.read(line)
            removed = _phases.removed(line)
            if removed:
                named.append(self.prefix + removed)
            if said.duplicate_blobs > plan.duplicate_blobs:
                raise audit.GateError(
                    f"prune of {self.name} was stopped before it deleted anything: it found {said.duplicate_blobs} "
                    f"duplicate blobs, {plan.duplicate_blobs} were there a moment ago. Somebody adds index objects."
                )

        completed = None
        try:
            command = ["prune", "-vv", "--retry-lock", f"{self.wanted.lock_wait:.0f}s"]
            completed = self._windowed(command, ("index", "data"), phases=_PRUNE_PHASES, on_line=listen)
        finally:
            after = self._objects()
            self._count(before, after, said)
        gone = [f"{self.prefix}snapshots/{snapshot['id']}" for snapshot in self.figures["removed"]]
        self.findings += audit.vanished(before, after, [*named, *gone])
        self.findings += audit.leftovers(after, named)
        self._stop_if_blocked(f"prune of {self.name} did more than it said")
        if completed and completed.exit_code:
            raise self.restic.error("prune", completed)

    def _windowed(self, args: list[str], parts: Parts, **settings: Any) -> Completed:
        whole = bool(settings.get("phases")) and not _phases.known(self.restic.version())
        run = WindowedRun(
            self.restic, args, parts, self.open_window,
            whole=whole, windows=self.windows, timeout=self.wanted.prune_timeout, **settings,
        )  # fmt: skip
        if whole:
            self.warnings.append(
                f"restic {_dotted(self.restic.version())} is newer than this collection knows: {self.name} was unlocked "
                "while all of prune ran."
            )
        completed = run.run()
        if run.refused_first and settings.get("phases"):
            self.warnings.append(
                f"restic prune did not say when it began to delete: {self.name} was unlocked after a refused delete."
            )
        return completed

    # The account -----------------------------------------------------------------------------------------------------

    def _prove(self) -> None:
        """Everything is locked again, and the repository is whole."""
        self._check_locks()
        after = self._objects()
        self.findings += self._probe(after)
        self._stop_if_blocked(f"After maintenance of {self.name}")
        self._check()

    def _check(self, read_data: bool = False) -> None:
        errors = self.restic.check(read_data=read_data)
        if errors:
            raise HoldfastError(f"Repository {self.name} has errors, the first: {errors[0]}.")

    def _count(self, before: Mapping[str, S3Object], after: Mapping[str, S3Object], said: _phases.Plan) -> None:
        old, new = ({key for key in found if key.startswith(f"{self.prefix}data/")} for found in (before, after))
        self.changed = self.changed or set(before) != set(after)
        self.figures.update(
            packs_removed=len(old - new),
            bytes_removed=sum(before[key].size for key in old) - sum(after[key].size for key in new),
            packs_repacked=said.repack_packs,
            bytes_repacked=said.repack_bytes,
        )

    def _report(self, decisions: Iterable[Decision], going: Iterable[str]) -> None:
        going = set(going)
        self.figures["removed"] = [self._described[name] for name in self._described if name in going]
        self.figures["kept"] = [
            {**self._described[decision.id], "reasons": list(decision.reasons)}
            for decision in decisions
            if decision.id not in going
        ]

    def _predict(self, decisions: list[Decision], plan: _phases.Plan) -> None:
        self._report(decisions, [decision.id for decision in decisions if not decision.keep])
        self.changed = bool(self.figures["removed"]) or not plan.empty
        self.figures.update(
            packs_removed=plan.delete_packs + plan.unreferenced_packs + plan.repack_packs,
            bytes_removed=plan.remove_bytes,
            packs_repacked=plan.repack_packs,
            bytes_repacked=plan.repack_bytes,
        )

    # Listings --------------------------------------------------------------------------------------------------------

    def _objects(self) -> dict[str, S3Object]:
        """Everything that the lock set holds, by key."""
        return {item.key: item for rule in lock_set(self.prefix) for item in self.s3.iterate(rule["prefix"])}

    def _names(self, objects: Iterable[str], part: str) -> list[str]:
        start = f"{self.prefix}{part}/"
        return [key[len(start):] for key in objects if key.startswith(start)]


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def maintenance_for(clients: Clients, dry_run: bool) -> Maintenance:
    """The maintenance that a module's parameters ask for."""
    params = clients.params
    policy = policy_from(params)
    audit.parse_limit(params["max_remove"], 0)
    record, copies = _recorded(params["record_dir"], clients.bucket, clients.prefix)
    wanted = Wanted(
        policy=policy,
        by_upload=params["retention_time"] == "uploaded",
        max_remove=params["max_remove"],
        read_duplicates=params["duplicates"] == "verify",
        lock_wait=params["lock_wait"],
        prune_timeout=params["prune_timeout"],
        repository_id=params["repository_id"],
        record=record,
        copies=copies,
        dry_run=dry_run,
    )
    restic = clients.restic(record.key_id if record else None)

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

    return Maintenance(restic, clients.s3, clients.cloudflare, window, wanted)


def _recorded(record_dir: Optional[str], bucket: str, prefix: str) -> tuple[Optional[Record], dict[str, bytes]]:
    """The record and the copies of objects that it holds."""
    if not record_dir:
        return None, {}
    path = folder(record_dir, bucket, prefix)
    record = load(path)
    if record is None:
        raise RecordError(f"There is no record of {bucket}/{prefix} in {record_dir}; make it with restic_repository.")
    copies = {name: stored(path, name) for name in ("config", *(f"keys/{name}" for name in record.keys))}
    return record, {name: content for name, content in copies.items() if content is not None}
