# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings of one window.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .._clients import Clients
from .._common.record import folder
from .._locks.fences import check_behind
from .._locks.rules import Rule, lock_set, normalise_prefix, rule_id
from .._locks.store import LockStore
from .._locks.windows import LONGEST_LEASE, extend_window, open_window
from .._r2.s3 import S3


@dataclass(frozen=True)
class WindowSpec:
    """Which rules to open, for which holder, and for how long at most.

    `cloudflare` and `s3` are called in the keeper with settings of the client as keywords. They are callables, so that
    every connection is made by the process that uses it; the repr leaves them out, because they hold secrets.

    `behind` is the holder of a fence: the window opens, and goes on, only while its rule is there with a longer lease.
    """

    bucket: str
    prefix: str
    parts: tuple[str, ...]
    cloudflare: Callable[..., LockStore] = field(repr=False)
    s3: Callable[..., S3] = field(repr=False)
    reason: str = "maintenance"
    lease_seconds: float = 300.0
    cap_seconds: float = 3600.0
    open_timeout: float = 60.0
    close_timeout: float = 1800.0
    log_path: str | None = None
    # Whether a probe proves that the window is open; where deletes come next, they are the proof.
    proved: bool = True
    behind: str | None = None
    # The folder of the record, for the note of the window.
    noted_in: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", normalise_prefix(self.prefix))
        # The guard takes a longer one for forged.
        object.__setattr__(self, "lease_seconds", min(self.lease_seconds, LONGEST_LEASE.total_seconds()))

    @property
    def shared(self) -> bool:
        """Whether other repositories have their rules in the same lock document."""
        return self.prefix != ""

    @property
    def repository(self) -> str:
        return f"{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def prefixes(self) -> list[str]:
        """The prefixes that the window leaves unlocked, in the order of the parts."""
        by_id = {rule["id"]: rule["prefix"] for rule in lock_set(self.prefix)}
        return [by_id[rule_id(self.prefix, part)] for part in self.parts]

    def opened(self, rules: list[Rule], holder: str, lease: datetime, now: datetime) -> list[Rule]:
        """The lock document with the open window, which `holder` has until the lease."""
        self._check_fence(rules, lease)
        return open_window(rules, self.prefix, self.parts, lease=lease, holder=holder)

    def extended(self, rules: list[Rule], holder: str, lease: datetime) -> list[Rule]:
        """The lock document with a later lease."""
        self._check_fence(rules, lease)
        return extend_window(rules, self.prefix, holder, lease)

    def _check_fence(self, rules: list[Rule], until: datetime) -> None:
        if self.behind is not None:
            check_behind(rules, self.prefix, self.behind, until)


def spec_of(clients: Clients) -> dict[str, Any]:
    """The settings of a window or a fence that come from a module: the repository, the clients, the options."""
    options = {name: clients.params.get(name) for name in ("open_timeout", "log_path")}
    return {
        "bucket": clients.bucket,
        "prefix": clients.prefix,
        "cloudflare": clients.make_cloudflare,
        "s3": clients.make_s3,
        **{name: value for name, value in options.items() if value is not None},
    }


def noted_spec_of(clients: Clients) -> dict[str, Any]:
    """The same, of a window that is noted beside the record until the journal has it."""
    records = clients.params.get("record_dir")
    return {**spec_of(clients), "noted_in": folder(records, clients.bucket, clients.prefix) if records else ""}
