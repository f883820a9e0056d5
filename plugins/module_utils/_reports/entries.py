# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cleans an entry of the journal: what one run did with one repository. Pure.

Every text may come from a host, by way of a name or a message: each goes through `shown`, and is bounded, as lists are. What is
no field of an entry is left out, so that nothing gets into the journal that was not meant to: no secret is a field.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from .._common.dates import format_date, parse_date
from .._common.progress import Place
from .._common.untrusted import shown
from .._common.window_notes import NotedWindow
from .._r2.places import is_bucket

RUNS = (
    "site", "maintenance", "verify", "check", "drill", "rotate", "refresh", "password", "unlock", "recover", "restore", "guard",
    # A window of a run that could write nothing itself.
    "window",
)  # fmt: skip
# The length of a name, of a sentence; and how many of a kind an entry holds.
NAME, TEXT, MOST, MOST_JOBS = 120, 400, 30, 60
_LARGEST = 1 << 100
_CODE = re.compile(r"[a-z][a-z0-9_]{0,59}")
_CALENDAR = re.compile(r"[0-9a-f]{1,100}")
_HOLDER = re.compile(r"[0-9a-f]{16}")
_RUN_ID = re.compile(r"[0-9a-f-]{8,36}")

Entry = dict[str, Any]
Clean = Callable[[Any], Any]


def name(value: Any) -> str | None:
    return None if value is None else shown(value, NAME)


def text(value: Any) -> str | None:
    return None if value is None else shown(value, TEXT)


def instant(value: Any) -> str | None:
    """A time in UTC, to the second; None for what is no time."""
    moment = parse_date(value)
    return None if moment is None else format_date(moment.replace(microsecond=0))


def number(value: Any) -> float | int | None:
    # Larger whole numbers than this have no number of floating point.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _LARGEST:
        return None
    return value if isinstance(value, int) else round(value, 3)


def holder(value: Any) -> str | None:
    return value if isinstance(value, str) and _HOLDER.fullmatch(value) else None


def truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def code(value: Any) -> str | None:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def calendar(value: Any) -> str | None:
    """Days with snapshots, as hexadecimal digits."""
    return value if isinstance(value, str) and _CALENDAR.fullmatch(value) else None


def listed(each: Clean, most: int = MOST) -> Clean:
    """A list of such values, at most so many of them."""

    def clean(value: Any) -> Any:
        return [each(one) for one in value[:most]] if isinstance(value, (list, tuple)) else None

    return clean


def fields(known: Mapping[str, Clean]) -> Clean:
    """An object with these fields; those that have no value are left out."""

    def clean(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return None
        found = {key: each(value[key]) for key, each in known.items() if key in value}
        return {key: one for key, one in found.items() if one is not None}

    return clean


def named(each: Clean, most: int = MOST) -> Clean:
    """An object whose names are not known before."""

    def clean(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return None
        return {shown(key, NAME): each(one) for key, one in list(value.items())[:most]}

    return clean


def added_up(windows: list[Entry], most: int) -> list[Entry]:
    """At most so many windows. Where there are more, the first entry tells of the oldest together: no second, and none of
    them, gets lost.
    """
    old = windows[: len(windows) - most + 1]
    if len(windows) <= most:
        return windows
    count = sum(one.get("count", 1) for one in old)
    told: Entry = {
        "reason": f"{count} windows, added up",
        "parts": sorted({part for one in old for part in one.get("parts") or () if part}),
        "opened": min((one["opened"] for one in old if one.get("opened")), default=None),
        "closed": max((one["closed"] for one in old if one.get("closed")), default=None),
        "seconds": round(sum(one.get("seconds", 0) for one in old), 3),
        "count": count,
    }
    last: Entry = {name: old[-1][name] for name in ("at", "run") if name in old[-1]}
    return [{**last, **{name: one for name, one in told.items() if one is not None}}, *windows[len(old) :]]


def _windows(value: Any) -> list[Entry] | None:
    if not isinstance(value, (list, tuple)):
        return None
    return added_up([one for one in map(fields(_WINDOW), value) if one], MOST)


_WINDOW: dict[str, Clean] = {
    "holder": holder, "reason": text, "parts": listed(name, 5), "opened": instant, "closed": instant, "lease": instant,
    "seconds": number, "ended_by": text, "in_force": truth, "state": code, "count": number,
}  # fmt: skip
_FINDING: dict[str, Clean] = {"code": code, "severity": code, "job": name, "evidence": text, "what_to_do": text}
_JOB: dict[str, Clean] = {
    "name": name, "state": code, "newest": instant, "snapshots": number, "bytes": number, "text": text, "max_age": number,
    "oldest": instant, "days": number, "calendar": calendar,
}  # fmt: skip
_DRILL: dict[str, Clean] = {
    "job": name, "snapshot": name, "result": code, "files": number, "bytes": number, "seconds": number, "text": text,
}  # fmt: skip
_SIGNAL: dict[str, Clean] = {
    "id": name, "code": code, "job": name, "snapshot": name, "stored": instant, "last_good": name, "last_good_stored": instant,
    "evidence": text,
}  # fmt: skip
_HOLD: dict[str, Clean] = {"name": name, "until": instant, "reason": text, "snapshots": number}
_FIELDS: dict[str, Clean] = {
    "at": instant,
    "run": lambda value: value if value in RUNS else None,
    "id": lambda value: value if isinstance(value, str) and _RUN_ID.fullmatch(value) else None,
    "by": name,
    "host": name,
    "bucket": lambda value: value if isinstance(value, str) and is_bucket(value) else None,
    "prefix": name,
    "result": lambda value: value if value in ("ok", "failed") else None,
    "step": code,
    "text": text,
    "seconds": number,
    "locks": fields({"proved": truth, "by": code, "prefixes": named(code, 10)}),
    "open": fields(_WINDOW),
    "windows": _windows,
    "unfenced": text,
    "retention": text,
    "snapshots": number,
    "newest": instant,
    "bytes": number,
    "packs": number,
    "removed": number,
    "bytes_removed": number,
    "read": fields({"share": number, "bytes": number, "through": instant, "seconds": number}),
    "jobs": listed(fields(_JOB), MOST_JOBS),
    "drills": listed(fields(_DRILL), MOST_JOBS),
    "signals": listed(fields(_SIGNAL)),
    "holds": listed(fields(_HOLD)),
    "findings": listed(fields(_FINDING)),
    "calls_left": number,
}


def cleaned(entry: Mapping[str, Any]) -> Entry:
    """The entry with known fields of known form only. Raises ValueError for one without run or result."""
    found: Entry = fields(_FIELDS)(entry) or {}
    missing = [key for key in ("run", "result") if key not in found]
    if missing:
        raise ValueError(f"An entry of the journal has no valid {' and no valid '.join(missing)}.")
    return found


def repository(entry: Mapping[str, Any]) -> str:
    """The name of the repository that an entry is about; empty for one about none."""
    return f"{entry['bucket']}/{entry.get('prefix') or ''}".rstrip("/") if entry.get("bucket") else ""


def did_not_end(place: Place, path: str) -> Entry:
    """What is written of a run that could write nothing itself.

    Args:
        place: Where it was when it was last heard of.
        path: The path of the file that told of it, from the folder of the records.
    """
    bucket, prefix = _repository_of(path)
    began, moved, step = format_date(place.began), format_date(place.moved), place.step or "its beginning"
    if place.alone:
        text = (
            f"It began at {began} and ended at {moved}, but its ansible-playbook was killed before that: what came of it is not "
            f"known here. The last that it did: {step}."
        )
    else:
        text = f"It began at {began} and did not end: it was killed, or its machine died."
        text += f" It was last heard of at {moved} ({step})."
    which = "\n".join([bucket, prefix, place.run, began, str(place.pid), place.process])
    return cleaned(
        {
            # The audit of a repository is a part of the run verify.
            "run": place.run if place.run in RUNS else "verify",
            "result": "failed",
            "bucket": bucket,
            "prefix": prefix,
            "text": text,
            # The same each time, so that the line is written once.
            "id": hashlib.sha256(which.encode("utf-8", "replace")).hexdigest()[:32],
        }
    )


def wrote_no_line(noted: NotedWindow, path: str) -> Entry:
    """What is written of a window whose own run could write nothing.

    Args:
        noted: What was noted of it.
        path: The path of the note, from the folder of the records.
    """
    bucket, prefix = _repository_of(path)
    told = noted.report or {}
    ended = told.get("ended_by") or "not known, for its keeper was killed, too; the guard closes what it left open"
    window = {
        **told,
        "holder": noted.holder,
        "reason": noted.reason,
        "parts": noted.parts,
        "opened": told.get("opened") or format_date(noted.began),
        "ended_by": ended,
    }
    return cleaned(
        {
            "run": "window",
            "at": told.get("closed"),
            "result": "ok" if told.get("in_force") is True else "failed",
            "bucket": bucket,
            "prefix": prefix,
            "text": "The run that opened this window wrote no line itself: it was killed, or its machine died, or it was none of "
            "the playbooks of this collection.",
            "windows": [window],
            # The same each time, so that the line is written once.
            "id": noted.holder,
        }
    )


def _repository_of(path: str) -> tuple[str, str]:
    """Bucket and prefix of a file beside a record, by its path from the folder of all records."""
    bucket, _slash, rest = path.partition("/")
    return bucket, rest.rpartition("/")[0]
