# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Works out what is so now from the lines of the journal: the content of status.json. Pure.

Instants are texts in UTC of one form, so that they compare as they are: R2's clock where a run has asked it, else the node's.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from .._common.dates import format_date, parse_date
from .entries import added_up, repository

State = dict[str, Any]
Line = Mapping[str, Any]
# Of how many days the size of a repository is kept.
DAYS = 92
# The last windows of a repository are kept, and all of a month, for the page adds them up.
LAST_WINDOWS, WINDOW_DAYS, MOST_WINDOWS = 20, 31, 200
# A guard that finds nothing writes a line only so often.
_QUIET = timedelta(days=1)
# Runs that look at the whole repository, so that what they find takes the place of what was found before.
_LOOKS = ("verify", "maintenance")
# The findings of a run take the place of those of the run before of the same group.
_GROUPS = {"verify": "look", "maintenance": "look", "check": "check", "drill": "drill"}
_FIGURES = ("snapshots", "newest", "bytes", "packs")


def empty() -> State:
    return {
        "v": 1,
        "written": None,
        "journal": {"file": "", "lines": 0, "hash": "0" * 64},
        "runs": {},
        "repositories": {},
    }


def take(state: State, line: Line) -> None:
    """Bring the state from before a line to after it."""
    at = _at(line)
    _run(state["runs"].setdefault(line.get("run", ""), {}), line, at)
    name = repository(line)
    if name:
        _repository(state["repositories"].setdefault(name, _new(line, at)), line, at)


def worth_a_line(state: State, entry: Line, written: str) -> bool:
    """Whether an entry says something new. Everything does, but for a guard that has found nothing a moment ago, too."""
    if entry.get("run") != "guard" or entry["result"] != "ok" or entry.get("windows") or entry.get("text"):
        return True
    before = state["runs"].get("guard", {})
    told, now = parse_date(before.get("line")), parse_date(written)
    return before.get("result") != "ok" or told is None or now is None or abs(now - told) >= _QUIET


def looked(state: State, entry: Line, written: str) -> None:
    """Note the time of a look that is not worth a line."""
    run = state["runs"].setdefault(entry["run"], {})
    run["at"] = run["ok_at"] = entry.get("at") or written
    if "calls_left" in entry:
        run["calls_left"] = entry["calls_left"]


def _at(line: Line) -> str:
    return str(line.get("at") or line.get("written") or "")


def _run(run: dict[str, Any], line: Line, at: str) -> None:
    """A run has as many lines as repositories, and is ok when all of them are."""
    same = line.get("id") is not None and line.get("id") == run.get("id")
    if not same:
        run["before"] = run.get("ok_at")
        run.update(result="ok", ok=0, failed=0)
    run.update(id=line.get("id"), by=line.get("by"), at=at, line=at)
    ok = line.get("result") == "ok"
    run["ok" if ok else "failed"] += 1
    if not ok:
        run["result"] = "failed"
    run["ok_at"] = at if run["result"] == "ok" else run["before"]
    if "calls_left" in line:
        run["calls_left"] = line["calls_left"]


def _new(line: Line, at: str) -> dict[str, Any]:
    return {
        "bucket": line["bucket"], "prefix": line.get("prefix") or "", "host": None, "state": "new", "since": at, "text": "",
        "last": {}, "locks": {}, "open": None, "windows": [], "seconds_unlocked": 0.0, "sizes": [], "read": {}, "jobs": {},
        "drills": {}, "signals": [], "holds": [], "findings": [],
    }  # fmt: skip


def _repository(known: dict[str, Any], line: Line, at: str) -> None:
    run, ok = line.get("run", ""), line.get("result") == "ok"
    known["host"] = line.get("host") or known["host"]
    last = known["last"].setdefault(run, {"ok_at": None})
    last.update(at=at, result=line.get("result"), text=line.get("text", ""), by=line.get("by"), id=line.get("id"))
    if ok:
        last["ok_at"] = at
    for name in ("seconds", "removed", "bytes_removed", "unfenced", "step"):
        last.pop(name, None)
        if name in line:
            last[name] = line[name]
    known.update({name: line[name] for name in _FIGURES if name in line})
    if "bytes" in line:
        known["sizes"] = [*(size for size in known["sizes"] if size[0] != at[:10]), [at[:10], line["bytes"]]][-DAYS:]
    _locks(known, line, at)
    _windows(known, line, at)
    _parts(known, line, at)
    _stands(known, run, ok, str(line.get("text", "")), at)


def _locks(known: dict[str, Any], line: Line, at: str) -> None:
    if "locks" not in line:
        return
    locks = known["locks"]
    locks.update({"proved": False, "by": None, "prefixes": {}, **line["locks"]}, at=at)
    if locks["proved"]:
        locks["proved_at"] = at


def _windows(known: dict[str, Any], line: Line, at: str) -> None:
    done = [{"at": at, "run": line.get("run"), **window} for window in line.get("windows") or ()]
    # A window without a length was opened by another run: it was open at most from when it was seen until now, or its lease.
    if known["open"] and "open" in line and not line["open"] and not done:
        done = [{"at": at, "run": line.get("run"), **known["open"], "ended_by": "seen closed"}]
    # What was noted of it may be written down long after it, and while another one is open.
    late = line.get("run") == "window"
    for window in done:
        if "seconds" not in window and known["open"] and not late:
            window["seconds"] = _longest(known["open"], at)
    known["windows"] = _kept(known["windows"] + done, at)
    known["seconds_unlocked"] = round(known["seconds_unlocked"] + sum(one.get("seconds", 0) for one in done), 3)
    if line.get("open"):
        since = (known["open"] or {}).get("since") or line["open"].get("opened") or at
        known["open"] = {**line["open"], "since": since}
    elif "open" in line or (done and not late) or (line.get("locks") or {}).get("proved"):
        # The open window is closed: a window was just closed, the rules say that none is open, or all was proved to be locked.
        known["open"] = None


def _kept(windows: list[dict[str, Any]], at: str) -> list[dict[str, Any]]:
    now = parse_date(at)
    since = format_date(now - timedelta(days=WINDOW_DAYS)) if now else ""
    recent = [one for one in windows[:-LAST_WINDOWS] if one["at"] >= since]
    return added_up(recent + windows[-LAST_WINDOWS:], MOST_WINDOWS)


def _longest(window: Mapping[str, Any], at: str) -> float:
    """For how long a window can have been open that was not seen to be closed."""
    since, ended, lease = (parse_date(text) for text in (window.get("since"), at, window.get("lease")))
    if since is None or ended is None:
        return 0.0
    return max(0.0, (min(ended, lease or ended) - since).total_seconds())


def _parts(known: dict[str, Any], line: Line, at: str) -> None:
    if "read" in line:
        known["read"] = {**known["read"], **line["read"], "at": at}
    if "jobs" in line:
        known["jobs"] = {job["name"]: {**job, "at": at} for job in line["jobs"] if "name" in job}
    for drill in line.get("drills") or ():
        before = known["drills"].get(drill.get("job", ""), {})
        ok_at = at if drill.get("result") == "ok" else before.get("ok_at")
        known["drills"][drill.get("job", "")] = {**drill, "at": at, "ok_at": ok_at}
    for name in ("signals", "holds"):
        if name in line:
            known[name] = list(line[name])
    if line.get("run") in _GROUPS and "findings" in line:
        group = _GROUPS[line["run"]]
        own = [{**finding, "run": line["run"]} for finding in line["findings"]]
        known["findings"] = [one for one in known["findings"] if _GROUPS.get(one.get("run")) != group] + own


def _stands(known: dict[str, Any], run: str, ok: bool, text: str, at: str) -> None:
    """The state in one word, by the last look; what a run did that was no look changes it only where a window came or went."""
    word = known["state"]
    if run in _LOOKS:
        word = "ok" if ok else "failed"
        known["text"] = text
    if known["open"]:
        word = "open"
    elif word == "open":
        word = "new"
    if word != known["state"]:
        known.update(state=word, since=at)
