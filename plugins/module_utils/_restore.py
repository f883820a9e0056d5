# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restoring a snapshot into a folder. Also runs on backed-up hosts, with restic 0.14 or later.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._lock_rules import parse_date
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import Restic

# The first that reports in JSON, has --dry-run, leaves equal files alone, and never writes through a link.
RESTIC_OVERWRITES = (0, 17, 0)


class RestoreError(HoldfastError):
    """What to restore, or where to, is not usable."""


@dataclass(frozen=True)
class Selection:
    """What to restore."""

    snapshot: str = "latest"
    host: str | None = None
    paths: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    include: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)


def filters(host: str | None, paths: list[str], tags: list[str]) -> list[str]:
    """restic's arguments that choose among the snapshots."""
    chosen = [f"--host={host}"] if host else []
    chosen += [f"--path={path}" for path in paths]
    return chosen + ([f"--tag={','.join(tags)}"] if tags else [])


def choose(restic: Restic, selection: Selection) -> tuple[dict[str, Any], list[str]]:
    """The one snapshot meant, and what restic says of snapshots that it cannot read: those stop no restore."""
    latest, name = selection.snapshot == "latest", restic.repository.name
    if not latest and not re.fullmatch(r"[0-9a-f]{8,64}", selection.snapshot):
        raise RestoreError(f"{selection.snapshot!r} is neither 'latest' nor a snapshot id of at least 8 digits.")
    chosen = filters(selection.host, selection.paths, selection.tags) if latest else []
    found, ignored = restic.list_snapshots(chosen)
    if not latest:
        found = [snapshot for snapshot in found if snapshot["id"].startswith(selection.snapshot)]
        if len(found) > 1:
            raise RestoreError(f"{selection.snapshot} is the beginning of {len(found)} snapshot ids in {name}.")
    if not found:
        raise RestoreError(f"Repository {name} has no snapshot that fits {' '.join([selection.snapshot, *chosen])}.")
    timed = [(parse_date(snapshot["time"]), snapshot["id"], snapshot) for snapshot in found]
    if any(item[0] is None for item in timed):
        raise RestoreError(f"A snapshot of repository {name} has a time that cannot be read.")
    return max(timed, key=lambda item: item[:2])[2], ignored


def restore(
    restic: Restic, selection: Selection, target: str, *, verify: bool, overwrite: bool, check_mode: bool
) -> dict[str, Any]:
    """Restore, and return the result of the module."""
    filled = _filled(target, overwrite)
    if filled:
        restic.require(RESTIC_OVERWRITES, "Restoring over files")
    snapshot, ignored = choose(restic, selection)
    result: dict[str, Any] = {
        "changed": True,
        "snapshot": {key: snapshot.get(key) for key in ("id", "time", "hostname", "paths")},
        "target": target,
        "verified": verify and not check_mode,
        "warnings": [f"restic cannot read a snapshot of {restic.repository.name}: {line}" for line in ignored],
    }
    reports = restic.version() >= RESTIC_OVERWRITES
    if check_mode and not reports:
        return result
    before = _tree(target) if filled else {}
    # --no-lock: a restore must be possible when somebody has filled locks/, and with keys that can only read
    args = ["restore", snapshot["id"], "--no-lock", f"--target={target}"]
    args += [f"--include={pattern}" for pattern in selection.include]
    args += [f"--exclude={pattern}" for pattern in selection.exclude]
    # Long runs of zeros come back as holes: a disk image that was sparse could fill the disk otherwise.
    args += ["--sparse"] if reports else []
    args += ["--dry-run"] if check_mode else ["--verify"] if verify else []
    completed = restic.succeed([*args, *(["--json", "-vv"] if reports else [])])
    messages = _messages(completed.stdout) if reports else []
    if filled:
        changes = _predicted(messages, target) if check_mode else _tree(target) != before
        result["changed"] = changes or _number(messages, "bytes_restored") > 0
    result.update(_counts(messages, target))
    if result["files"] + _number(messages, "files_skipped") == 0:
        result["changed"] = False
        result["warnings"].append(f"Nothing in snapshot {snapshot['id']} fits what is to be included and excluded.")
    return result


def _filled(target: str, overwrite: bool) -> bool:
    """Whether there is something in the target already; refuse what cannot or must not be restored into."""
    if not os.path.isabs(target):
        raise RestoreError(f"The target {target!r} is not an absolute path.")
    try:
        filled = bool(os.listdir(target))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RestoreError(f"The target {target} is not a folder that can be read: {error.strerror}.") from error
    if filled and not overwrite:
        raise RestoreError(
            f"The target {target} is not empty: choose an empty folder, or set overwrite to true (for the playbook restore "
            "holdfast_restore_overwrite)."
        )
    return filled


def _tree(target: str) -> dict[str, tuple[Any, ...]]:
    """What a restore can change about everything below the target, but for the content of files."""
    found = {}
    for parent, folders, files in os.walk(target):
        for name in folders + files:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            link = os.readlink(path) if os.path.islink(path) else None
            found[path] = (status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns, link)
    return found


def _messages(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]


def _predicted(messages: list[dict[str, Any]], target: str) -> bool:
    """Whether a dry run would have changed a file, or made something. Folders and links are always in its list."""
    for message in messages:
        path = os.path.join(target, str(message.get("item", "")).lstrip("/"))
        if message.get("action") == "updated" or (message.get("action") == "restored" and not os.path.lexists(path)):
            return True
    return False


def _number(messages: list[dict[str, Any]], name: str) -> int:
    return next((int(item.get(name, 0)) for item in messages if item.get("message_type") == "summary"), 0)


def _counts(messages: list[dict[str, Any]], target: str) -> dict[str, int]:
    """How much was restored: restic's own count, or, before 0.17, what is in the target, which was empty."""
    if messages:
        return {"files": _number(messages, "files_restored"), "bytes": _number(messages, "bytes_restored")}
    tree = _tree(target)
    return {"files": len(tree), "bytes": sum(status[3] for status in tree.values() if stat.S_ISREG(status[0]))}
