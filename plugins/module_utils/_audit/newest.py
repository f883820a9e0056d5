# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers the newest snapshots of each job beside the record, so that a page can name the one that a restore is to take.

It is told, and decides nothing.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from .._common.dates import format_date
from .._common.errors import HoldfastError
from .._common.private_file import open_private, write_private
from .._restic.jobs import Jobs
from .._restic.retention import Snapshot

NAME = "newest_snapshots.json"
# So many of each job, and of all jobs together.
MOST_OF_JOB, MOST = 20, 100
# What restic shows of an id.
_SHORT = 8
# A larger file is none of ours.
_LARGEST = 64 << 10
# A host says how large a snapshot is: of numbers that no disk holds, nothing is believed.
_LARGEST_SIZE = 1 << 60


def newest(snapshots: Iterable[Snapshot], stored: Mapping[str, datetime], jobs: Jobs) -> list[dict[str, Any]]:
    """The newest of each job, and of no job, the newest first.

    Args:
        snapshots: All of them.
        stored: When the service stored each of them, by id. One that is not named is not there any more.
        jobs: The jobs of the host.
    """
    found: list[dict[str, Any]] = []
    seen: Counter[str] = Counter()
    there = [one for one in snapshots if one["id"] in stored]
    for one in sorted(there, key=lambda one: (stored[one["id"]], one["id"]), reverse=True):
        job = jobs.of(one) or ""
        seen[job] += 1
        if seen[job] <= MOST_OF_JOB and len(found) < MOST:
            summary = one.get("summary")
            size = summary.get("total_bytes_processed") if isinstance(summary, Mapping) else None
            found.append(
                {
                    "id": one["id"][:_SHORT],
                    "job": job,
                    "stored": format_date(stored[one["id"]].replace(microsecond=0)),
                    "bytes": size if isinstance(size, int) and 0 <= size < _LARGEST_SIZE else None,
                }
            )
    return found


def remember(folder: str, found: list[dict[str, Any]], now: datetime) -> None:
    """Write them down. Where that is not possible, the page shows those of before, with their time."""
    data = {"v": 1, "seen": format_date(now.replace(microsecond=0)), "snapshots": found}
    with suppress(OSError, HoldfastError):
        write_private(os.path.join(folder, NAME), (json.dumps(data) + "\n").encode())


def remembered(folder: str) -> Mapping[str, Any]:
    """What was written down; nothing where that cannot be read."""
    path = os.path.join(folder, NAME)
    with suppress(OSError, ValueError, RecursionError, HoldfastError), open_private(path) as stream:
        text = stream.read(_LARGEST + 1)
        data = json.loads(text) if len(text) <= _LARGEST else None
        if isinstance(data, dict):
            return data
    return {}
