# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tries a restore: restores the newest snapshot of a job into a folder, proves it, runs its command, and removes it.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, Optional

from .._clients import Clients
from .._common.clock import elapsed
from .._common.dates import format_date
from .._common.errors import HoldfastError
from .._common.process_signals import Interrupted, dies_with_parent, longer, signals_raise
from .._common.progress import Progress
from .._common.untrusted import shown
from .._restic.cli import Restic, ResticError
from .._restic.confinement import require
from .._restic.drill_sandbox import NOBODY, SPARE, Limits, run
from .._restic.jobs import Jobs, paths_of
from .._restic.process import half_of_memory, limit_memory, stop
from .drill_expect import Expect, expects, problems
from .drill_folder import drill_folder, require_room
from .list_snapshots import stored_times
from .restore import LONGEST_LINE, RESTIC_CHOOSES_ATTRIBUTES, TOLD_EVERY, How, Selection, dated, restore
from .restore_said import RestoreError, free_space
from .restore_target import Target, entries, inspect

# How many files a sample has at most; their names are arguments of restic.
_MOST_SAMPLED = 500
_SAID = 500
# A sample of fewer bytes is restored in the time that restic needs to begin: it does not tell how long all would take.
_TELLING = 64 << 20
_LIMIT = "seconds (holdfast_drill_seconds)"


class DrillError(HoldfastError):
    """The drill failed, or could not be done."""


@dataclass(frozen=True)
class Plan:
    """The plan of a drill.

    Attributes:
        job: The name of the job.
        jobs: All jobs of the host, with name and paths.
        hosts: The names of the host in its snapshots; any when there are none.
        folder: The folder of all drills.
        bytes: How much is restored at most.
        seconds: How long it may take, with the command.
        memory: How much memory each process of the command may use.
        seed: What chooses the sample.
        time: R2's time.
        command: The command that must succeed on the restored tree.
        expect: What the tree must hold.
    """

    job: str
    jobs: Sequence[Mapping[str, Any]]
    hosts: Sequence[str]
    folder: str
    bytes: int
    seconds: int
    memory: int
    seed: str
    time: datetime
    command: Sequence[str] = ()
    expect: Sequence[Mapping[str, Any]] = ()


@dataclass
class Drill:
    """The result of a drill."""

    job: str
    changed: bool = False
    ok: bool = False
    snapshot: Optional[str] = None
    stored: Optional[str] = None
    sample: bool = False
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    bytes_per_second: Optional[int] = None
    all_files: int = 0
    all_bytes: int = 0
    all_seconds: Optional[int] = None
    proved_by: Optional[str] = None
    command: Optional[dict[str, Any]] = None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass
class _Contents:
    """What a snapshot lists: how much, and a sample of its files."""

    files: int = 0
    bytes: int = 0
    entries: int = 0
    sample: list[str] = field(default_factory=list)


class Driller:
    """One drill. `outcome` tells at any time what came of it.

    Args:
        clients: The clients of the repository.
        plan: What is drilled.
        progress: Is told where the drill is.
    """

    def __init__(self, clients: Clients, plan: Plan, progress: Progress | None = None) -> None:
        self.outcome = Drill(plan.job)
        self._clients, self._plan = clients, plan
        self._progress = progress or Progress()
        self._expected: list[Expect] = expects(plan.expect)

    def run(self, check_mode: bool = False) -> None:
        """Do it. The outcome is there also when this raises."""
        try:
            with self._progress.told(), signals_raise(self._plan.seconds):
                self._run(check_mode)
        except OSError as error:
            # A host chooses the modes of what is restored; only root reads all of them.
            raise DrillError(
                f"The drill of job {self._plan.job} could not be done: {error.filename or 'the machine'}: {error.strerror}."
            ) from error
        except Interrupted as signal:
            raise DrillError(
                f"The drill of job {self._plan.job} was ended by {signal}; its folder was removed.{longer(signal, _LIMIT)}"
            ) from None

    def _run(self, check_mode: bool) -> None:
        step = self._progress.step
        step("looking for the newest snapshot")
        restic = self._clients.open_repository()
        restic.require(RESTIC_CHOOSES_ATTRIBUTES, "A restore drill")
        snapshot = self._newest(restic)
        step("summing up the snapshot")
        contents = self._contents(restic, snapshot["id"])
        self.outcome.all_files, self.outcome.all_bytes = contents.files, contents.bytes
        if contents.files == 0:
            raise DrillError(f"The newest snapshot of job {self._plan.job}, {snapshot['id'][:8]}, holds no file.")
        self.outcome.sample = contents.bytes > self._plan.bytes
        if self.outcome.sample and (self._plan.command or self._expected):
            raise DrillError(
                f"The newest snapshot of job {self._plan.job} has {contents.bytes} bytes, more than the {self._plan.bytes} that "
                "are restored at most, and its command needs all of it: raise holdfast_drill_bytes, or drill.bytes of the job."
            )
        if not check_mode:
            self._drill(restic, snapshot["id"], contents)

    def _newest(self, restic: Restic) -> dict[str, Any]:
        """The newest snapshot of the job by the time at which it was stored."""
        plan, name = self._plan, self._plan.job
        uploads = stored_times(self._clients.s3, self._clients.prefix)
        jobs = Jobs(plan.jobs, plan.hosts)
        found = restic.list_snapshots()[0]
        own = [one for one in found if one["id"] in uploads and jobs.of(one) == name]
        # As a restore leaves them out.
        own, self.outcome.warnings = dated(own, restic.repository.name)
        if not own:
            raise DrillError(f"Repository {restic.repository.name} has no snapshot of job {name}.")
        newest = max(own, key=lambda one: (uploads[one["id"]], one["id"]))
        paths = next(paths_of(job["paths"]) for job in plan.jobs if job["name"] == name)
        if paths_of(newest.get("paths") or ()) != paths:
            raise DrillError(
                f"The newest snapshot of job {name}, {newest['id'][:8]}, does not have the paths of the job: it has "
                f"{', '.join(map(str, newest.get('paths') or ())) or 'none'}."
            )
        self.outcome.snapshot = newest["id"]
        self.outcome.stored = format_date(uploads[newest["id"]].replace(microsecond=0))
        return newest

    def _contents(self, restic: Restic, snapshot: str) -> _Contents:
        """Sum up what the snapshot lists; no more of it is kept than the sample."""
        found, heap, size = _Contents(), [], 0  # type: ignore[var-annotated]
        process = restic.start(["ls", "--json", "--no-lock", snapshot], preexec_fn=dies_with_parent())
        try:
            # A host chooses how large its folders are.
            limit_memory(process, half_of_memory())
            for line in iter(partial(process.stdout.readline, LONGEST_LINE), ""):  # type: ignore[union-attr]
                node = _node(line)
                found.entries += bool(node)
                if found.entries % TOLD_EVERY == 0:
                    self._progress.moved()
                if node.get("type") != "file":
                    continue
                length = node["size"] if isinstance(node.get("size"), int) and node["size"] > 0 else 0
                found.files, found.bytes = found.files + 1, found.bytes + length
                path = str(node.get("path", ""))
                rank = hashlib.sha256(f"{self._plan.seed}\0{path}".encode("utf-8", "surrogatepass")).hexdigest()
                if "\ufffd" in path or "\0" in path or length > self._plan.bytes:
                    continue
                heapq.heappush(heap, (_Turned(rank), path, length))
                size += length
                while len(heap) > _MOST_SAMPLED or size > self._plan.bytes:
                    size -= heapq.heappop(heap)[2]
            code = process.wait()
        finally:
            stop(process, 0.0)
        if code != 0:
            raise ResticError(f"restic ls on {restic.repository.name} failed with exit status {code}.", exit_code=code)
        found.sample = sorted(path for _rank, path, _length in heap)
        return found

    def _drill(self, restic: Restic, snapshot: str, contents: _Contents) -> None:
        plan, outcome = self._plan, self.outcome
        include = contents.sample if outcome.sample else []
        if outcome.sample and not include:
            raise DrillError(
                f"The newest snapshot of job {plan.job} has no file of {plan.bytes} bytes or less: raise holdfast_drill_bytes."
            )
        with drill_folder(plan.folder) as folder:
            outcome.changed = True
            tree, work = os.path.join(folder, "tree"), os.path.join(folder, "work")
            require_room(folder, min(contents.bytes, plan.bytes) + 4096 * contents.entries * (not outcome.sample))
            target = inspect(tree)
            require(target.path, special=False)
            self._restore(restic, snapshot, include, target)
            os.mkdir(work, 0o700)
            self._progress.step("looking at the files")
            outcome.problems += problems(self._expected, tree, plan.time)
            if plan.command:
                self._run_command(tree, work)
        if outcome.problems:
            raise DrillError(f"The drill of job {plan.job} failed: {' '.join(outcome.problems)}")
        outcome.ok = True

    def _restore(self, restic: Restic, snapshot: str, include: list[str], target: Target) -> None:
        began, outcome = elapsed(), self.outcome
        try:
            how = How(memory=half_of_memory(), spare=SPARE, progress=self._progress)
            done = restore(restic, Selection(snapshot=snapshot, include=include), target, how)
        except (ResticError, RestoreError) as error:
            if free_space(os.path.dirname(target.path)) < SPARE:
                raise DrillError(
                    f"The disk of {os.path.dirname(target.path)} was full before the snapshot was restored: choose a larger one "
                    "(holdfast_drill_dir), or restore less (holdfast_drill_bytes)."
                ) from error
            raise
        outcome.seconds = round(elapsed() - began, 2)
        outcome.files, outcome.bytes = done["files"], done["bytes"]
        outcome.proved_by = "restic restore --verify"
        if outcome.bytes:
            outcome.bytes_per_second = int(outcome.bytes / max(outcome.seconds, 0.01))
            if not outcome.sample or outcome.bytes >= _TELLING:
                outcome.all_seconds = round(outcome.all_bytes / max(1, outcome.bytes_per_second))

    def _run_command(self, tree: str, work: str) -> None:
        plan = self._plan
        self._progress.step("running the command")
        if os.geteuid() == 0:
            for path in chain((tree, work), (path for path, _status in entries(tree))):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        ended = run(plan.command, tree, work, Limits(plan.seconds, plan.memory))
        said = shown(ended.said[-_SAID:], _SAID)
        self.outcome.command = {"status": ended.status, "seconds": ended.seconds, "said": said}
        if ended.why:
            self.outcome.problems.append(f"The command was ended after {ended.seconds:g} seconds: {ended.why}.")
        elif ended.status != 0:
            self.outcome.problems.append(
                f"The command failed with exit status {ended.status}: {said or 'it said nothing'}."
            )


class _Turned(str):
    """A text that comes before those that it would come after: a heap gives the smallest first."""

    def __lt__(self, other: str) -> bool:
        return str(self) > str(other)


def _node(line: str) -> dict[str, Any]:
    try:
        node = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DrillError(
            "The snapshot lists an entry that is too long or cannot be read; it is not restored."
        ) from error
    return node if isinstance(node, dict) and "node" in (node.get("struct_type"), node.get("message_type")) else {}
