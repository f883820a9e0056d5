# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Holds the settings of an audit, expected values and limits, which `options` makes. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from .._common.record import Record
from .._restic.retention_plan import Plan
from .freshness import Expected
from .signals import Limits


@dataclass(frozen=True)
class AuditSettings:
    """The settings of an audit, for maintenance too.

    Args:
        plan: Which snapshots to keep.
        expected: What snapshots should be like, and by which of their times to decide.
        max_remove: How many snapshots may go at once, as a number or a percentage.
        repository_id: The id that the repository must have.
        record: What was recorded about the repository.
        copies: The recorded content of objects, by name ("config", "keys/…").
        folder: Where the record and the baseline are; empty when nothing is remembered.
        rebuild: Read everything and make a new baseline, without the old one.
        first_read: How many bytes of data to read unasked when there is no baseline yet.
        scratch_dir: Where packs are put while they are looked at.
        time_limit: How many seconds all of it may take.
        signals: From when on a change looks like ransomware.
        signals_seconds: How many seconds the search for that may take.
        stop: Stop at the first findings that block; else go on and collect all.
    """

    plan: Plan = field(default_factory=Plan)
    expected: Expected = field(default_factory=Expected)
    max_remove: str = "95%"
    repository_id: Optional[str] = None
    record: Optional[Record] = None
    copies: Mapping[str, bytes] = field(default_factory=dict)
    folder: str = ""
    rebuild: bool = False
    first_read: int = 10 << 30
    scratch_dir: Optional[str] = None
    time_limit: Optional[float] = None
    signals: Limits = field(default_factory=Limits)
    signals_seconds: float = 900.0
    stop: bool = True
