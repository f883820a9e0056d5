# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate: collects what `_audit` judges, and stops what must not go on. Changes nothing.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Optional

from ansible_collections.holdfast.restic_r2.plugins.module_utils import _audit as audit
from ansible_collections.holdfast.restic_r2.plugins.module_utils import (
    _audit_contents,
    _audit_snapshots,
    _baseline,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit_contents import Listing, listing
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit_snapshots import Expected
from ansible_collections.holdfast.restic_r2.plugins.module_utils._baseline import Baseline, BaselineError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._cloudflare import Cloudflare
from ansible_collections.holdfast.restic_r2.plugins.module_utils._contents import Contents, has_blob
from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._lock_rules import format_date, lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._phases import Plan, read_plan
from ansible_collections.holdfast.restic_r2.plugins.module_utils._prober import LockProbe
from ansible_collections.holdfast.restic_r2.plugins.module_utils._record import Record
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import Restic
from ansible_collections.holdfast.restic_r2.plugins.module_utils._retention import (
    Decision,
    Policy,
    Snapshot,
    claimed_time,
    decide,
    group_of,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._s3 import S3, S3Error, S3Object

Objects = Mapping[str, S3Object]


@dataclass(frozen=True)
class Wanted:
    """What the maintenance is to do, and what it may rely upon.

    Args:
        policy: Which snapshots to keep.
        expected: What snapshots should be like, and by which of their times to decide.
        max_remove: How many snapshots may go at once, as a number or a percentage.
        read_duplicates: When data is there twice, read all of it before going on; else refuse.
        lock_wait: Seconds to wait for other restic processes to end.
        prune_timeout: Seconds that one restic command may take.
        repository_id: The id that the repository must have.
        record: What was recorded about the repository.
        copies: The recorded content of objects, by name ("config", "keys/…").
        folder: Where the record and the baseline are; empty when nothing is remembered.
        rebuild: Read everything and make a new baseline, whatever the old one says.
        first_read: How many bytes of data to read unasked when there is no baseline yet.
        scratch_dir: Where packs are put while they are looked at.
        stop: Stop at the first findings that block; else go on and collect all.
        dry_run: Only say what would be done.
    """

    policy: Policy = field(default_factory=Policy)
    expected: Expected = field(default_factory=Expected)
    max_remove: str = "95%"
    read_duplicates: bool = True
    lock_wait: float = 600.0
    prune_timeout: Optional[float] = None
    repository_id: Optional[str] = None
    record: Optional[Record] = None
    copies: Mapping[str, bytes] = field(default_factory=dict)
    folder: str = ""
    rebuild: bool = False
    first_read: int = 10 << 30
    scratch_dir: Optional[str] = None
    stop: bool = True
    dry_run: bool = False


class Gate:
    """The gate of one repository. Everything that it found is in `findings`."""

    def __init__(self, restic: Restic, s3: S3, cloudflare: Cloudflare, wanted: Wanted, lock_probe: LockProbe) -> None:
        self.restic = restic
        self.s3 = s3
        self.cloudflare = cloudflare
        self.lock_probe = lock_probe
        self.wanted = wanted
        self.prefix = restic.repository.prefix
        self.name = restic.repository.name
        self.findings: list[audit.Finding] = []
        self.described: dict[str, dict[str, Any]] = {}
        self.looked_into = Contents(restic, s3, {}, wanted.read_duplicates, wanted.scratch_dir)
        # As it was found; as far as it counts; with everything that was verified since; and what its file was when read.
        self.stored: Optional[Baseline] = None
        self.old: Optional[Baseline] = None
        self.baseline: Optional[Baseline] = None
        self.version = ""

    def note(self, findings: Iterable[audit.Finding], intro: str) -> None:
        """Keep the findings; raise GateError when one of them says that it must not go on."""
        for finding in findings:
            full = replace(finding, objects=tuple(self.prefix + key for key in finding.objects))
            if full not in self.findings:
                self.findings.append(full)
        if self.wanted.stop:
            audit.stop_if_blocked(self.findings, intro)

    def _note(self, findings: Iterable[audit.Finding]) -> None:
        self.note(findings, f"No window is opened for {self.name}")

    @property
    def blocked(self) -> bool:
        return any(finding.severity == audit.BLOCK for finding in self.findings)

    def locked(self) -> None:
        """The rules as they are written: all there, all enabled."""
        rules = self.cloudflare.lock_rules(self.restic.repository.bucket)
        self._note(audit.locks(rules, self.prefix, self.cloudflare.server_time()))

    def probe(self) -> list[audit.Finding]:
        """Whether R2 enforces every rule."""
        states = self.lock_probe.states()
        # Nothing to hold is no danger; what must be there is looked for elsewhere.
        return audit.enforcement({prefix: state for prefix, state in states.items() if state != "missing"})

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

    def contents(self, objects: Objects) -> None:
        """What is there against the baseline; new packs are read. Without a record only what is out of place is seen."""
        listed = listing(objects.values(), self.prefix)
        self._note(_audit_contents.strangers(listed, [*self.s3.folders(self.prefix), *self._odd_locks()]))
        self._note(_audit_contents.uploads(self._uploads()))
        known = self.baseline or (self._begin(listed) if self.wanted.folder else None)
        if known is None:
            return
        names = ("config", f"keys/{known.key_id}")
        self.looked_into.keys = {
            name: self.wanted.copies.get(name) or self.s3.get(self.prefix + name) for name in names
        }
        found, verified = self.looked_into.inspect(listed, known, trusted=self.wanted.rebuild)
        self._note(found)
        self.baseline = verified

    def _uploads(self) -> list[str]:
        """Onto what uploads were begun and not ended; keys that may only read may not be told, and nothing hangs on it."""
        try:
            return [key[len(self.prefix) :] for key in self.s3.uploads(self.prefix)]
        except S3Error as error:
            if error.status in (401, 403):
                return []
            raise

    def _odd_locks(self) -> list[str]:
        """Objects among restic's locks that restic does not write."""
        names = self.names(self.objects("locks"), "locks")
        return [f"locks/{name}" for name in names if not re.fullmatch(r"[0-9a-f]{64}", name)]

    def _begin(self, listed: Listing) -> Optional[Baseline]:
        """The baseline; without one an empty one, if everything may be read."""
        repository_id = self.restic.open()
        self.version = _baseline.digest(self.wanted.folder)
        try:
            self.stored = self.old = _baseline.load(self.wanted.folder, repository_id)
        except BaselineError as error:
            if not self.wanted.rebuild:
                self._note(_audit_contents.damaged_baseline(str(error)))
                return None
        if self.wanted.rebuild:
            self.sound(read_data=True)
            self.old = None
        elif self.old is None and listed.bytes > self.wanted.first_read:
            self._note(_audit_contents.no_baseline(listed.bytes, self.wanted.first_read))
            return None
        return self.old or Baseline(repository_id, self.restic.repository.key_id or self.restic.current_key_id())

    def snapshots(self, objects: Objects) -> tuple[list[Snapshot], dict[str, datetime]]:
        """Every snapshot, and when it was stored."""
        wanted = self.wanted.expected
        read, _ignored = self.restic.list_snapshots()
        # Listed again: a backup may have ended since.
        listed = self.objects("snapshots")
        uploaded = {
            name: listed[f"{self.prefix}snapshots/{name}"].last_modified for name in self.names(listed, "snapshots")
        }
        before = self.names(objects, "snapshots")
        self._note(_audit_snapshots.readable(before, uploaded, read))
        snapshots: list[Snapshot] = [snapshot for snapshot in read if snapshot["id"] in uploaded]
        self._note(_audit_snapshots.clocks(snapshots, uploaded, self._accepted(before), wanted))
        groups = self.old.groups if self.old else ()
        self._note(_audit_snapshots.strangers(snapshots, groups, wanted))
        self._note(_audit_snapshots.fresh(snapshots, uploaded, wanted, self.cloudflare.server_time()))
        self._note(self._rooted([snapshot for snapshot in snapshots if snapshot["id"] in before]))
        self.described = {snapshot["id"]: _described(snapshot, uploaded[snapshot["id"]]) for snapshot in snapshots}
        return snapshots, uploaded

    def _accepted(self, listed: Collection[str]) -> Optional[Collection[str]]:
        """The snapshots that were looked at before, or that a person vouches for; None when nothing is remembered."""
        if self.wanted.rebuild:
            return listed
        return (self.old.snapshots if self.old else ()) if self.baseline else None

    def _rooted(self, snapshots: Iterable[Snapshot]) -> list[audit.Finding]:
        """The snapshots of the baseline are known to have data; that of the new ones must be in the index."""
        if not self.baseline:
            return []
        snapshots = list(snapshots)
        self.baseline = replace(self.baseline, groups=frozenset(group_of(snapshot) for snapshot in snapshots))
        known = self.old.snapshots if self.old else {}
        trees = {snapshot["id"]: str(snapshot.get("tree")) for snapshot in snapshots if snapshot["id"] not in known}
        return _audit_contents.rootless(trees, has_blob(self.baseline, set(trees.values())))

    def decide(self, objects: Objects) -> list[Decision]:
        """What becomes of every snapshot."""
        snapshots, uploaded = self.snapshots(objects)

        def upload_time(snapshot: Snapshot) -> datetime:
            return uploaded[snapshot["id"]]

        time_of = upload_time if self.wanted.expected.by_upload else claimed_time
        decisions = decide(snapshots, self.wanted.policy, time_of=time_of, now=self.cloudflare.server_time())
        self._note(audit.removals(decisions, self.wanted.max_remove))
        return decisions

    def plan(self, going: list[str]) -> Plan:
        """What prune would do once these snapshots are gone."""
        command = ["forget", "--prune", *going] if going else ["prune"]
        completed = self.restic.run([*command, "--dry-run", "--no-lock", "-v"])
        if completed.exit_code:
            self.sound()
            raise self.restic.error(command[0], completed)
        plan = read_plan(completed.stdout)
        if not plan.complete:
            raise HoldfastError(
                f"The dry run of prune on {self.name} was not understood; nothing was changed. Use a restic that this "
                "collection knows."
            )
        if plan.duplicate_blobs and self.wanted.read_duplicates and not self.baseline:
            # Any copy is as good as the other when all of them are intact.
            self.sound(read_data=True)
        self._note(audit.duplicates(plan.duplicate_blobs, verified=self.wanted.read_duplicates))
        return plan

    def sound(self, read_data: bool = False, intro: str = "") -> None:
        """The repository has no errors."""
        errors = self.restic.check(read_data=read_data)
        self.note(audit.not_sound(errors), intro or f"No window is opened for {self.name}")

    # What is remembered ----------------------------------------------------------------------------------------------

    def remember(self, objects: Objects, removing: Optional[Iterable[str]] = None) -> None:
        """Write the baseline: what was verified and is still there.

        Args:
            objects: What is there now.
            removing: The snapshots that are about to be removed.
        """
        if not self.baseline:
            return
        listed = listing(objects.values(), self.prefix)
        kept = self.baseline.only(listed.snapshots, listed.indexes, listed.packs)
        self.baseline = replace(kept, removing=None if removing is None else frozenset(removing))
        _baseline.save(self.wanted.folder, self.baseline)

    def remember_unless_changed(self) -> bool:
        """Write the baseline as it is, unless somebody else has written it since it was read."""
        if self.baseline is None or _baseline.digest(self.wanted.folder) != self.version:
            return False
        _baseline.save(self.wanted.folder, self.baseline)
        return True

    def unjudged(self) -> set[str]:
        """Index objects that came after the gate looked."""
        now = listing(self.objects("index").values(), self.prefix)
        return now.indexes - self.baseline.indexes if self.baseline else set()

    # Listings --------------------------------------------------------------------------------------------------------

    def objects(self, *parts: str) -> dict[str, S3Object]:
        """What the lock set holds, or only the objects below some parts of it, by key."""
        prefixes = [f"{self.prefix}{part}/" for part in parts]
        # A backup writes packs first, then the index, then the snapshot: listed backwards, what each names is listed, too.
        prefixes = prefixes or sorted((rule["prefix"] for rule in lock_set(self.prefix)), reverse=True)
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
