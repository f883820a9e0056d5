# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes entries of the journal from what modules on the maintenance node returned. Pure, but for the name of the user.

No result of a backed-up host is read here, and the module `journal` bounds what it is given.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import getpass
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Optional

from ..module_utils._locks.probe import in_force
from ._tables import NO_JOBS, report_of

Result = Mapping[str, Any]
Entry = dict[str, Any]
Call = dict[str, Any]
# The variable of each host that holds its repository, and node and folder of its journal.
_NOTES = "__repository_place"
# The variable of each host of a batch that holds what was written down by its end.
_CALLS = "__repository_journals"
_PLACE = ("node", "node_python", "record_dir", "metrics_file")


def journal_calls(
    hostvars: Mapping[str, Any],
    hosts: Iterable[str],
    run: str,
    by: str = "",
    write: bool = True,
    run_id: str = "",
) -> list[Call]:
    """Which entries are written where: one call of the module for each node and folder.

    Args:
        hostvars: As the module `settings` reads them, without facts.
        hosts: The hosts of the run.
        run: Its kind.
        by: Who started it, where that is not the user of this process.
        write: Whether there is anything to write; not in check mode.
        run_id: The id of the run, where it has one.
    """
    calls: dict[tuple[str, ...], Call] = {}
    hosts = list(hosts)
    earlier = _earlier(hostvars, hosts)
    done = {host for call in earlier for host in call["done"]}
    common = {"run": run, "id": earlier[0]["id"] if earlier else run_id or str(uuid.uuid4()), "by": by or user()}
    for host, noted in _noted(hostvars, hosts).items():
        if host in done or not noted.get("record_dir"):
            continue
        done.add(host)
        place = {name: str(noted.get(name) or "") for name in _PLACE}
        call = calls.setdefault(tuple(place.values()), {**place, "check": False, "entries": []})
        call["check"] = call["check"] or bool(noted.get("check_journal"))
        if write:
            call["entries"].append({**common, "host": host, **_about(noted), **entry_of(run, hostvars[host])})
    told = {"id": common["id"], "done": sorted(done)}
    return [{**call, **told} for call in calls.values()]


def _noted(hostvars: Mapping[str, Any], hosts: list[str]) -> dict[str, Result]:
    """What each host has noted. Settings may be too wrong to tell journal and repository: another's journal has it then."""
    noted = {host: hostvars[host].get(_NOTES) or {} for host in hosts}
    known = next((one for one in noted.values() if one.get("record_dir")), {})
    instead = {**known, "bucket": None, "prefix": None}
    return {host: instead if one and not one.get("record_dir") else one for host, one in noted.items()}


def _earlier(hostvars: Mapping[str, Any], hosts: list[str]) -> list[Call]:
    """The calls of the batch before this one, whose hosts alone have them; they name all hosts that are written down."""
    for host in reversed(hosts):
        told = hostvars[host].get(_CALLS)
        if told:
            return list(told.get("journal_calls") or ())
    return []


def journal_notes(checked: Result, written: Result, record_dir: str) -> list[str]:
    """The problems of a journal, for the table.

    Args:
        checked: The result of the module journal_info.
        written: The result of the module journal.
        record_dir: The folder of the journal.
    """
    wrong = [*_failed(checked), *(checked.get("broken") or ()), *_failed(written)]
    return [f"Journal in {record_dir}: {one}" for one in dict.fromkeys(wrong)]


def _failed(result: Result) -> list[str]:
    if result.get("unreachable"):
        return ["The maintenance node could not be reached; the journal was not written."]
    done = not result or "lines" in result or result.get("skipped")
    return [] if done else [str(result.get("msg") or "It could not be written.")]


def _about(noted: Mapping[str, Any]) -> Entry:
    return {"bucket": noted.get("bucket"), "prefix": noted.get("prefix") or ""}


def user() -> str:
    """The user of this machine on whose behalf this runs."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def entry_of(run: str, variables: Mapping[str, Any]) -> Entry:
    """The result of a run for a host."""
    report = report_of(variables)
    told: Entry = {"result": "ok" if report.get("done") else "failed", "text": report.get("text", "")}
    made = _MAKERS.get(run)
    return {**told, **(made(variables) if made else {})}


def _result(variables: Mapping[str, Any], name: str) -> Result:
    found = variables.get(name)
    return found if isinstance(found, Mapping) else {}


def verified(variables: Mapping[str, Any]) -> Entry:
    """What restic_verify and restic_audit returned."""
    seen, audited = _result(variables, "repository_verified"), _result(variables, "repository_audited")
    if "prefixes" not in seen:
        return {"findings": _not_seen(variables, "not_verified")}
    entry: Entry = {
        "at": seen.get("time"),
        "locks": {
            "proved": in_force(dict(seen["prefixes"])),
            "by": seen.get("probed_with"),
            "prefixes": seen["prefixes"],
        },
        "open": seen.get("window") or {},
        "snapshots": seen.get("snapshots"),
        "newest": seen.get("newest"),
        "jobs": [{**job, "state": _state_of(job)} for job in seen.get("jobs") or ()],
        "holds": seen.get("holds"),
    }
    findings: list[Entry] = [
        {"code": code, "severity": "block", "evidence": sentence}
        for code, sentence in zip(seen.get("codes") or (), seen.get("findings") or (), strict=True)
    ]
    if seen.get("snapshots") and not seen.get("jobs"):
        findings.append({"code": "jobs_unknown", "severity": "block", "evidence": NO_JOBS})
    return {**entry, **_looked_into(audited, findings)}


def _state_of(job: Result) -> str:
    if not job.get("snapshots"):
        return "none"
    late = job.get("max_age") is not None and job["age_hours"] > job["max_age"]
    return "stale" if late else "ok"


def maintained(variables: Mapping[str, Any]) -> Entry:
    """What restic_prune returned."""
    pruned = _result(variables, "repository_pruned")
    if "windows" not in pruned:
        return {"findings": _not_seen(variables, "not_maintained")}
    windows = [{**window, "parts": _parts(window)} for window in pruned["windows"]]
    entry: Entry = {
        "at": pruned.get("time"),
        "windows": windows,
        "unfenced": next(
            (fence["without"] for fence in reversed(pruned.get("fences") or []) if fence.get("without")), None
        ),
        "retention": _retention(_result(variables, "__repository_set")),
        "removed": len(pruned.get("removed") or ()),
        "bytes_removed": pruned.get("bytes_removed"),
        "snapshots": len(pruned.get("kept") or ()) if pruned.get("kept") else None,
    }
    if windows and windows[-1].get("in_force") is not None:
        entry["locks"] = {"proved": bool(windows[-1]["in_force"]), "by": "node", "prefixes": {}}
    return {**entry, **_looked_into(pruned, [])}


def _retention(settings: Result) -> Optional[str]:
    """The rules by which snapshots were kept, as they were set."""
    rules = [f"{name} {value}" for name, value in sorted((settings.get("retention") or {}).items())]
    return f"{', '.join(rules)}; grace {settings.get('grace')}" if rules else None


def _looked_into(audited: Result, findings: list[Entry]) -> Entry:
    """Figures and findings of an audit; nothing of one that did not look."""
    known = {finding[name] for finding in findings for name in ("evidence", "code")}
    findings += [
        dict(one) for one in audited.get("findings") or () if not known & {one.get("evidence"), one.get("code")}
    ]
    if audited.get("failed") and not any(one.get("severity") == "block" for one in findings):
        findings.append(_failure("not_audited", audited))
    figures = audited.get("baseline") or {}
    entry: Entry = {name: figures[name] for name in ("bytes", "packs") if name in figures}
    for name in ("signals", "holds"):
        if name in audited:
            entry[name] = audited[name]
    return {**entry, "findings": findings}


def _not_seen(variables: Mapping[str, Any], code: str) -> list[Entry]:
    return [_failure(code, {"msg": report_of(variables).get("text", "")})]


def _failure(code: str, result: Result) -> Entry:
    return {"code": code, "severity": "block", "evidence": str(result.get("msg") or ""), "what_to_do": ""}


def checked(variables: Mapping[str, Any]) -> Entry:
    """What restic_read_through returned."""
    read = _result(variables, "repository_read")
    figures = {name: read.get(name) for name in ("share", "bytes", "seconds")}
    entry: Entry = {"at": read.get("time"), "findings": []}
    if "damaged" in read:
        entry["read"] = {**figures, "through": read.get("oldest") if read.get("complete") else None}
    if not report_of(variables).get("done"):
        entry["findings"] = _not_seen(variables, "damaged" if read.get("damaged") else "not_checked")
    return entry


def unlocked(variables: Mapping[str, Any]) -> Entry:
    """The window that r2_bucket_unlock has left open."""
    window, settings = _result(variables, "__repository_window").get("window"), _result(variables, "__repository_set")
    if not window:
        return {}
    reason = {"reason": settings.get("unlock_reason"), "state": "live"}
    return {"at": window["opened"], "open": {**window, "parts": _parts(window), **reason}}


def recovered(variables: Mapping[str, Any]) -> Entry:
    """The step, what was proved by freeze, and the windows of remove."""
    entry: Entry = {"step": _result(variables, "__repository_set").get("recover")}
    frozen, removed = _result(variables, "__repository_frozen"), _result(variables, "repository_cleaned")
    if "prefixes" in frozen:
        proved = bool(frozen.get("locked"))
        entry["locks"] = {"proved": proved, "by": frozen.get("probed_with"), "prefixes": frozen["prefixes"]}
    return {**entry, **_removing(removed)}


def passwords(variables: Mapping[str, Any]) -> Entry:
    """The step, and the window in which a key was removed."""
    # The role makes both steps in a run of the second one.
    entry: Entry = {"step": report_of(variables).get("step")}
    removed = _result(variables, "repository_keys_removed")
    return {**entry, **_removing(removed)}


def _removing(removed: Result) -> Entry:
    """The windows in which objects were removed, and why no fence was around them."""
    if not removed.get("windows"):
        return {}
    without = [fence["without"] for fence in removed.get("fences") or () if fence.get("without")]
    return {
        "windows": [{**window, "parts": _parts(window)} for window in removed["windows"]],
        "unfenced": without[-1] if without else None,
    }


def _parts(window: Result) -> list[str]:
    return [str(one).rstrip("/").rpartition("/")[2] for one in window.get("prefixes") or ()]


def drilled(variables: Mapping[str, Any]) -> Entry:
    """What restic_drill returned."""
    done, planned = _result(variables, "repository_drilled"), _result(variables, "__repository_drill_kept")
    if "job" not in planned:
        return {}
    figures = {name: done.get(name) for name in ("snapshot", "files", "bytes", "seconds")}
    result = "ok" if done.get("ok") is True else "failed"
    drill = {**figures, "job": planned["job"], "result": result, "text": done.get("msg") or ""}
    return {"at": planned.get("time"), "drills": [drill]}


_MAKERS: dict[str, Callable[[Mapping[str, Any]], Entry]] = {
    "verify": verified,
    "maintenance": maintained,
    "check": checked,
    "unlock": unlocked,
    "password": passwords,
    "recover": recovered,
    "drill": drilled,
}
