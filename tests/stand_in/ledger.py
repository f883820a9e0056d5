# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The exposure ledger: when was what once was protected not protected."""

from __future__ import annotations

from typing import Any, Optional

from tests.stand_in.locks import Enforcement, parse_instant
from tests.stand_in.state import Bucket, State


def _span(entry: Enforcement) -> tuple[float, Optional[float]]:
    """From when until when a rule is in force, as far as is decided."""
    until = entry.until
    if entry.condition["type"] == "Date":
        end = parse_instant(entry.condition["date"])
        until = end if until is None else min(until, end)
    return entry.since, until


def gaps(prefix: str, history: list[Enforcement], now: float) -> list[tuple[float, Optional[float]]]:
    """The times after its first protection in which no rule in force covered a prefix."""
    covering = [_span(entry) for entry in history if prefix.startswith(entry.prefix)]
    found: list[tuple[float, Optional[float]]] = []
    end: Optional[float] = None
    for since, until in sorted((span for span in covering if span[0] <= now), key=lambda span: span[0]):
        if until is not None and until <= since:
            continue
        if end is not None and since > end:
            found.append((end, since))
        if until is None:
            return found
        end = until if end is None else max(end, until)
    if end is not None and end <= now:
        found.append((end, None))
    return found


def _exposures(bucket: Bucket, now: float) -> list[dict[str, Any]]:
    if bucket.deleted is not None:
        now = bucket.deleted
    prefixes = sorted({entry.prefix for entry in bucket.locks.history if entry.since <= now})
    return [
        {
            "bucket": bucket.name,
            "jurisdiction": bucket.jurisdiction,
            "prefix": prefix,
            "from": since,
            "to": bucket.deleted if until is None else until,
            "seconds": (now if until is None else until) - since,
        }
        for prefix in prefixes
        for since, until in gaps(prefix, bucket.locks.history, now)
    ]


def ledger(state: State, since: float) -> dict[str, Any]:
    """Exposures that ended after an instant or have not ended, and destructive requests after it."""
    now = state.now()
    found = [entry for bucket in [*state.deleted_buckets, *state.buckets.values()] for entry in _exposures(bucket, now)]
    return {
        "exposures": [entry for entry in found if entry["to"] is None or entry["to"] > since],
        "destructive": [entry for entry in state.destructive if entry["time"] > since],
    }
