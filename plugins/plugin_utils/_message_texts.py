# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the message about a run, by its table and the entries of its journal. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..module_utils._audit.signals import ENCRYPTED, NO_SIGN
from ..module_utils._common.untrusted import shown

# How many lines of the table a message has; those that are not well come first.
MOST_LINES = 200
LINE_LIMIT = 500


def run_message(table: Iterable[str], run: str, calls: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Title and body, whether the run was well, and whether people should be told however it ended.

    Args:
        table: The lines of the table, the first of them its head.
        run: The kind of run.
        calls: What was written into journals.
    """
    calls = list(calls)
    head, *rows = (shown(line, LINE_LIMIT) for line in table)
    states = [[*row.split(maxsplit=2), "", ""][1] for row in rows]
    failed = [row for row, state in zip(rows, states) if state == "FAILED"]
    wrong = [row for row, state in zip(rows, states) if state == "note" and " Journal in " in row]
    hosts = [state for state in states if state in ("ok", "FAILED")]
    entries = [entry for call in calls for entry in call["entries"]]
    attacked, unseen = (
        sorted({str(entry["host"]) for entry in entries if said(entry)}) for said in (_attacked, _unseen)
    )
    title = (
        f"holdfast {run}: {len(failed)} of {len(hosts)} failed" if failed else f"holdfast {run}: all {len(hosts)} well"
    )
    if wrong:
        title += ", the journal is not well"
    if attacked:
        title += f", signs of an attack on {_some(attacked)}"
    if unseen:
        title += f", not looked at for signs of an attack: {_some(unseen)}"
    ordered = failed + wrong + [row for row in rows if row not in failed and row not in wrong]
    more = [f"{len(ordered) - MOST_LINES} more lines"] if len(ordered) > MOST_LINES else []
    return {
        "title": shown(title, LINE_LIMIT),
        "body": "\n".join([head, *ordered[:MOST_LINES], *more]),
        "state": "failed" if failed or wrong else "ok",
        "urgent": bool(failed or wrong or attacked or unseen),
        "id": calls[0]["id"] if calls else "",
    }


def guard_message(relocked: Mapping[str, Any]) -> dict[str, Any]:
    """The same about a run of the guard, by the result of r2_bucket_relock."""
    failed, closed = bool(relocked.get("failed")), int(relocked.get("closed") or 0)
    fences = sum(len(one.get("fences") or ()) for one in relocked.get("buckets") or ())
    title = f"{closed} windows closed, {fences} fences taken down"
    lines = [str(relocked.get("msg") or "")] if failed else []
    lines += [str(one["line"]) for one in relocked.get("buckets") or ()][:MOST_LINES]
    return {
        "title": f"holdfast guard: {'failed, ' if failed else ''}{title}",
        "body": "\n".join(shown(line, LINE_LIMIT) for line in lines),
        "state": "failed" if failed else "ok",
        "urgent": failed or closed + fences > 0,
    }


def _some(names: list[str]) -> str:
    return f"{', '.join(names[:5])}{' and others' if len(names) > 5 else ''}"


def _attacked(entry: Mapping[str, Any]) -> bool:
    seen = any(one.get("code") == ENCRYPTED for one in entry.get("findings") or ())
    return seen or any(one.get("code") not in NO_SIGN for one in entry.get("signals") or ())


def _unseen(entry: Mapping[str, Any]) -> bool:
    return any(one.get("code") in NO_SIGN for one in entry.get("signals") or ())
