# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For recover: shows the signals of a repository, and accepts them in the name of a person.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Optional

from .._audit.signals_state import Accepted, accept, load, save
from .._audit.signals_watch import told
from .._common.dates import format_date
from .._common.errors import HoldfastError
from .._common.record import folder, no_record
from .._common.record import load as load_record
from .._locks.rules import normalise_prefix

# How long a reason and a name may be.
_LONGEST = 500


@dataclass
class Signals:
    """The signals that are open, and those that this run accepts."""

    changed: bool = False
    open: list[dict[str, Any]] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)


def signals_of(
    record_dir: str,
    bucket: str,
    prefix: str,
    ids: Collection[str],
    by: Optional[str],
    reason: Optional[str],
    write: bool,
) -> Signals:
    """The open signals of a repository, after those with these ids were accepted.

    Raises:
        HoldfastError: There is no record, no such signal, or no name of the person who accepts it.
    """
    prefix = normalise_prefix(prefix)
    path = folder(record_dir, bucket, prefix)
    record = load_record(path)
    if record is None:
        raise no_record(record_dir, bucket, prefix)
    if ids and not (by or "").strip():
        raise HoldfastError("The person who accepts the signals is not named: write the name into accepted_by.")
    if ids and not (reason or "").strip():
        raise HoldfastError("The signals are accepted for no reason: say in reason why they are no danger.")
    state = load(path, record.repository_id)
    if state is None:
        if ids:
            raise HoldfastError(f"Nothing was looked at in {bucket}/{prefix} yet; run verify, or maintenance, first.")
        return Signals()
    waiting = {one["id"] for one in told(state, prefix)}
    now = format_date(datetime.now(timezone.utc).replace(microsecond=0))
    after = accept(state, ids, Accepted(str(by)[:_LONGEST], now, str(reason)[:_LONGEST]), prefix) if ids else state
    if write and after != state:
        save(path, after)
    return Signals(after != state, told(after, prefix), sorted(waiting & set(ids)))
