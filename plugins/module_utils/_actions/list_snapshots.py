# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists snapshots, with the times at which the service stored them.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from .._audit.survey import at_most
from .._clients import Clients
from .._locks.rules import parse_date
from .._r2.s3 import S3

# Of the snapshots that cannot be read.
_MOST_TOLD = 20
_BEGINNING = datetime.min.replace(tzinfo=timezone.utc)


def stored_times(s3: S3, prefix: str) -> dict[str, datetime]:
    """When each snapshot object was stored, by snapshot id."""
    folder = f"{prefix}snapshots/"
    return {item.key[len(folder) :]: item.last_modified for item in at_most(s3, folder)}


def listed(clients: Clients, *, upload_times: bool, unreadable: str) -> tuple[list[dict[str, Any]], list[str]]:
    """All snapshots, oldest first by their claimed time, and what restic says of those that it cannot read."""
    restic = clients.open_repository()
    found, ignored = restic.list_snapshots() if unreadable == "tell" else (restic.snapshots(), [])
    for snapshot in found:
        snapshot["tags"] = snapshot.get("tags") or []
    if upload_times:
        _add_uploads(clients, found)
    found.sort(key=lambda snapshot: (parse_date(snapshot["time"]) or _BEGINNING, snapshot["id"]))
    return found, ignored[:_MOST_TOLD]


def _add_uploads(clients: Clients, found: list[dict[str, Any]]) -> None:
    times = stored_times(clients.s3, clients.prefix)
    for snapshot in found:
        stored = times.get(snapshot["id"])
        text = stored.astimezone(timezone.utc).isoformat(timespec="seconds") if stored else None
        snapshot["uploaded"] = text.replace("+00:00", "Z") if text else None
