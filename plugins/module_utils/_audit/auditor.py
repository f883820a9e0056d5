# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Audits a repository: collects facts, has the checks judge them, and stops maintenance when one of them blocks.

It changes nothing in the bucket.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Optional

from .._common.parallel import in_parallel
from .._common.progress import Progress
from .._locks.probe import LockProbe
from .._locks.store import LockStore
from .._r2.s3 import S3, S3Object
from .._restic.cli import LARGEST_SNAPSHOT, Restic, TooLargeError
from .._restic.quick_key import QuickKey, quick_key
from .._restic.retention import Decision, Snapshot, claimed_time, group_of
from .._restic.retention_plan import ALL_JOBS, Times, decide
from .._restic.view import View
from .._restic.view_server import serve
from . import baseline as _baseline
from . import checks as audit
from . import contents_checks as _audit_contents
from . import hold_findings as _holds
from . import pending as _pending
from . import snapshot_checks as _audit_snapshots
from .audit_settings import AuditSettings
from .baseline import Baseline, BaselineError
from .contents import Contents, has_blob
from .contents_checks import Listing, listing
from .duplicates import duplicates
from .new_packs import pack_key
from .pending import Pending
from .signals_state import State
from .survey import MOST_LISTED, Survey, at_most, survey

Objects = Mapping[str, S3Object]


class Auditor:
    """Audits one repository. Everything that it found is in `findings`."""

    def __init__(
        self, restic: Restic, s3: S3, cloudflare: LockStore, settings: AuditSettings, lock_probe: LockProbe
    ) -> None:
        self.restic = restic
        self.s3 = s3
        self.cloudflare = cloudflare
        self.lock_probe = lock_probe
        self.settings = settings
        self.prefix = restic.repository.prefix
        self.name = restic.repository.name
        self.findings: list[audit.Finding] = []
        self.described: dict[str, dict[str, Any]] = {}
        self.read: list[Snapshot] = []
        self.looked_into = Contents(restic, s3, {}, settings.scratch_dir)
        # As it was found; as far as it counts; with everything that was verified since; and what its file was when read.
        self.stored: Optional[Baseline] = None
        self.old: Optional[Baseline] = None
        self.baseline: Optional[Baseline] = None
        self.version = ""
        # The key of this run; None as long as it was not needed, and in there where it cannot be made.
        self._quick: Optional[tuple[Optional[QuickKey]]] = None
        # What a maintenance was changing that did not come to its end.
        self.pending = Pending()
        # What was stored before such a time is kept, by the name of a job, or "" for all: see Times.
        self.keep_before: dict[str, datetime] = {}
        # Nothing at all is to be removed; and what else is told of holds.
        self.held = False
        self.holds: list[dict[str, Any]] = []
        # What looked like ransomware, now and before; None when nothing is remembered.
        self.signals: Optional[State] = None
        # Where the run is; a run that wants that to be told puts its own in.
        self.progress = Progress()

    def note(self, findings: Iterable[audit.Finding], intro: str) -> None:
        """Keep the findings; raise AuditError when one of them blocks."""
        for finding in findings:
            full = replace(finding, objects=tuple(self.prefix + key for key in finding.objects))
            if full not in self.findings:
                self.findings.append(full)
        if self.settings.stop:
            audit.stop_if_blocked(self.findings, intro)

    def _note(self, findings: Iterable[audit.Finding]) -> None:
        self.note(findings, f"No window is opened for {self.name}")

    @property
    def blocked(self) -> bool:
        return any(finding.severity == audit.BLOCK for finding in self.findings)

    # What the service says -------------------------------------------------------------------------------------------

    def look(self, probe: bool = False) -> Survey:
        """List the bucket, and judge the lock rules.

        Args:
            probe: Ask whether R2 enforces every rule, too.
        """
        with ThreadPoolExecutor(1) as pool:
            s3 = self.s3
            asked = self.lock_probe if probe else None
            found = pool.submit(survey, s3, self.prefix, asked, uploads=probe, most=self._most_listed())
            self._locked()
            return found.result()

    def listed(self) -> Survey:
        """List the bucket, without a look at the lock rules."""
        return survey(self.s3, self.prefix, most=self._most_listed())

    def _most_listed(self) -> Optional[int]:
        """How many objects are listed; any number where a person asked to read everything anew."""
        if self.settings.rebuild:
            return None
        return max(MOST_LISTED, 2 * _baseline.most_known(self.settings.folder))

    def objects(self, part: str) -> dict[str, S3Object]:
        """The objects below one part, by key."""
        return {item.key: item for item in at_most(self.s3, f"{self.prefix}{part}/", self._most_listed())}

    def _locked(self) -> None:
        """The rules as they are written: all there, all enabled."""
        rules = self.cloudflare.lock_rules(self.restic.repository.bucket)
        self._note(audit.locks(rules, self.prefix, self.cloudflare.server_time()))

    def enforced(self, found: Survey, intro: str = "") -> None:
        """R2 enforces every rule, as far as the probe can tell."""
        # Nothing to hold is no danger; what must be there is looked for elsewhere.
        states = {prefix: state for prefix, state in found.states.items() if state != "missing"}
        self.note(audit.enforcement(states), intro or f"No window is opened for {self.name}")

    def identified(self, found: Survey) -> None:
        """The same repository, with the same keys, as was recorded; and every prefix is really locked."""
        settings, record = self.settings, self.settings.record
        self._note(_audit_contents.oversized(found.objects.values(), self.prefix))
        there = [name for name in settings.copies if self.prefix + name in found.objects]
        changed = [name for name in there if not self._holds(found.objects[self.prefix + name], settings.copies[name])]
        expected = [settings.repository_id, record.repository_id if record else None]
        if any(expected):
            # The recorded config is that of the recorded repository.
            known = record.repository_id if record and "config" in there and "config" not in changed else None
            self._note(audit.identity(known or self.restic.open(), expected))
        if record:
            keys = set(self.names(found.objects, "keys"))
            self._note(audit.recorded(keys - set(record.leaving), record.keys, changed))
            self._note(audit.leaving(keys & set(record.leaving)))
        self.enforced(found)

    def _holds(self, item: S3Object, content: bytes) -> bool:
        """Whether an object holds this; as a rule its ETag is its MD5, which cannot be forged for a given content."""
        if (item.size, item.etag) == (len(content), hashlib.md5(content, usedforsecurity=False).hexdigest()):
            return True
        return self.s3.get(item.key) == content

    def unused(self, objects: Objects) -> bool:
        """Whether no backup was ever made: a new host is nothing to worry about."""
        found = audit.unused(name for part in ("data", "index", "snapshots") for name in self.names(objects, part))
        self._note(found)
        return bool(found)

    # What restic and the index objects say ---------------------------------------------------------------------------

    @contextmanager
    def reading(self, objects: Objects) -> Iterator[Restic]:
        """A restic that sees the listed objects, and nothing else of the bucket."""
        with self.served(self.view(objects)) as restic:
            yield restic

    def view(self, objects: Objects, **settings: Any) -> View:
        """A view of the listed objects, in which restic finds a key that opens in a moment; `settings` are those of View."""
        if self._quick is None:
            with serve(View(self.s3, self.prefix, objects)) as address:
                self._quick = (quick_key(self.restic.through(address)),)
        quick = self._quick[0]
        moved = self.progress.moved
        return View(self.s3, self.prefix, objects, key=quick.objects if quick else None, moved=moved, **settings)

    @contextmanager
    def served(self, view: View) -> Iterator[Restic]:
        """restic for a view that was made here."""
        with serve(view) as address:
            yield self._opened(self.restic.through(address))

    def _opened(self, restic: Restic) -> Restic:
        quick = self._quick[0] if self._quick else None
        return quick.opens(restic) if quick else restic

    def opened(self, found: Survey, count: bool = False) -> None:
        """Open the repository and read its snapshots.

        Args:
            found: What is there.
            count: Count what is there twice, where no baseline will tell.
        """
        with self.reading(found.objects) as restic:
            work: dict[str, Callable[[], Any]] = {"snapshots": lambda: self._listed_snapshots(restic, found)}
            if count and not self.settings.folder:
                work["twice"] = lambda: duplicates(restic)
            # Without a quick key, the first of them makes restic's cache.
            answers = in_parallel(lambda name: work[name](), work, len(work) if self._quick and self._quick[0] else 1)
            twice = answers.get("twice", 0)
            if twice:
                # Any copy is as good as the other when all of them are intact.
                self.sound(restic, read_data=True)
        self.read = answers["snapshots"]
        self._note(audit.duplicates(twice))

    def _listed_snapshots(self, restic: Restic, found: Survey) -> list[dict[str, Any]]:
        """Every snapshot; those that are larger than any of restic's are named, and are not part of it."""
        try:
            read = restic.list_snapshots()[0]
        except TooLargeError:
            self._note(_audit_contents.too_large("snapshots", self._large_snapshots(restic, found), LARGEST_SNAPSHOT))
            raise
        large = {snapshot["id"] for snapshot in read if len(json.dumps(snapshot)) > LARGEST_SNAPSHOT}
        self._note(_audit_contents.too_large("snapshots", large, LARGEST_SNAPSHOT))
        return [snapshot for snapshot in read if snapshot["id"] not in large]

    def _large_snapshots(self, restic: Restic, found: Survey) -> set[str]:
        """Which of the newest snapshots are, for all together are too large: a restic for each, so not of any number."""
        large: set[str] = set()

        def look(name: str) -> None:
            if len(large) < _audit_contents.MOST_BROKEN and not restic.snapshot_fits(name):
                large.add(name)

        names = self.names(found.objects, "snapshots")
        names.sort(key=lambda name: found.objects[f"{self.prefix}snapshots/{name}"].last_modified, reverse=True)
        in_parallel(look, names[: _audit_contents.MOST_BROKEN])
        return large

    def contents(self, found: Survey, added: Optional[Mapping[str, tuple[int, str]]] = None) -> None:
        """Compare the objects with the baseline, and read new packs. Without a record, find only objects that are out of place.

        Args:
            found: What is there.
            added: Size and ETag of what this maintenance has added, by key below the prefix.
        """
        listed = listing(found.objects.values(), self.prefix)
        self._note(_audit_contents.strangers(listed, [*found.top, *found.odd_locks()]))
        self._note(_audit_contents.uploads(found.uploads))
        known = self.baseline or (self._begin(listed, found) if self.settings.folder else None)
        if known is None or _audit_contents.oversized(found.objects.values(), self.prefix):
            return
        self._look_into(known.key_id)
        ours = {**self.pending.added, **(added or {})}
        own = {key for key, item in ours.items() if self._is(found.objects.get(self.prefix + key), item)}
        findings, verified = self.looked_into.inspect(
            listed, known, own=own, deletes=self.pending.deletes, trusted=self.settings.rebuild
        )
        self._note(findings)
        self.baseline = verified

    def finished(self, found: Survey) -> Survey:
        """Without packs that no index names yet, while backups go on: maintenance must not take them for left behind."""
        if not self.baseline or not found.restic_locks():
            return found
        unnamed = {self.prefix + pack_key(name) for name in self._packs(found) - self.baseline.packs.keys()}
        return replace(found, objects={key: item for key, item in found.objects.items() if key not in unnamed})

    def _packs(self, found: Survey) -> set[str]:
        return set(listing(found.objects.values(), self.prefix).packs)

    def _look_into(self, key_id: str) -> None:
        """Give the keys of the repository to `looked_into`."""
        quick = self._quick[0] if self._quick else None
        # After a new password has come, the one that is in use may open any of them.
        keys = self.settings.record.keys if self.settings.record else [key_id]
        names = ("config", *(() if quick else (f"keys/{name}" for name in keys)))
        there = {name: self.settings.copies.get(name) or self.s3.get(self.prefix + name) for name in names}
        self.looked_into.told = self.progress.at
        self.looked_into.keys = {**there, **(quick.objects if quick else {})}
        self.looked_into.restic = self._opened(self.restic)

    @staticmethod
    def _is(found: Optional[S3Object], item: tuple[int, str]) -> bool:
        return found is not None and (found.size, found.etag) == item

    def _begin(self, listed: Listing, found: Survey) -> Optional[Baseline]:
        """The baseline; without one an empty one, if everything may be read."""
        record = self.settings.record
        repository_id = record.repository_id if record else self.restic.open()
        self.version = _baseline.digest(self.settings.folder)
        self.pending = _pending.load(self.settings.folder)
        try:
            self.stored = self.old = _baseline.load(self.settings.folder, repository_id)
        except BaselineError as error:
            if not self.settings.rebuild:
                self._note(_audit_contents.damaged_baseline(str(error)))
                return None
        if self.settings.rebuild:
            with self.reading(found.objects) as restic:
                self.sound(restic, read_data=True)
            self.old = None
        elif self.old is None and listed.bytes > self.settings.first_read:
            self._note(_audit_contents.no_baseline(listed.bytes, self.settings.first_read))
            return None
        return self.old or Baseline(repository_id, self.restic.repository.key_id or self.restic.current_key_id())

    def sound(self, restic: Restic, read_data: bool = False) -> None:
        """The repository has no errors."""
        self._note(audit.not_sound(restic.errors(read_data=read_data)))

    def snapshots(self, found: Survey) -> tuple[list[Snapshot], dict[str, datetime]]:
        """Every snapshot, and when it was stored."""
        settings = self.settings.expected
        names = self.names(found.objects, "snapshots")
        uploaded = {name: found.objects[f"{self.prefix}snapshots/{name}"].last_modified for name in names}
        snapshots: list[Snapshot] = self.read
        self._note(_audit_snapshots.readable(names, snapshots))
        self._note(_audit_snapshots.clocks(snapshots, uploaded, self._accepted(names), settings))
        groups = self.old.groups if self.old else ()
        self._note(_audit_snapshots.strangers(snapshots, groups, settings))
        self._note(_audit_snapshots.fresh(snapshots, uploaded, settings, self.cloudflare.server_time()))
        self._note(_holds.unknown(self.settings.plan.unknown(snapshots)))
        self._note(self._rooted(snapshots))
        jobs = self.settings.plan.jobs
        self.described = {one["id"]: _audit_snapshots.described(one, uploaded[one["id"]], jobs) for one in snapshots}
        return snapshots, uploaded

    def _accepted(self, listed: Collection[str]) -> Optional[Collection[str]]:
        """The snapshots that were looked at before, or that a person vouches for; None when nothing is remembered."""
        if self.settings.rebuild:
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

    def decide(self, found: Survey) -> list[Decision]:
        """The decision about every snapshot."""
        snapshots, uploaded = self.snapshots(found)

        def upload_time(snapshot: Snapshot) -> datetime:
            return uploaded[snapshot["id"]]

        counts = upload_time if self.settings.expected.by_upload else claimed_time
        plan, now = self.settings.plan, self.cloudflare.server_time()
        self.held = plan.hold_of(ALL_JOBS, now) is not None
        self._note(_holds.told(plan.holds, now, _holds.told_before(self.settings.folder)))
        decisions = decide(snapshots, plan, Times(counts, uploaded, now, self.keep_before))
        self.holds = _holds.active(plan.holds, now, decisions, self.described)
        self._note(audit.removals(decisions, self.settings.max_remove))
        return decisions

    # What is remembered ----------------------------------------------------------------------------------------------

    def remember(self, objects: Objects) -> None:
        """Write the baseline: the verified objects that are still there.

        Args:
            objects: What is there now.
        """
        if not self.baseline:
            return
        listed = listing(objects.values(), self.prefix)
        # A snapshot that came since the snapshots were judged is new to the next run.
        snapshots = listed.snapshots.keys() & self.described.keys()
        self.baseline = self.baseline.only(snapshots, listed.indexes, listed.packs)
        _baseline.save(self.settings.folder, self.baseline)
        _pending.clear(self.settings.folder)
        _holds.remember(self.settings.folder, self.settings.plan.holds, self.cloudflare.server_time())

    def remember_unless_changed(self) -> bool:
        """Write the baseline as it is, unless another process has written it since it was read."""
        if self.baseline is None or _baseline.digest(self.settings.folder) != self.version:
            return False
        _baseline.save(self.settings.folder, self.baseline)
        return True

    def names(self, objects: Iterable[str], part: str) -> list[str]:
        """The names of the objects below a part."""
        start = f"{self.prefix}{part}/"
        return [key[len(start):] for key in objects if key.startswith(start)]  # fmt: skip
