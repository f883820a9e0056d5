# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Chooses snapshots, and restores them into a folder. Also runs on backed-up hosts, with restic 0.14 or later.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any, Dict  # noqa: UP035

from .._audit.restore_listing import LONGEST_PATH, MOST_LEFT_OUT, Listing, ListingError, pattern
from .._common.process_signals import dies_with_parent
from .._common.progress import Progress
from .._common.untrusted import shown
from .._locks.rules import parse_date
from .._restic.cli import Completed, Restic, stop
from .._restic.confinement import Confined
from .._restic.jobs import Jobs
from .._restic.process import limit_memory
from .restore_said import RestoreError, Said
from .restore_target import Target, disarm, entries

# The first that reports in JSON, has --dry-run, leaves equal files alone, and never writes through a link.
RESTIC_OVERWRITES = (0, 17, 0)
RESTIC_CHOOSES_ATTRIBUTES = (0, 18, 0)
# An entry of a listing with the longest path that is looked at, and how much of restic's errors is.
LONGEST_LINE = 1 << 20
_MOST_SAID = 1 << 16
# How many snapshots are named that cannot be read, and as many that have no time.
MOST_WARNED = 20
# After so many entries of a listing it is told that there are more.
TOLD_EVERY = 500

Snapshot = Dict[str, Any]  # noqa: UP006


@dataclass(frozen=True)
class Selection:
    """The selection of a restore."""

    snapshot: str = "latest"
    paths: list[str] = field(default_factory=list)
    include: list[str] = field(default_factory=list)
    include_patterns: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    # Names and paths of jobs, of each of which the newest snapshot is meant; None for the newest of all.
    jobs: list[dict[str, Any]] | None = None


def choose(restic: Restic, selection: Selection) -> tuple[list[Snapshot], list[str]]:
    """The snapshots meant, oldest first, and what there is to say: what restic cannot read, what is not restored.

    What restic cannot read stops no restore.
    """
    latest, name = selection.snapshot == "latest", restic.repository.name
    if not latest and not re.fullmatch(r"[0-9a-f]{8,64}", selection.snapshot):
        raise RestoreError(f"{selection.snapshot!r} is neither 'latest' nor a snapshot id of at least 8 digits.")
    chosen = [f"--path={path}" for path in selection.paths] if latest else []
    found, ignored = restic.list_snapshots(chosen)
    warnings = [f"restic cannot read a snapshot of {name}: {line}" for line in ignored[:MOST_WARNED]]
    if len(ignored) > MOST_WARNED:
        warnings.append(f"restic cannot read {len(ignored) - MOST_WARNED} more snapshots of {name}.")
    if latest:
        found, more = dated(found, name)
        warnings += more
    else:
        found = [snapshot for snapshot in found if snapshot["id"].startswith(selection.snapshot)]
        if len(found) > 1:
            raise RestoreError(f"{selection.snapshot} is the beginning of {len(found)} snapshot ids in {name}.")
    if not found:
        raise RestoreError(f"Repository {name} has no snapshot that fits {' '.join([selection.snapshot, *chosen])}.")
    if not latest:
        return found, warnings
    if selection.jobs is None:
        return [max(found, key=_age)], warnings
    return sorted(newest_of_each(found, selection.jobs, name), key=_age), warnings


def dated(found: Iterable[Snapshot], name: str) -> tuple[list[Snapshot], list[str]]:
    """The snapshots whose time can be read, and what there is to say of the others, which are never the newest.

    A host chooses the time of its snapshots, and restic takes the year 0: no such snapshot keeps the others from being chosen.
    """
    there: list[Snapshot] = []
    odd: list[Snapshot] = []
    for snapshot in found:
        (odd if parse_date(snapshot.get("time")) is None else there).append(snapshot)
    warnings = [
        f"Snapshot {shown(one['id'], 64)} of {name} was left out, because its time cannot be read: {shown(one.get('time'), 60)}. "
        "Find out who wrote it."
        for one in odd[:MOST_WARNED]
    ]
    if len(odd) > MOST_WARNED:
        warnings.append(f"{len(odd) - MOST_WARNED} more snapshots of {name} were left out for the same reason.")
    return there, warnings


def newest_of_each(found: Iterable[Snapshot], jobs: Sequence[Mapping[str, Any]], name: str) -> list[Snapshot]:
    """The newest snapshot of each job.

    Args:
        found: The snapshots to choose among.
        jobs: Names and paths of jobs; without any, all snapshots must be of one.
        name: The repository.
    """
    known = Jobs(jobs)
    newest: dict[str, Snapshot] = {}
    for snapshot in sorted(found, key=_age):
        group = known.group(snapshot)
        newest[f"job {group.job}" if group.job else ", ".join(group.paths)] = snapshot
    there = "; ".join(shown(one) for one in sorted(newest))
    if not jobs and len(newest) > 1:
        raise RestoreError(
            f"Repository {name} has snapshots of several jobs: name a snapshot by its "
            f"id, or paths (for the playbook holdfast_restore_snapshot, holdfast_restore_paths), or give the host its "
            f"backup_jobs. There are snapshots of: {there}."
        )
    missing = [one for one in known.names if f"job {one}" not in newest]
    if missing:
        raise RestoreError(
            f"Repository {name} has no snapshot of the job {', '.join(missing)}, neither with its tag nor, from before jobs had "
            "tags, with the paths that it has now: choose among the other jobs (for the playbook holdfast_restore_job), or name "
            f"a snapshot by its id (holdfast_restore_snapshot). There are snapshots of: {there}."
        )
    return [newest[f"job {one}"] for one in dict.fromkeys(known.names)] if jobs else list(newest.values())


def _age(snapshot: Snapshot) -> tuple[Any, str]:
    return parse_date(snapshot["time"]), snapshot["id"]


@dataclass(frozen=True)
class How:
    """How to restore.

    Attributes:
        special: Whether devices, setuid and setgid bits, capabilities and attributes of the system are restored.
        confined: Whether restic may write nothing but the target.
        memory: How many bytes of memory restic may use; 0 for any number.
        spare: How many bytes of the disk stay free; 0 for none.
        progress: Is told where the restore is.
    """

    special: bool = False
    confined: bool = True
    check_mode: bool = False
    memory: int = 0
    spare: int = 0
    progress: Progress = field(default_factory=Progress)


def restore(restic: Restic, selection: Selection, target: Target, how: How) -> dict[str, Any]:
    """Restore, and return the result of the module. All that is meant is judged before anything is written."""
    included = _absolute(selection.include)
    snapshots, warnings = choose(restic, selection)
    if target.filled or len(snapshots) > 1:
        restic.require(RESTIC_OVERWRITES, "Restoring over files")
    how.progress.step("judging what the snapshot lists")
    listings = [listed(restic, snapshot["id"], target.path, how, included) for snapshot in snapshots]
    _refuse_missing(restic, snapshots, listings)
    if any(listing.bad_names for listing in listings):
        restic.require(RESTIC_OVERWRITES, "Restoring a snapshot with forged names")
    result = _result(snapshots, target, how, listings, warnings)
    if how.check_mode and restic.version() < RESTIC_OVERWRITES:
        return result
    before = _state(target.path) if target.filled else 0
    said = [
        _run(restic, snapshot["id"], selection, target, how, listing, result)
        for snapshot, listing in zip(snapshots, listings)
    ]
    if target.filled:
        changes = any(one.changes for one in said) if how.check_mode else _state(target.path) != before
        result["changed"] = changes or any(one.number("bytes_restored") > 0 for one in said)
    result.update(_counts(said, target.path))
    if result["files"] + sum(one.number("files_skipped") for one in said) == 0:
        raise RestoreError(
            f"Nothing was restored: nothing in {', '.join(one['id'][:8] for one in snapshots)} of {restic.repository.name} "
            "fits what is to be included and excluded."
        )
    return result


def _absolute(paths: Iterable[str]) -> list[str]:
    for path in paths:
        if not os.path.isabs(path):
            raise RestoreError(
                f"include has {path!r}, which is no absolute path: write it from / on, as the snapshot has it, or use "
                "include_patterns."
            )
    return [os.path.normpath(path) for path in paths]


def _refuse_missing(restic: Restic, snapshots: list[Snapshot], listings: list[Listing]) -> None:
    """Raise where a path that was to be included is in none of the snapshots."""
    missing = set.intersection(*(listing.missing for listing in listings))
    if missing:
        raise RestoreError(
            f"Nothing was restored: {', '.join(one['id'][:8] for one in snapshots)} of {restic.repository.name} has no "
            f"{', '.join(sorted(missing))}, which was to be included (paths are taken as they are; for patterns there is "
            "include_patterns)."
        )


def _result(
    snapshots: list[Snapshot], target: Target, how: How, listings: list[Listing], warnings: list[str]
) -> dict[str, Any]:
    """The result of the module as far as it is known before the restore."""
    told = [{key: snapshot.get(key) for key in ("id", "time", "hostname", "paths")} for snapshot in snapshots]
    return {
        "changed": True,
        "snapshot": told[-1],
        "snapshots": told,
        "target": target.path,
        "verified": not how.check_mode,
        "left_out": [item.as_dict() for listing in listings for item in listing.left_out],
        "warnings": warnings,
    }


def listed(restic: Restic, snapshot: str, target: str, how: How, included: Iterable[str] = ()) -> Listing:
    """The judged listing of a snapshot, and which of the included paths it lacks."""
    listing = Listing(devices=how.special, room=LONGEST_PATH - len(os.fsencode(target)) - 1, included=included)
    with tempfile.TemporaryFile() as said:
        process = restic.start(["ls", "--json", "--no-lock", snapshot], stderr=said, preexec_fn=dies_with_parent())
        try:
            if how.memory:
                limit_memory(process, how.memory)
            for number, node in enumerate(_nodes(process.stdout)):
                listing.add(node)
                if number % TOLD_EVERY == 0:
                    how.progress.moved()
            code = process.wait()
        except BaseException:
            stop(process)
            raise
        if code != 0:
            said.seek(max(0, said.seek(0, os.SEEK_END) - _MOST_SAID))
            raise restic.error("ls", Completed(code, "", said.read().decode(errors="replace")))
    return listing


def _nodes(stream: IO[str] | None) -> Iterator[dict[str, Any]]:
    if stream is None:
        return
    for line in iter(partial(stream.readline, LONGEST_LINE), ""):
        try:
            node = json.loads(line)
        except ValueError as error:
            raise ListingError(
                "The snapshot lists an entry that is too long or cannot be read; it is not restored."
            ) from error
        if isinstance(node, dict) and "node" in (node.get("struct_type"), node.get("message_type")):
            yield node


def _arguments(restic: Restic, selection: Selection, how: How, listing: Listing) -> list[str]:
    """restic's arguments for the selection and the way to restore it."""
    included = [pattern(os.path.normpath(path)) for path in selection.include] + selection.include_patterns
    args = [f"--include={one}" for one in included]
    args += [f"--exclude={one}" for one in selection.exclude]
    # restic takes patterns of one kind only.
    args += [f"--include=!{one}" if included else f"--exclude={one}" for one in listing.patterns]
    if not how.special and restic.version() >= RESTIC_CHOOSES_ATTRIBUTES:
        # Attributes of the system, which need more than a restore gets. Capabilities are taken away, and told, afterwards.
        excluded = ["trusted.*", "security.[^c]*" if os.geteuid() == 0 else "security.*"]
        args += [f"--exclude-xattr={pattern}" for pattern in excluded]
    # Long runs of zeros come back as holes: a disk image that was sparse could fill the disk otherwise.
    args += ["--sparse", "--json"] if restic.version() >= RESTIC_OVERWRITES else []
    # Each entry is told only where it is asked for.
    return [*args, *(["--dry-run", "-vv"] if how.check_mode else ["--verify"])]


def _run(
    restic: Restic,
    snapshot: str,
    selection: Selection,
    target: Target,
    how: How,
    listing: Listing,
    result: dict[str, Any],
) -> Said:
    """Restore; returns restic's messages. Rights that were taken away afterwards are added to the result."""
    # --no-lock: a restore must be possible when a host has filled locks/, and with keys that can only read
    args = ["restore", snapshot, "--no-lock", f"--target={target.path}", *_arguments(restic, selection, how, listing)]
    if not how.check_mode:
        target.make()
    runs = restic
    if how.confined and not how.check_mode:
        runs = Confined(restic, [target.path, *_cache(restic)], special=how.special)
    how.progress.step(f"restoring snapshot {snapshot[:8]}")
    said = Said(target.path, 0 if how.check_mode else how.spare, how.progress, compares=not how.check_mode)
    try:
        # Else it says sixty times a second how far it is.
        environment = {**runs.environment(), "RESTIC_PROGRESS_FPS": "1" if how.spare else "0.1"}
        completed = runs.run(args, take=said.hear, env=environment, memory=how.memory)
    finally:
        if not (how.special or how.check_mode):
            result["left_out"] += [item.as_dict() for item in disarm(target.path, MOST_LEFT_OUT)]
    if completed.exit_code != 0 and not (listing.bad_names and said.bad_names and not said.other_errors):
        raise restic.error("restore", completed)
    return said


def _cache(restic: Restic) -> list[str]:
    """restic's cache, without which it would ask for each folder of the snapshot several times; it is there by now."""
    folder = restic.environment().get("RESTIC_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "restic"
    )
    return [os.path.realpath(folder)] if os.path.isdir(folder) else []


def _state(target: str) -> int:
    """A number for what a restore can change about everything below the target, but for the content of files.

    For any number of entries, in any order.
    """
    state = 0
    for path, status in entries(target):
        link = os.readlink(path) if stat.S_ISLNK(status.st_mode) else None
        about = (status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns, link)
        digest = hashlib.sha256(os.fsencode(path) + b"\0" + os.fsencode(repr(about))).digest()
        state = (state + int.from_bytes(digest, "big")) % (1 << 256)
    return state


def _counts(said: list[Said], target: str) -> dict[str, int]:
    """How much was restored: restic's own count, or, before 0.17, what is in the target, which was empty."""
    if all(one.counted for one in said):
        return {
            "files": sum(one.number("files_restored") for one in said),
            "bytes": sum(one.number("bytes_restored") for one in said),
        }
    files = size = 0
    for _path, status in entries(target):
        files, size = files + 1, size + (status.st_size if stat.S_ISREG(status.st_mode) else 0)
    return {"files": files, "bytes": size}
