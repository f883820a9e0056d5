# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes objects that an attacker added to a locked repository: by name, and never one from before the break-in.

The owner of the host deletes meanwhile, so that nothing is open to him: a fence is around the windows.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from .._audit import checks as audit
from .._audit.removal_lists import keys_in, keys_of
from .._audit.survey import Survey
from .._clients import Clients
from .._common.dates import format_date, parse_date
from .._common.errors import HoldfastError
from .._common.process_signals import ended_by_signals
from .._common.record import folder, load, no_record
from .._locks.rules import PARTS, lock_set
from .._r2.s3 import S3, S3Object
from .._windows.fence import FenceHolder
from .._windows.fence_tokens import NoFence, fence_for, fence_told
from .._windows.session import WindowSession, WindowSpec, window_told
from .._windows.spec import noted_spec_of
from .other_restics import let_others_end

Objects = dict[str, S3Object]

_REASON = "remove planted objects"
# How many seconds the window may be open at most.
_CAP = 900.0
# What opens the data is never open together with it.
_TOGETHER = (("config", "keys"), ("data", "index", "snapshots"))
# Before the first and the second try of deletes, in seconds.
_PAUSES = (0.0, 1.0)
# The least and the most that make sense, in seconds.
_BOUNDS = {"lock_wait": (0, 86400), "fence_seconds": (0, 3600)}


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
        open_window: Makes a window over these parts of the repository, behind the fence of this holder.
        fence: Makes what keeps the hosts out meanwhile.
        lock_wait: Seconds to wait for backups that run, before the hosts are kept out.
        check_mode: Only say what would be removed.
        fenced: Called when the hosts are kept out, and nothing is unlocked.
        sleep: Waits for so many seconds.
    """

    s3: S3
    prefix: str
    keys: list[str]
    stored_since: datetime
    protected: frozenset[str]
    open_window: Callable[[tuple[str, ...], str | None], WindowSession]
    fence: Callable[[Callable[[str], object]], FenceHolder | NoFence]
    lock_wait: float = 600.0
    check_mode: bool = False
    fenced: Callable[[], object] = lambda: None
    sleep: Callable[[float], None] = time.sleep

    removed: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    windows: list[dict[str, Any]] = field(default_factory=list)
    fences: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _before: Objects = field(default_factory=dict)

    @property
    def outcome(self) -> dict[str, Any]:
        return {
            "changed": bool(self.removed),
            "removed": self.removed,
            "absent": self.absent,
            "windows": [window_told(window) for window in self.windows],
            "fences": self.fences,
            "diff": {"before": {"objects": sorted(self.removed)}, "after": {"objects": []}},
        }

    def run(self) -> None:
        """Do it. The outcome is there also when this raises."""
        self._before = self._objects()
        going = sorted({key for key in self.keys if key in self._before})
        self.absent = sorted({key for key in self.keys if key not in self._before})
        self._refuse(going)
        if self.check_mode:
            self.removed = going
            return
        try:
            with ended_by_signals("The removal", lambda: "its window is closed."):
                self._remove(going)
        finally:
            after = self._objects()
            self.removed = [key for key in going if key not in after]
        self._prove(going, after)

    def _refuse(self, going: Iterable[str]) -> None:
        """Look at all keys before the first one is removed."""
        for key in self.keys:
            if not key.startswith(self.prefix):
                raise RemovalError(f"{key} does not belong to the repository below {self.prefix}; nothing was removed.")
            if key in self.protected:
                raise RemovalError(f"{key} is in the record of the repository, and stays; nothing was removed.")
        for key in (key for key in going if key in self._before):
            stored = self._before[key].last_modified
            if stored < self.stored_since:
                raise RemovalError(
                    f"{key} was stored at {format_date(stored)}, before {format_date(self.stored_since)}, before the "
                    "break-in; nothing was removed."
                )

    def _remove(self, going: list[str]) -> None:
        parts = {key: self._part(key) for key in going}
        self._delete([key for key, part in parts.items() if part is None], lambda: None)
        if not any(parts.values()):
            return
        fence = self.fence(self.warnings.append)
        if isinstance(fence, FenceHolder):
            # A backup that runs would wait for the end of the fence.
            let_others_end(self._restic_locks, self.lock_wait, self.sleep)
        try:
            with fence:
                if isinstance(fence, FenceHolder):
                    fence.await_open()
                    self.fenced()
                    # Other work with the repository has ended only now.
                    self._before = self._objects()
                    self._refuse(going)
                for together in _TOGETHER:
                    self._in_window({key: part for key, part in parts.items() if part in together}, fence)
        finally:
            told = fence_told(fence)
            self.fences += [told] if told else []

    def _in_window(self, going: Mapping[str, str | None], fence: FenceHolder | NoFence) -> None:
        """Delete these objects, each of its part, in one window."""
        if not going:
            return
        window = self.open_window(tuple(part for part in PARTS if part in going.values()), fence.behind)
        try:
            with window:
                self._delete(list(going), lambda: window.over() or fence.lost())
        finally:
            if window.report.get("opened"):
                self.windows.append(window.report)

    def _delete(self, left: list[str], over: Callable[[], str | None]) -> None:
        """Delete a thousand objects with a request; what is refused is tried again."""
        for pause in _PAUSES:
            if not left:
                return
            self.sleep(pause)
            ended = over()
            if ended:
                raise RemovalError(f"The window ended before {left[0]} was removed: {ended}; run this again.")
            refused = self.s3.delete_many(left)
            left = list(refused)
        if left:
            raise RemovalError(
                f"{len(left)} objects could not be removed, run this again. The first: {refused[left[0]]}"
            )

    def _restic_locks(self) -> dict[str, S3Object]:
        return Survey(locks={item.key: item for item in self.s3.iterate(f"{self.prefix}locks/")}).restic_locks()

    def _part(self, key: str) -> str | None:
        """The part of the lock set that holds an object."""
        held = (part for part, rule in zip(PARTS, lock_set(self.prefix)) if key.startswith(rule["prefix"]))
        return next(held, None)

    def _prove(self, going: list[str], after: Objects) -> None:
        left = [key for key in going if key in after]
        if left:
            raise RemovalError(f"{len(left)} objects are still there, the first is {left[0]}; run this again.")
        held = {key: item for key, item in self._before.items() if self._part(key)}
        found = audit.vanished(held, {key: after[key] for key in held if key in after}, going)
        audit.stop_if_blocked(found, "While objects were removed, others changed")

    def _objects(self) -> Objects:
        return {item.key: item for item in self.s3.iterate(self.prefix)}


def _named(params: Mapping[str, Any], clients: Clients) -> list[str]:
    """The keys that the module is to remove; they come from files, never from its arguments."""
    if params["keys_file"]:
        return keys_in(params["keys_file"])
    return keys_of(folder(params["record_dir"], clients.bucket, clients.prefix), params["findings"])


def check_seconds(params: Mapping[str, Any]) -> None:
    """Refuse a number of seconds that makes no sense, of the options of a fence."""
    for name, (least, most) in _BOUNDS.items():
        if not least <= params[name] <= most:
            raise HoldfastError(f"{name} is {params[name]}; it must be from {least} to {most} seconds.")


def removal_for(clients: Clients, check_mode: bool) -> Removal:
    """The removal that a module's parameters ask for."""
    params = clients.params
    check_seconds(params)
    since = parse_date(params["stored_since"])
    if since is None:
        raise RemovalError(f"stored_since is {params['stored_since']!r}; write it like 2026-11-24T03:00:00Z.")
    protected = {f"{clients.prefix}config"}
    if params["record_dir"]:
        record = load(folder(params["record_dir"], clients.bucket, clients.prefix))
        if record is None:
            raise no_record(params["record_dir"], clients.bucket, clients.prefix)
        protected |= {f"{clients.prefix}keys/{name}" for name in record.keys}

    def window(parts: tuple[str, ...], behind: str | None) -> WindowSession:
        spec = WindowSpec(parts=parts, **noted_spec_of(clients), reason=_REASON, cap_seconds=_CAP, behind=behind)
        return WindowSession(spec)

    named, fence = _named(params, clients), partial(fence_for, clients)
    return Removal(
        clients.s3, clients.prefix, named, since, frozenset(protected), window, fence, params["lock_wait"], check_mode
    )
