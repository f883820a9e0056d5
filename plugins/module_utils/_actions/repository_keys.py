# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes the password of a repository: adds a key under the lock, and removes the old ones in a window of keys/ alone.

At every moment at least one recorded key opens the repository, and the record has a copy of it.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from .._audit.auditor import Auditor, AuditSettings
from .._audit.options import recorded
from .._audit.survey import Survey
from .._clients import Clients
from .._common.process_signals import ended_by_signals
from .._common.record import Record, forget, save
from .._restic.answers import WRONG_PASSWORD
from .._restic.cli import MAINTENANCE_MINIMUM, Restic, ResticError
from .._restic.view import View
from .._restic.view_server import serve
from .._tokens.key_file import refuse_frozen
from .._windows.fence import FenceHolder
from .._windows.fence_tokens import NoFence, fence_for
from .._windows.session import WindowSession, WindowSpec, window_told
from .._windows.spec import noted_spec_of
from .ensure_repository import SHORTEST_PASSWORD, RepositoryError
from .remove_objects import Removal, check_seconds

PRESENT, ONLY = "present", "only"
# A pipe takes so much at once, and no password is longer.
_LONGEST_PASSWORD = 1024
# How long restic may take to add a key: a handful of requests, and three key derivations.
_ADDING = 120.0
# How many keys without a record are tried: an interrupted run leaves one.
_MOST_UNKNOWN = 3
# What maintenance has options for: here it is a few requests.
_WINDOW_SECONDS = 600.0


@dataclass
class RepositoryKeys:
    """The keys of one repository. `outcome` tells at any time the work done so far.

    Args:
        auditor: The repository, its record and its copies.
        open_window: Makes a window over these parts, behind the fence of this holder.
        fence: Makes what keeps the hosts out meanwhile.
        lock_wait: Seconds to wait for backups that run.
        check_mode: Only say what would be done.
        sleep: Waits for so many seconds.
    """

    auditor: Auditor
    open_window: Callable[[tuple[str, ...], str | None], WindowSession]
    fence: Callable[[Callable[[str], object]], FenceHolder | NoFence]
    lock_wait: float = 600.0
    check_mode: bool = False
    sleep: Callable[[float], None] = time.sleep

    key_id: str = ""
    added: bool = False
    removed: list[str] = field(default_factory=list)
    windows: list[dict[str, Any]] = field(default_factory=list)
    fences: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _before: list[str] = field(default_factory=list)
    _after: list[str] = field(default_factory=list)
    _recorded: bool = False

    @property
    def record(self) -> Record:
        """The record of the repository; without one, its keys stay as they are."""
        if self.auditor.settings.record is None:
            raise RepositoryError(f"There is no record of {self.auditor.name}.")
        return self.auditor.settings.record

    @property
    def outcome(self) -> dict[str, Any]:
        return {
            "changed": self.added or bool(self.removed) or self._recorded,
            "key_id": self.key_id,
            "added": self.added,
            "removed": self.removed,
            "windows": [window_told(window) for window in self.windows],
            "fences": self.fences,
            "diff": {"before": {"keys": sorted(self._before)}, "after": {"keys": sorted(self._after)}},
        }

    # Adding, under the lock ------------------------------------------------------------------------------------------

    def run(self, state: str, new_password: str | None) -> None:
        """Do it. The outcome is there also when this raises."""
        end = "the window is closed, and every key in use still works. Run it again."
        with ended_by_signals(f"The change of keys of {self.auditor.name}", lambda: end):
            if state == PRESENT:
                self.present(new_password or self.auditor.restic.repository.password)
            else:
                self.only(self.auditor.restic.repository.password)

    def present(self, password: str) -> None:
        """Have a key that this password opens, in the repository and in the record."""
        self.auditor.restic.require(MAINTENANCE_MINIMUM, "A new password")
        _refuse_password(password, self.auditor.name)
        found = self.auditor.listed()
        self._before = self._after = list(self.record.keys)
        names = self.auditor.names(found.objects, "keys")
        self.key_id = self._opened_by(found, self.record.keys, password) or ""
        if self.key_id:
            return
        unknown = sorted(set(names) - {*self.record.keys, *self.record.leaving})
        ours = self._left_by_a_run_before(found, unknown, password)
        self.added = True
        if self.check_mode:
            self._after = [*self._before, ours or "of the new password"]
            return
        self._keep(ours or self._add(set(names), password))

    def _left_by_a_run_before(self, found: Survey, unknown: list[str], password: str) -> str | None:
        """The key that a run added which ended before it was recorded; keys of others are refused."""
        ours = None
        for name in unknown[:_MOST_UNKNOWN]:
            try:
                ours = ours or self._opened_by(found, [name], password)
            except ResticError:
                continue  # no key of restic's
        foreign = [name for name in unknown if name != ours]
        if foreign:
            raise RepositoryError(
                f"keys/ of {self.auditor.name} holds {len(foreign)} objects that were not recorded, the first is "
                f"{foreign[0][:12]}: look at them with the recover playbook (holdfast_recover=judge) before the password is "
                "changed; nothing was added."
            )
        return ours

    def _opened_by(self, found: Survey, names: Iterable[str], password: str) -> str | None:
        """The first of these keys that the password opens; restic sees one at a time, and no other."""
        prefix = self.auditor.prefix
        for name in sorted(set(names)):
            keys = (f"{prefix}config", f"{prefix}keys/{name}")
            objects = {key: item for key, item in found.objects.items() if key in keys}
            if len(objects) < len(keys):
                continue
            with serve(View(self.auditor.s3, prefix, objects)) as address:
                restic = self.auditor.restic.through(address).opened_by(name, password)
                try:
                    restic.open(self.record.repository_id)
                except ResticError as error:
                    if error.exit_code != WRONG_PASSWORD:
                        raise
                    continue
            return name
        return None

    def _add(self, before: Collection[str], password: str) -> str:
        """Have restic add the key; it opens it once itself, and removes it where that fails."""
        _add_key(self.auditor.restic, password)
        found = self.auditor.listed()
        new = set(self.auditor.names(found.objects, "keys")) - set(before)
        name = self._opened_by(found, new, password)
        if name is None:
            raise RepositoryError(
                f"restic added a key to {self.auditor.name}, but the new password opens none of {len(new)} new keys: the old "
                "password goes on working, and nothing was recorded."
            )
        return name

    def _keep(self, name: str) -> None:
        """Record the key with a copy, before any host gets its password."""
        content = self.auditor.s3.get(f"{self.auditor.prefix}keys/{name}")
        record = replace(self.record, keys=sorted({*self.record.keys, name}))
        save(self.auditor.settings.folder, record, {f"keys/{name}": content})
        self.key_id, self._after = name, record.keys

    # Removing, in a window -------------------------------------------------------------------------------------------

    def only(self, password: str) -> None:
        """Have no recorded key but the one that this password opens."""
        self.auditor.restic.require(MAINTENANCE_MINIMUM, "Removing a key")
        found = self.auditor.look(probe=True)
        self.auditor.identified(found)
        kept = self._opened_by(found, self.record.keys, password)
        if kept is None:
            raise RepositoryError(
                f"The password of {self.auditor.name} opens none of its recorded keys; nothing was removed. Write the password "
                "that is in use into holdfast_password."
            )
        known = {*self.record.keys, *self.record.leaving}
        going = sorted(known - {kept})
        there = [name for name in going if f"{self.auditor.prefix}keys/{name}" in found.objects]
        self.key_id, self._before, self._after = kept, sorted({kept, *there}), [kept]
        self._recorded = self.record != self.record.opened_by(kept, [])
        if self.check_mode:
            self.removed = there
            return
        if self._recorded:
            self._write(self.record.opened_by(kept, going))
        if there:
            self._remove(kept, there)
        if self._recorded:
            self._write(self.record.opened_by(kept, []))
        for name in going:
            forget(self.auditor.settings.folder, f"keys/{name}")

    def _write(self, record: Record) -> None:
        """Keep the record, which from now on is what the repository is judged by, with a copy of its one key."""
        name = f"keys/{record.key_id}"
        content = self.auditor.settings.copies.get(name) or self.auditor.s3.get(self.auditor.prefix + name)
        save(self.auditor.settings.folder, record, {name: content})
        self.auditor.settings = replace(self.auditor.settings, record=record)

    def _remove(self, kept: str, going: list[str]) -> None:
        """Delete exactly these keys, while the hosts are kept out."""
        prefix = self.auditor.prefix
        removal = Removal(
            self.auditor.s3,
            prefix,
            [f"{prefix}keys/{name}" for name in going],
            datetime.min.replace(tzinfo=timezone.utc),
            frozenset({f"{prefix}config", f"{prefix}keys/{kept}"}),
            self.open_window,
            self.fence,
            self.lock_wait,
            fenced=lambda: self.auditor.identified(self.auditor.look(probe=True)),
            sleep=self.sleep,
        )
        try:
            removal.run()
        finally:
            self.removed = [key.rpartition("/")[2] for key in removal.removed]
            self.windows += removal.windows
            self.fences += removal.fences
            self.warnings += removal.warnings
        self.auditor.enforced(self.auditor.look(probe=True), f"After a key of {self.auditor.name} was removed")


def _add_key(restic: Restic, password: str) -> None:
    """restic reads the new password from a pipe: it is in no file, no argument and no environment."""
    reader, writer = os.pipe()
    try:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(password.encode())
        restic.succeed(["key", "add", f"--new-password-file=/dev/fd/{reader}"], pass_fds=(reader,), timeout=_ADDING)
    finally:
        os.close(reader)


def _refuse_password(password: str, name: str) -> None:
    """Refuse a password that restic would read otherwise than it is written, and a short one."""
    if len(password) < SHORTEST_PASSWORD:
        raise RepositoryError(
            f"The new password for {name} has fewer than {SHORTEST_PASSWORD} characters: write a longer one, such as "
            "`openssl rand -base64 24` makes. Nothing was changed."
        )
    if password != password.strip() or not password.isprintable() or len(password.encode()) > _LONGEST_PASSWORD:
        raise RepositoryError(
            f"The new password for {name} begins or ends with white space, holds a control character, or has more than "
            f"{_LONGEST_PASSWORD} bytes: write another one. Nothing was changed."
        )


def keys_for(clients: Clients, check_mode: bool) -> RepositoryKeys:
    """The keys that a module's parameters are about."""
    params = clients.params
    check_seconds(params)
    record, copies, path = recorded(params["record_dir"], clients.bucket, clients.prefix)
    refuse_frozen(params["record_dir"], clients.bucket, clients.prefix)
    settings = AuditSettings(repository_id=params["repository_id"], record=record, copies=copies, folder=path)
    restic = clients.restic(record.key_id if record else None)
    auditor = Auditor(restic, clients.s3, clients.cloudflare, settings, clients.lock_probe)

    def window(parts: tuple[str, ...], behind: str | None) -> WindowSession:
        return WindowSession(
            WindowSpec(
                parts=parts,
                **noted_spec_of(clients),
                reason="remove keys of a former password",
                cap_seconds=_WINDOW_SECONDS,
                behind=behind,
            )
        )

    return RepositoryKeys(auditor, window, partial(fence_for, clients), params["lock_wait"], check_mode)
