# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells of holds, and of snapshots that are protected by their ids; `_restic.retention_plan` decides what they keep.

That a hold has ended is told once: by the first maintenance that comes to its end after it. Which were told is in a file beside
the record.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from .._common.dates import format_date
from .._common.private_file import write_private
from .._common.record import RecordError, stored
from .._restic.retention import Decision
from .._restic.retention_plan import Hold
from .checks import BLOCK, WARN, Finding

NAME = "holds"


def told(holds: Mapping[str, Hold], now: datetime, before: Collection[str] = ()) -> list[Finding]:
    """Where nothing is removed, and where that has ended.

    Args:
        holds: By the name of a job, or "" for the repository.
        now: The time of the service.
        before: The ended ones that were told before.
    """
    found = []
    for name, hold in sorted(holds.items()):
        whose = f"job {name}" if name else "the repository"
        if now < hold.until:
            what = "Nothing: it ends by itself. To end it before, take it out of the settings."
            found.append(Finding("hold", WARN, f"Nothing of {whose} is removed {hold}.", what))
        elif _mark(name, hold) not in before:
            evidence = f"The hold on {whose} has ended, so that its old snapshots go again; it lasted {hold}."
            found.append(Finding("hold_ended", WARN, evidence, "Take it out of the settings, or set a later date."))
    return found


def active(
    holds: Mapping[str, Hold], now: datetime, decisions: Iterable[Decision], described: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Where nothing is removed: whose, until when, why, and of how many snapshots that is true."""
    held = [described[one.id]["job"] for one in decisions if "hold" in one.reasons]
    return [
        {
            "name": name,
            "until": format_date(hold.until),
            "reason": hold.reason,
            "snapshots": sum(not name or job == name for job in held),
        }
        for name, hold in sorted(holds.items())
        if now < hold.until
    ]


def unknown(ids: Collection[str]) -> list[Finding]:
    """Protected snapshots that are not there: the one that was meant might go."""
    if not ids:
        return []
    evidence = f"The repository has no snapshot {', '.join(sorted(ids)[:5])}, which is to be protected."
    what = "Correct holdfast_protected_snapshots, or find out where the snapshot is."
    return [Finding("protected_missing", BLOCK, evidence, what)]


def told_before(folder: str) -> set[str]:
    """The ended holds that were told before. A file that cannot be read tells of none."""
    try:
        found = json.loads((stored(folder, NAME) if folder else None) or b"[]")
        return {str(one) for one in found} if isinstance(found, list) else set()
    except ValueError:
        return set()


def remember(folder: str, holds: Mapping[str, Hold], now: datetime) -> None:
    """Write down which of the holds have ended, for they have been told."""
    ended = {_mark(name, hold) for name, hold in holds.items() if hold.until <= now}
    path = os.path.join(folder, NAME)
    if not folder or ended == told_before(folder):
        return
    try:
        write_private(path, json.dumps(sorted(ended)).encode())
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {error.strerror}.") from error


def _mark(name: str, hold: Hold) -> str:
    return f"{name} {format_date(hold.until)} {hold.reason}"
