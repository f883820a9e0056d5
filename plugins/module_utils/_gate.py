# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate: collects what `_audit` judges, and stops what must not go on. Changes nothing.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional

from ansible_collections.holdfast.restic_r2.plugins.module_utils import _audit as audit
from ansible_collections.holdfast.restic_r2.plugins.module_utils._cloudflare import Cloudflare
from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._lock_rules import format_date, lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._phases import Plan, read_plan
from ansible_collections.holdfast.restic_r2.plugins.module_utils._record import Record
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import Restic
from ansible_collections.holdfast.restic_r2.plugins.module_utils._retention import (
    Decision,
    Policy,
    Snapshot,
    claimed_time,
    decide,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._s3 import S3, S3Object

Objects = Mapping[str, S3Object]


@dataclass(frozen=True)
class Wanted:
    """What the maintenance is to do, and what it may rely upon.

    Args:
        policy: Which snapshots to keep.
        by_upload: Decide by the server's upload times; else by the times that the snapshots claim.
        max_remove: How many snapshots may go at once, as a number or a percentage.
        read_duplicates: When data is there twice, read all of it before going on; else refuse.
        lock_wait: Seconds to wait for other restic processes to end.
        prune_timeout: Seconds that one restic command may take.
        repository_id: The id that the repository must have.
        record: What was recorded about the repository.
        copies: The recorded content of objects, by name ("config", "keys/…").
        dry_run: Only say what would be done.
    """

    policy: Policy
    by_upload: bool = True
    max_remove: str = "95%"
    read_duplicates: bool = True
    lock_wait: float = 600.0
    prune_timeout: Optional[float] = None
    repository_id: Optional[str] = None
    record: Optional[Record] = None
    copies: Mapping[str, bytes] = field(default_factory=dict)
    dry_run: bool = False


class Gate:
    """The gate of one repository. Everything that it found is in `findings`."""

    def __init__(self, restic: Restic, s3: S3, cloudflare: Cloudflare, wanted: Wanted) -> None:
        self.restic = restic
        self.s3 = s3
        self.cloudflare = cloudflare
        self.wanted = wanted
        self.prefix = restic.repository.prefix
        self.name = restic.repository.name
        self.findings: list[audit.Finding] = []
        self.described: dict[str, dict[str, Any]] = {}

    def note(self, findings: Iterable[audit.Finding], intro: str) -> None:
        """Keep the findings; raise GateError when one of them says that it must not go on."""
        self.findings += findings
        audit.stop_if_blocked(self.findings, intro)

    def _note(self, findings: Iterable[audit.Finding]) -> None:
        self.note(findings, f"No window is opened for {self.name}")

    def locked(self) -> None:
        """The rules as they are written: all there, all enabled."""
        rules = self.cloudflare.lock_rules(self.restic.repository.bucket)
        self._note(audit.locks(rules, self.prefix, self.cloudflare.server_time()))

    def probe(self) -> list[audit.Finding]:
        """Whether R2 enforces every rule."""
        states = {}
        for rule in lock_set(self.prefix):
            key = self.s3.first_key(rule["prefix"])
            # Nothing to hold is no danger; what must be there is looked for elsewhere.
            states[rule["prefix"]] = self.s3.probe(key) if key else "locked"
        return audit.enforcement(states)

    def identified(self, objects: Objects) -> None:
        """The same repository, with the same keys, as was recorded; and every prefix is really locked."""
        wanted, record = self.wanted, self.wanted.record
        expected = [wanted.repository_id, record.repository_id if record else None]
        self._note(audit.identity(self.restic.open(), expected))
        if record:
            changed = [
                name
                for name, content in wanted.copies.items()
                if self.prefix + name in objects and self.s3.get(self.prefix + name) != content
            ]
            self._note(audit.recorded(self.names(objects, "keys"), record.keys, changed))
        self._note(self.probe())

    def unused(self, objects: Objects) -> bool:
        """Whether no backup was ever made: a new host is nothing to worry about."""
        found = audit.unused(name for part in ("data", "index", "snapshots") for name in self.names(objects, part))
        self._note(found)
        return bool(found)

    def decide(self, objects: Objects) -> list[Decision]:
        """What becomes of every snapshot."""
        snapshots = self.restic.snapshots()
        # Listed again: a backup may have ended since.
        listed = self.objects("snapshots")
        uploaded = {
            name: listed[f"{self.prefix}snapshots/{name}"].last_modified for name in self.names(listed, "snapshots")
        }
        self._note(audit.readable(self.names(objects, "snapshots"), uploaded, snapshots))
        self._note(audit.clocks(snapshots, uploaded))
        self.described = {snapshot["id"]: _described(snapshot, uploaded[snapshot["id"]]) for snapshot in snapshots}

        def upload_time(snapshot: Snapshot) -> datetime:
            return uploaded[snapshot["id"]]

        time_of = upload_time if self.wanted.by_upload else claimed_time
        decisions = decide(snapshots, self.wanted.policy, time_of=time_of, now=self.cloudflare.server_time())
        self._note(audit.removals(decisions, self.wanted.max_remove))
        return decisions

    def plan(self, going: list[str]) -> Plan:
        """What prune would do once these snapshots are gone."""
        command = ["forget", "--prune", *going] if going else ["prune"]
        plan = read_plan(self.restic.succeed([*command, "--dry-run", "--no-lock", "-v"]).stdout)
        if not plan.complete:
            raise HoldfastError(
                f"The dry run of prune on {self.name} was not understood; nothing was changed. Use a restic that this "
                "collection knows."
            )
        if plan.duplicate_blobs and self.wanted.read_duplicates:
            # Any copy is as good as the other when all of them are intact.
            self.sound(read_data=True)
        self._note(audit.duplicates(plan.duplicate_blobs, verified=self.wanted.read_duplicates))
        return plan

    def sound(self, read_data: bool = False) -> None:
        """The repository has no errors."""
        errors = self.restic.check(read_data=read_data)
        if errors:
            raise HoldfastError(f"Repository {self.name} has errors, the first: {errors[0]}.")

    # Listings --------------------------------------------------------------------------------------------------------

    def objects(self, *parts: str) -> dict[str, S3Object]:
        """What the lock set holds, or only the objects below some parts of it, by key."""
        prefixes = [f"{self.prefix}{part}/" for part in parts] or [rule["prefix"] for rule in lock_set(self.prefix)]
        return {item.key: item for prefix in prefixes for item in self.s3.iterate(prefix)}

    def names(self, objects: Iterable[str], part: str) -> list[str]:
        """The names of the objects below a part."""
        start = f"{self.prefix}{part}/"
        return [key[len(start):] for key in objects if key.startswith(start)]  # fmt: skip


def _described(snapshot: Snapshot, uploaded: datetime) -> dict[str, Any]:
    return {
        "id": snapshot["id"],
        "time": snapshot.get("time"),
        "uploaded": format_date(uploaded),
        "host": snapshot.get("hostname"),
        "paths": snapshot.get("paths"),
    }
