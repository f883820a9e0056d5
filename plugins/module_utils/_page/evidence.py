# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells what the journal proves of a period: what was locked, each time something was not, and what was done about it. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Optional

from .._common.dates import format_date, parse_date
from .._common.errors import HoldfastError

VERSION = 1
Line = Mapping[str, Any]
_LOOKS = ("verify", "maintenance")
# How to verify the signature, where there is one.
_VERIFY = "ssh-keygen -Y verify -f allowed_signers -I holdfast -n holdfast-evidence -s {0}.json.sig < {0}.json"
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class PeriodError(HoldfastError):
    """A period is none."""


@dataclass(frozen=True)
class Period:
    """From one instant to before another one, and how that was said."""

    name: str
    begin: datetime
    end: datetime


def period_of(text: str) -> Period:
    """A year (2026), a month (2026-03), a day, or two days with a slash between them, of which both belong to it."""
    first, slash, last = text.partition("/")
    begin, end = _begin(first), _end(last if slash else first)
    if begin is None or end is None or begin >= end or (slash and not (_DAY.fullmatch(first) and _DAY.fullmatch(last))):
        raise PeriodError(
            f"{text!r} is no period: write a year or a month, as in 2026-03, or the first and the last day, as in "
            "2026-03-01/2026-03-15."
        )
    return Period(text.replace("/", "_"), begin, end)


def _begin(text: str) -> Optional[datetime]:
    return parse_date({4: f"{text}-01-01", 7: f"{text}-01", 10: text}.get(len(text)))


def _end(text: str) -> Optional[datetime]:
    begin = _begin(text)
    if begin is None or len(text) == 10:
        return begin and begin + timedelta(days=1)
    following = (begin + timedelta(days=366 if len(text) == 4 else 31)).replace(day=1)
    return following.replace(month=1) if len(text) == 4 else following


@dataclass
class _Repository:
    """What was told of one repository."""

    host: str = ""
    before: Optional[datetime] = None
    proofs: list[datetime] = field(default_factory=list)
    not_proved: list[dict[str, Any]] = field(default_factory=list)
    windows: list[dict[str, Any]] = field(default_factory=list)
    runs: dict[str, dict[str, int]] = field(default_factory=dict)
    failed: list[dict[str, Any]] = field(default_factory=list)
    drills: list[dict[str, Any]] = field(default_factory=list)
    removed: int = 0
    # What is there for some time, by what it is known by; and what of it the newest look has found.
    lasting: dict[str, dict[Any, dict[str, Any]]] = field(default_factory=dict)
    newest: dict[str, set[Any]] = field(default_factory=dict)


def evidence(lines: Iterable[Line], period: Period, now: datetime, journal: Mapping[str, Any]) -> dict[str, Any]:
    """What the lines of a journal say of a period.

    Args:
        lines: All lines of the journal, the oldest first.
        now: When this is made; a period that has not ended is told until then.
        journal: What is known of the chain of its lines.
    """
    known: dict[str, _Repository] = {}
    count = 0
    for line in lines:
        at = parse_date(line.get("at") or line.get("written"))
        name = f"{line.get('bucket') or ''}/{line.get('prefix') or ''}".strip("/")
        if at is None or not name or at >= period.end:
            continue
        one = known.setdefault(name, _Repository())
        one.host = line.get("host") or one.host
        if at < period.begin:
            if (line.get("locks") or {}).get("proved"):
                one.before = at
            continue
        count += 1
        _take(one, line, at)
    end = min(period.end, now)
    told = {name: _told(one, period.begin, end) for name, one in sorted(known.items()) if one.runs or one.before}
    return {
        "v": VERSION,
        "period": period.name,
        "from": format_date(period.begin),
        "to": format_date(end),
        "made": format_date(now.replace(microsecond=0)),
        "journal": {**journal, "lines_in_period": count},
        "verify": _VERIFY.format(period.name),
        "repositories": told,
    }


def _take(one: _Repository, line: Line, at: datetime) -> None:
    run, ok = str(line.get("run")), line.get("result") == "ok"
    when = {"at": format_date(at), "run": run, "by": line.get("by")}
    counts = one.runs.setdefault(run, {"ok": 0, "failed": 0})
    counts["ok" if ok else "failed"] += 1
    if not ok:
        one.failed.append({**when, "text": line.get("text")})
    locks = line.get("locks")
    if locks:
        if locks.get("proved"):
            one.proofs.append(at)
        else:
            one.not_proved.append({**when, "prefixes": locks.get("prefixes") or {}, "text": line.get("text")})
    one.windows += [{**when, **window} for window in line.get("windows") or ()]
    one.drills += [{**when, **drill} for drill in line.get("drills") or ()]
    one.removed += int(line.get("removed") or 0)
    for kind, entries in _lasting(line):
        _last(one.lasting.setdefault(kind, {}), one.newest.get(kind, set()), entries, at)
        one.newest[kind] = set(entries)


def _lasting(line: Line) -> Iterator[tuple[str, dict[Any, dict[str, Any]]]]:
    """What lasts from one line to the next that tells of its kind, by what it is known by."""
    if "findings" in line and line.get("run") in _LOOKS:
        yield "findings", {_known_by(one): dict(one) for one in line["findings"]}
    if "signals" in line:
        yield "signals", {one.get("id") or (one.get("code"), one.get("snapshot")): dict(one) for one in line["signals"]}
    if "holds" in line:
        yield "holds", {one.get("name"): dict(one) for one in line["holds"]}
    if "retention" in line:
        yield "retention", {line["retention"]: {"rules": line["retention"]}}


def _known_by(finding: Line) -> tuple[Any, ...]:
    """What stays the same of a finding; the figures in it change."""
    return finding.get("code"), finding.get("job"), re.sub(r"[0-9][0-9.,:TZ-]*", "#", str(finding.get("evidence")))


def _last(
    known: dict[Any, dict[str, Any]], newest: set[Any], entries: Mapping[Any, dict[str, Any]], at: datetime
) -> None:
    """Take what a line tells of a kind; nothing but what the line before it told of can be gone since."""
    moment = format_date(at)
    for key, entry in entries.items():
        before = known.get(key, {"first": moment})
        known[key] = {**entry, "first": before["first"], "last": moment, "gone": None}
    for key in newest - entries.keys():
        known[key]["gone"] = moment


def _told(one: _Repository, begin: datetime, end: datetime) -> dict[str, Any]:
    gap = _longest([one.before or begin, *one.proofs, end])
    seconds = [window["seconds"] for window in one.windows if isinstance(window.get("seconds"), (int, float))]
    return {
        "host": one.host,
        "proofs": {
            "count": len(one.proofs),
            "before": one.before and format_date(one.before),
            "first": format_date(one.proofs[0]) if one.proofs else None,
            "last": format_date(one.proofs[-1]) if one.proofs else None,
            "longest_gap_hours": round((gap[1] - gap[0]).total_seconds() / 3600, 1),
            "longest_gap": [format_date(moment) for moment in gap],
        },
        "not_proved": one.not_proved,
        "unlocked_seconds": round(sum(seconds), 3),
        "unlocked_windows": sum(int(window.get("count") or 1) for window in one.windows),
        "windows": one.windows,
        "runs": one.runs,
        "failed": one.failed,
        "drills": one.drills,
        "removed": one.removed,
        **{kind: list(one.lasting.get(kind, {}).values()) for kind in ("findings", "signals", "holds", "retention")},
    }


def _longest(moments: list[datetime]) -> tuple[datetime, datetime]:
    """The longest time between two of these that follow each other."""
    return max(zip(moments, moments[1:]), key=lambda pair: pair[1] - pair[0])
