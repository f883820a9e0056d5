# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sees that a repository is the recorded one; makes it where there never was one, and records it.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from .._audit.survey import at_most
from .._clients import Clients
from .._common.record import Record, folder, load, recorded_as, save, stored
from .._r2.s3 import S3
from .._restic.cli import MINIMUM, Restic, ResticError
from .initialise import RepositoryError, half_made, initialise

# Also because what is as short as that would be masked in names and ids, too.
SHORTEST_PASSWORD = 8


@dataclass
class Outcome:
    """The result of ensure()."""

    changed: bool = False
    created: bool = False
    repository_id: str = ""
    key_id: str = ""
    record: str = ""
    warnings: list[str] = field(default_factory=list)

    recorded: bool = False

    def result(self) -> dict[str, Any]:
        """The result of the module, with what exists before and after."""
        names = ("changed", "created", "repository_id", "key_id", "record")
        before = {"repository": not self.created, "recorded": self.recorded}
        after = {"repository": True, "recorded": bool(self.record)}
        return {**{name: getattr(self, name) for name in names}, "diff": {"before": before, "after": after}}


def ensure(clients: Clients, *, record_dir: str | None, check_mode: bool) -> Outcome:
    """Make the repository if there is none and none was ever recorded; see that it is the recorded one; record it."""
    path = folder(record_dir, clients.bucket, clients.prefix) if record_dir else ""
    record = load(path) if path else None
    expected = _expected_id(clients, record, path)
    restic = clients.restic(record.key_id if record else None)
    restic.require(MINIMUM, "A repository in R2")
    if not _has_config(clients.s3, clients.prefix):
        _refuse_to_make(clients, expected)
        if check_mode:
            return Outcome(changed=True, created=True, record=path)
        initialise(restic, clients.s3)
        outcome = Outcome(changed=True, created=True, repository_id=restic.open(), record=path)
    else:
        outcome = Outcome(repository_id=_opened(clients, restic, expected), record=path)
        if record_dir and record is None:
            _refuse_to_adopt(outcome.repository_id, record_dir, _name(clients))
    outcome.key_id = clients.params.get("key_id") or (record.key_id if record else restic.current_key_id())
    if path:
        _record(clients, outcome, record, check_mode)
    return outcome


def _expected_id(clients: Clients, record: Record | None, path: str) -> str | None:
    asked = clients.params.get("repository_id")
    if record is None:
        return asked
    if (record.bucket, record.prefix) != (clients.bucket, clients.prefix):
        raise RepositoryError(f"The record in {path} is that of another repository, {record.bucket}/{record.prefix}.")
    if asked and asked != record.repository_id:
        raise RepositoryError(
            f"repository_id is {asked}, but the record in {path} says {record.repository_id}; find out which is right."
        )
    return record.repository_id


def _opened(clients: Clients, restic: Restic, expected: str | None) -> str:
    try:
        return restic.open(expected)
    except ResticError:
        # restic calls this a wrong password.
        if clients.s3.first_key(f"{clients.prefix}keys/"):
            raise
        if expected is None:
            raise half_made(_name(clients), clients.prefix) from None
        raise RepositoryError(
            f"Repository {_name(clients)} has lost its keys. Nothing was changed. Put back the key object from the record of the "
            "repository, and find out who deleted it."
        ) from None


def _refuse_to_adopt(repository_id: str, record_dir: str, name: str) -> None:
    """Raise when this repository is recorded already, as one that is somewhere else."""
    other = recorded_as(record_dir, repository_id)
    if other:
        raise RepositoryError(
            f"Repository {name} has the id of {other}, which is recorded in {record_dir}: one is a copy of the other. Nothing "
            "was changed. Find out which one the host is to use; only if it moved, remove the record of the other one."
        )


def _name(clients: Clients) -> str:
    return f"{clients.bucket}/{clients.prefix}".rstrip("/")


def _has_config(s3: S3, prefix: str) -> bool:
    # a listing, because a HEAD that is refused or that a proxy answers looks like an object that is not there
    return s3.first_key(f"{prefix}config") == f"{prefix}config"


def _refuse_to_make(clients: Clients, expected: str | None) -> None:
    """Raise unless there is nothing at all and nothing was ever recorded."""
    prefix, name = clients.prefix, _name(clients)
    if len(clients.params["password"]) < SHORTEST_PASSWORD:
        raise RepositoryError(
            f"The password for the new repository {name} has fewer than {SHORTEST_PASSWORD} characters: write a longer one, "
            "such as `openssl rand -base64 24` makes. Nothing was made."
        )
    if expected:
        raise RepositoryError(
            f"Repository {name} has vanished: {expected} is recorded, but there is no config object. Nothing was "
            "changed. Find out who deleted it; only if it was meant to go, remove its record and repository_id."
        )
    left = [part for part in ("data", "index", "keys", "snapshots") if clients.s3.first_key(f"{prefix}{part}/")]
    if left == ["keys"]:
        raise RepositoryError(
            f"Repository {name} was only half made: it has a key and no config. Nothing was changed. Delete the "
            f"objects below {prefix}keys/ (while no lock rule holds them) and run this again."
        )
    if left:
        raise RepositoryError(
            f"Repository {name} has lost its config, but there are objects below {', '.join(left)}. Nothing was "
            "changed. Put back the config object from the record of the repository."
        )


def _record(clients: Clients, outcome: Outcome, old: Record | None, check_mode: bool) -> None:
    """Write the record if there is none; compare with it if there is one; complete its copies."""
    folder_of_keys = f"{clients.prefix}keys/"
    names = [item.key[len(folder_of_keys) :] for item in at_most(clients.s3, folder_of_keys)]
    names = [name for name in names if re.fullmatch(r"[0-9a-f]{64}", name)]  # restic ignores all others
    desired = old or Record(
        bucket=clients.bucket,
        prefix=clients.prefix,
        repository_id=outcome.repository_id,
        key_id=outcome.key_id,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
        keys=names,
    )
    outcome.warnings += _differences(desired, names)
    copies = {"config": f"{clients.prefix}config", f"keys/{desired.key_id}": f"{folder_of_keys}{desired.key_id}"}
    held = {name: stored(outcome.record, name) for name in copies}
    if old and held["config"] is not None and clients.s3.get(copies["config"]) != held["config"]:
        outcome.warnings.append(f"The config object of {_name(clients)} is no longer the recorded one.")
    missing = [name for name, content in held.items() if content is None]
    outcome.recorded = old is not None and not missing
    if not outcome.recorded:
        outcome.changed = True
        if not check_mode:
            save(outcome.record, desired, {name: clients.s3.get(copies[name]) for name in missing})


def _differences(record: Record, names: list[str]) -> list[str]:
    name = f"{record.bucket}/{record.prefix}".rstrip("/")
    known = {*record.keys, *record.leaving}
    added, gone = sorted(set(names) - known), sorted(set(record.keys) - set(names))
    sentences = []
    if added:
        sentences.append(
            f"Keys of repository {name} that are not recorded: {len(added)}, the first {added[0]}. The owner of "
            "each can read the repository; if you did not add them, treat the host as compromised."
        )
    if gone:
        sentences.append(f"Recorded keys that repository {name} lacks: {len(gone)}, the first {gone[0]}.")
    return sentences
