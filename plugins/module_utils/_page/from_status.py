# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the hosts of a page from what status.json and the journal say of their repositories. Pure.

A field that is missing or has another form is not known; it is never taken for good news.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Optional

from .._audit.signals import NO_SIGN
from .._common.dates import parse_date
from .._common.untrusted import shown
from .model import ATTENTION, DANGER, Drill, Event, Hold, Host, Job, Problem, Signal, Snapshot, Window

LIMIT = 400
_LOOKS = ("verify", "maintenance")
_KEYS = {"host": "the host's own keys", "node": "the node's keys"}
# What stands for all jobs where nothing is known of each of them.
ALL = "all jobs"
_SHORT_ID = re.compile(r"[0-9a-f]{8}")
# How many snapshots are named on a page.
MOST_SNAPSHOTS = 60
_CALENDAR = re.compile(r"[0-9a-f]{1,100}")


def host_of(
    host: Mapping[str, Any], known: Optional[Mapping[str, Any]], lines: Iterable[Mapping[str, Any]] = ()
) -> Host:
    """A host of the page, from the state of its repository.

    Args:
        host: Its name, bucket and prefix, the names of its jobs, and max_age, after how many hours a snapshot is too old.
        known: Its repository in status.json; None when it is not there.
        lines: Its lines of the journal, the oldest first.
    """
    repository = f"{host['bucket']}/{host.get('prefix') or ''}".strip("/")
    if known is None:
        return Host(_text(host["name"]), _text(repository), _jobs(host, {}))
    last, locks = _mapping(known.get("last")), _mapping(known.get("locks"))
    maintained = _time(_mapping(last.get("maintenance")).get("ok_at"))
    windows = tuple(_window(one) for one in reversed(_objects(known.get("windows"))))
    return Host(
        _text(host["name"]),
        _text(repository),
        _jobs(host, known),
        heard=max(filter(None, (_time(_mapping(last.get(run)).get("at")) for run in _LOOKS)), default=None),
        proved=_time(locks.get("proved_at")),
        refuted=any(word != "locked" for word in _mapping(locks.get("prefixes")).values()),
        proved_by=_KEYS.get(str(locks.get("by")), ""),
        open=tuple(_window(one) for one in [_mapping(known.get("open"))] if one),
        windows=windows,
        maintained=maintained,
        unlocked=_unlocked(known, maintained),
        read_from=_time(_mapping(known.get("read")).get("through")),
        drill=_drill(known),
        holds=tuple(map(_hold, _objects(known.get("holds")))),
        signals=tuple(map(_signal, _signals(known))),
        bytes=_number(known.get("bytes")),
        sizes=_sizes(known.get("sizes")),
        findings=(*_findings(known), *_failures(last, known)),
        events=tuple(_event(line) for line in reversed(list(lines))),
    )


def with_snapshots(host: Host, newest: Mapping[str, Any]) -> Host:
    """The host with its newest snapshots, as the file beside its record has them."""
    found = [
        Snapshot(str(one["id"]), at, _text(one.get("job")), _number(one.get("bytes")))
        for one in _objects(newest.get("snapshots"))
        for at in [_time(one.get("stored"))]
        if at and _SHORT_ID.fullmatch(str(one.get("id")))
    ]
    return replace(host, snapshots=tuple(found[:MOST_SNAPSHOTS]), snapshots_seen=_time(newest.get("seen")))


def _jobs(host: Mapping[str, Any], known: Mapping[str, Any]) -> tuple[Job, ...]:
    """The jobs of the inventory, and those that the status knows besides."""
    found, age = _mapping(known.get("jobs")), float(host.get("max_age") or 26)
    if not found and known.get("newest"):
        count = known.get("snapshots")
        return (Job(ALL, age, _time(known.get("newest")), snapshots=count if isinstance(count, int) else None),)
    names = [*host.get("jobs", ()), *(name for name in found if name not in host.get("jobs", ()))]
    return tuple(_job(name, _mapping(found.get(name)), age) for name in names)


def _job(name: str, known: Mapping[str, Any], age: float) -> Job:
    newest, oldest = _time(known.get("newest")), _time(known.get("oldest"))
    # One that was looked at and has no limit may be as old as it likes.
    limit = _number(known.get("max_age")) or (math.inf if known.get("newest") else age)
    days = _days(known.get("calendar"), _time(known.get("at")))
    # The times of the newest and of the oldest one are known, of others the days.
    inside = {day for day in days if oldest and newest and oldest.date() < day.date() < newest.date()}
    stored = tuple(sorted({*inside, *(at for at in (oldest, newest) if at)}))
    return Job(_text(name), limit, newest, oldest, _count(known.get("snapshots")), _count(known.get("days")), stored)


def _days(calendar: Any, at: Optional[datetime]) -> list[datetime]:
    """Noon of each day on which a snapshot was stored."""
    if at is None or not isinstance(calendar, str) or not _CALENDAR.fullmatch(calendar):
        return []
    bits = int(calendar, 16)
    noon = at.replace(hour=12, minute=0, second=0, microsecond=0)
    return [noon - timedelta(days=number) for number in range(bits.bit_length()) if bits >> number & 1]


def _window(one: Mapping[str, Any]) -> Window:
    return Window(
        _time(one.get("opened") or one.get("since")),
        _time(one.get("closed")),
        _number(one.get("seconds")),
        tuple(map(_text, _texts(one.get("parts")))),
        _text(one.get("reason") or one.get("run")),
        _text(one.get("ended_by")),
        _time(one.get("lease")),
        _count(one.get("count")) or 1,
    )


def _unlocked(known: Mapping[str, Any], maintained: Optional[datetime]) -> Optional[float]:
    """For how long the last maintenance that succeeded had something unlocked; one that had nothing to delete, not at all."""
    if maintained is None:
        return None
    own = [
        one
        for one in _objects(known.get("windows"))
        if one.get("run") == "maintenance" and _time(one.get("at")) == maintained
    ]
    seconds = [_number(one.get("seconds")) for one in own]
    return None if None in seconds else sum(number for number in seconds if number is not None)


def _drill(known: Mapping[str, Any]) -> Optional[Drill]:
    """The newest drill that failed, where the newest of its job did; else the newest of all."""
    drills = [
        Drill(
            _time(one.get("at")), one.get("result") == "ok", _text(one.get("job")), _number(one.get("bytes")),
            _number(one.get("seconds")), _text(one.get("text")),
        )
        for one in map(_mapping, _mapping(known.get("drills")).values())
        if _time(one.get("at"))
    ]  # fmt: skip
    return max(drills, key=lambda drill: (not drill.well, drill.at), default=None)


def _signals(known: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Signs of an attack; that something could not be looked at is a finding, and no sign."""
    return [one for one in _objects(known.get("signals")) if one.get("code") not in NO_SIGN]


def _signal(one: Mapping[str, Any]) -> Signal:
    return Signal(
        _text(one.get("code")), _time(one.get("stored")), _text(one.get("evidence")), _text(one.get("job")),
        _text(one.get("snapshot"))[:8], _time(one.get("last_good_stored")), _text(one.get("last_good"))[:8],
    )  # fmt: skip


def _hold(one: Mapping[str, Any]) -> Hold:
    return Hold(_text(one.get("name")), _time(one.get("until")), _text(one.get("reason")), _count(one.get("snapshots")))


def _findings(known: Mapping[str, Any]) -> list[Problem]:
    """What was found, but for what is told of jobs, signals and windows from their own figures."""
    signals = {one.get("code") for one in _signals(known)}
    jobs = bool(_mapping(known.get("jobs")))
    return [
        Problem(
            DANGER if one.get("severity") != "warn" else ATTENTION, _text(one.get("evidence")) or _text(one.get("code")),
            _text(one.get("what_to_do")), _text(one.get("code")), _text(one.get("job")),
        )
        for one in _objects(known.get("findings"))
        if one.get("code") not in signals and not (one.get("code") == "stale" and jobs)
    ]  # fmt: skip


def _failures(last: Mapping[str, Any], known: Mapping[str, Any]) -> list[Problem]:
    """A newest run that failed, where no finding of it tells why."""
    blocking = [one for one in _objects(known.get("findings")) if one.get("severity") != "warn"]
    told = bool(blocking or _signals(known))
    problems = []
    for run, state in (("verify", DANGER), ("maintenance", ATTENTION), ("check", DANGER), ("recover", ATTENTION)):
        newest = _mapping(last.get(run))
        if newest.get("result") == "failed" and not (told and run in _LOOKS):
            said = f": {_text(newest.get('text'))}" if newest.get("text") else "."
            problems.append(Problem(state, f"The newest {run} failed{said}", f"See the output of {run}.", "failed"))
    return problems


def _event(line: Mapping[str, Any]) -> Event:
    return Event(
        _time(_at(line)),
        _text(line.get("run")),
        line.get("result") == "ok",
        _text(line.get("text")),
        _text(line.get("by")),
    )


def _sizes(value: Any) -> tuple[tuple[datetime, float], ...]:
    pairs = [one for one in value if isinstance(one, list) and len(one) == 2] if isinstance(value, list) else []
    found = [(_time(day), _number(count)) for day, count in pairs]
    return tuple((day, count) for day, count in found if day is not None and count is not None)


def _at(line: Mapping[str, Any]) -> Any:
    return line.get("at") or line.get("written")


def _text(value: Any) -> str:
    return "" if value is None else shown(value, LIMIT)


def _time(value: Any) -> Optional[datetime]:
    return parse_date(value)


def _number(value: Any) -> Optional[float]:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _count(value: Any) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
