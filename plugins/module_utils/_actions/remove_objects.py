# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes objects that an attacker added to a locked repository: by name, and never one from before the break-in.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .._audit import checks as audit
from .._audit.removal_lists import keys_in, keys_of
from .._clients import Clients
from .._common.dates import format_date, parse_date
from .._common.errors import HoldfastError
from .._common.process_signals import ended_by_signals
from .._common.record import folder, load, no_record
from .._locks.rules import PARTS, lock_set
from .._r2.s3 import S3, S3Object
from .._windows.session import WindowSession, WindowSpec, window_told
from .._windows.spec import noted_spec_of

Objects = dict[str, S3Object]

_REASON = "remove planted objects"
# How many seconds the window may be open at most.
_CAP = 900.0


class RemovalError(HoldfastError):
    """An object must not be removed, or something else happened to the repository meanwhile."""


@dataclass
class Removal:
    """The removal of some objects. `outcome` tells at any time the work done so far.

    Args:
        s3: The bucket.
        prefix: That of the repository.
        keys: The keys to remove, in full.
        stored_since: Objects that were stored before this instant are never removed.
        protected: Keys that are never removed.
        open_window: Makes a window over these parts of the repository.
        check_mode: Only say what would be removed.
    """

    s3: S3
    prefix: str
    keys: list[str]
    stored_since: datetime
    protected: frozenset[str]
    open_window: Callable[[tuple[str, ...]], WindowSession]
    check_mode: bool = False

    removed: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    windows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def outcome(self) -> dict[str, Any]:
        return {
            "changed": bool(self.removed),
            "removed": self.removed,
            "absent": self.absent,
            "windows": [window_told(window) for window in self.windows],
            "diff": {"before": {"objects": sorted(self.removed)}, "after": {"objects": []}},
        }

    def run(self) -> None:
        """Do it. The outcome is there also when this raises."""
        before = self._objects()
        going = sorted({key for key in self.keys if key in before})
        self.absent = sorted({key for key in self.keys if key not in before})
        self._refuse(going, before)
        if self.check_mode:
            self.removed = going
            return
        try:
            with ended_by_signals("The removal", lambda: "its window is closed."):
                self._remove(going)
        finally:
            after = self._objects()
            self.removed = [key for key in going if key not in after]
        self._prove(going, before, after)

    def _refuse(self, going: Iterable[str], before: Objects) -> None:
        """Look at all keys before the first one is removed."""
        for key in self.keys:
            if not key.startswith(self.prefix):
                raise RemovalError(f"{key} does not belong to the repository below {self.prefix}; nothing was removed.")
            if key in self.protected:
                raise RemovalError(f"{key} is in the record of the repository, and stays; nothing was removed.")
        for key in going:
            stored = before[key].last_modified
            if stored < self.stored_since:
                raise RemovalError(
                    f"{key} was stored at {format_date(stored)}, before {format_date(self.stored_since)}, before the "
                    "break-in; nothing was removed."
                )

    def _remove(self, going: list[str]) -> None:
        parts = tuple(part for part in PARTS if any(self._part(key) == part for key in going))
        free = [key for key in going if self._part(key) is None]
        for key in free:
            self.s3.delete(key)
        if not parts:
            return
        window = self.open_window(parts)
        try:
            with window:
                for key in (key for key in going if key not in free):
                    if window.over():
                        raise RemovalError(f"The window ended before {key} was removed: {window.over()}.")
                    self.s3.delete(key)
        finally:
            if window.report.get("opened"):
                self.windows.append(window.report)

    def _part(self, key: str) -> str | None:
        """The part of the lock set that holds an object."""
        held = (part for part, rule in zip(PARTS, lock_set(self.prefix)) if key.startswith(rule["prefix"]))
        return next(held, None)

    def _prove(self, going: list[str], before: Objects, after: Objects) -> None:
        left = [key for key in going if key in after]
        if left:
            raise RemovalError(f"{len(left)} objects are still there, the first is {left[0]}; run this again.")
        held = {key: item for key, item in before.items() if self._part(key)}
        found = audit.vanished(held, {key: after[key] for key in held if key in after}, going)
        audit.stop_if_blocked(found, "While objects were removed, others changed")

    def _objects(self) -> Objects:
        return {item.key: item for item in self.s3.iterate(self.prefix)}


def _named(params: Mapping[str, Any], clients: Clients) -> list[str]:
    """The keys that the module is to remove; they come from files, never from its arguments."""
    if params["keys_file"]:
        return keys_in(params["keys_file"])
    return keys_of(folder(params["record_dir"], clients.bucket, clients.prefix), params["findings"])


def removal_for(clients: Clients, check_mode: bool) -> Removal:
    """The removal that a module's parameters ask for."""
    params = clients.params
    since = parse_date(params["stored_since"])
    if since is None:
        raise RemovalError(f"stored_since is {params['stored_since']!r}; write it like 2026-11-24T03:00:00Z.")
    protected = {f"{clients.prefix}config"}
    if params["record_dir"]:
        record = load(folder(params["record_dir"], clients.bucket, clients.prefix))
        if record is None:
            raise no_record(params["record_dir"], clients.bucket, clients.prefix)
        protected |= {f"{clients.prefix}keys/{name}" for name in record.keys}

    def window(parts: tuple[str, ...]) -> WindowSession:
        return WindowSession(WindowSpec(parts=parts, **noted_spec_of(clients), reason=_REASON, cap_seconds=_CAP))

    return Removal(clients.s3, clients.prefix, _named(params, clients), since, frozenset(protected), window, check_mode)
