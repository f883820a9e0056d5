# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes what playbooks say at their end: of one repository, in the table of all, and for the next job. Pure.

Texts of hosts are in much of it (names of objects and snapshots), so all of it goes through `shown`.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from typing import Any

from ..module_utils._common.progress import size
from ..module_utils._common.untrusted import shown, shown_all
from ..module_utils._restic.answers import Completed, reason
from ..module_utils._restic.jobs import Jobs

UNREACHABLE = "The maintenance node could not be reached; nothing was done."
NOTHING = "It did not come to its end; see the failure above."
TOLD = "Its failed task, above, says why."
LINE = "{:<24} {:<7} {}"
# The length of a line of the table, of a text in a record, and how many findings of a host a record holds.
LINE_LIMIT, TEXT_LIMIT, MOST_FINDINGS = 2000, 1000, 100
# The variable of each host that holds its settings, as site has read them; and how many hosts are named that failed.
_SITE, MOST_FAILED = "__site", 5
# How many snapshots of a host are listed for those who restore.
MOST_LISTED = 100
# How many snapshots a line names, so that it stays short enough for what comes after them.
MOST_NAMED = 40
# How many entries are named that were not restored as they were.
MOST_LEFT_OUT = 50
# The codes of findings that the table tells apart from the rest: no new backups come. Then those that let maintenance go on.
STALE = ("stale",)
TOLD_BY_MAINTENANCE = (*STALE, "hold", "hold_ended")
# How many jobs, and how many histories of no job, the line of a host names.
MOST_JOBS, MOST_RETIRED = 10, 5
NO_JOBS = (
    "The jobs of this host are not known here, so no run has looked whether each of them makes backups: write its backup_jobs "
    "into the inventory."
)
# No figure of a result is as large: a number can have thousands of digits.
LARGEST_FIGURE = 1 << 64
_FINDING = ("code", "severity", "evidence", "what_to_do")

Report = dict[str, Any]


def failure_text(result: Mapping[str, Any]) -> str:
    """Why a task failed: what a command said last, whose message only tells that it failed."""
    message, said = str(result.get("msg") or ""), str(result.get("stderr") or result.get("stdout") or "")
    if said.strip() and (not message or message.startswith("non-zero return code")):
        message = reason(Completed(1, "", said)) + "."
    return shown(message or "It failed, see above.", LINE_LIMIT)


def maintenance_report(pruned: Mapping[str, Any], check_mode: bool = False) -> Report:
    """One line about what restic_prune returned."""
    if pruned.get("unreachable"):
        return {"done": False, "text": UNREACHABLE}
    removed, kept = len(pruned.get("removed") or ()), len(pruned.get("kept") or ())
    text = f"{'would remove' if check_mode else 'removed'} {removed} of {removed + kept} snapshots"
    if check_mode:
        text += _named(pruned.get("removed") or ())
    else:
        freed = round((pruned.get("bytes_removed") or 0) / 1048576, 1)
        seconds = round(sum(window["seconds"] for window in pruned.get("windows") or ()), 1)
        text += f", {freed} MiB freed, unlocked for {float(seconds)} s"
    unfenced = _unfenced(pruned)
    if unfenced:
        text += f", without a fence ({unfenced})"
    # Maintenance takes nothing from a host that makes no backups, and so goes on.
    return {"done": True, "text": _with_look(text + _held(pruned), _evidence(pruned, TOLD_BY_MAINTENANCE))}


def _held(pruned: Mapping[str, Any]) -> str:
    """What is not removed because it was stored before something that looks like ransomware, and what that is."""
    signals = pruned.get("signals") or ()
    if not signals:
        return ""
    codes = ", ".join(sorted({f"{shown(one['code'], 40)} {shown(one['id'], 20)}" for one in signals}))
    last = max(str(one["stored"]) for one in signals)
    return f"; held: nothing stored before {shown(last, 40)} is removed until a person accepts {codes} (recover, step judge)"


def _signals(result: Mapping[str, Any]) -> list[str]:
    """Signals, each with the last good snapshot."""
    codes = {one["code"] for one in result.get("signals") or ()}
    return [one["evidence"] for one in result.get("findings") or () if one["code"] in codes]


def _named(snapshots: Iterable[Mapping[str, Any]]) -> str:
    """Which snapshots these are, by the time at which they were stored: what restic would ask for, and nothing could undo."""
    rows = sorted((str(one.get("uploaded") or one.get("time")), str(one["id"])) for one in snapshots)
    named = [f"{shown(name[:8])} of {shown(stored[:16].replace('T', ' '))}" for stored, name in rows[:MOST_NAMED]]
    more = [f"{len(rows) - MOST_NAMED} more"] if len(rows) > MOST_NAMED else []
    return f": {', '.join(named + more)}" if rows else ""


def _unfenced(pruned: Mapping[str, Any]) -> str | None:
    """Why nothing kept the host out while its repository was unlocked. Before that, a fence may have come down again."""
    fences = pruned.get("fences") or [{}]
    reason = fences[-1].get("without")
    return None if reason is None else shown(reason, TEXT_LIMIT)


def verify_report(verified: Mapping[str, Any], audited: Mapping[str, Any] | None = None, bucket: str = "") -> Report:
    """One line about what restic_verify and restic_audit returned."""
    if verified.get("unreachable"):
        return {"bucket": bucket, "done": False, "text": UNREACHABLE}
    audited = audited or {}
    findings = [str(finding) for finding in verified.get("findings") or ()]
    # The audit says in its message why it failed, whether it found something or could not look.
    more = ([audited["msg"]] if audited.get("msg") else []) + _evidence(audited, STALE) + _signals(audited)
    findings += [finding for finding in more if finding not in findings]
    if verified.get("snapshots") and not verified.get("jobs"):
        findings.append(NO_JOBS)
    if findings:
        return {"bucket": bucket, "done": False, "text": shown(" ".join(findings), LINE_LIMIT)}
    well = f"{verified['snapshots']} snapshots, newest {verified['age_hours']} h old{_each(verified['jobs'])}; locked"
    others = [one["evidence"] for one in audited.get("findings") or () if one["code"] not in STALE]
    return {"bucket": bucket, "done": True, "text": _with_look(well, [*_retired(verified), *others])}


def _each(jobs: list[Mapping[str, Any]]) -> str:
    """How old the newest snapshot of each of several jobs is."""
    if len(jobs) < 2:
        return ""
    named = [f"{job['name']} {job['age_hours']} h" for job in jobs[:MOST_JOBS] if job["age_hours"] is not None]
    more = [f"{len(jobs) - MOST_JOBS} more"] if len(jobs) > MOST_JOBS else []
    return f" ({', '.join(named + more)})"


def _retired(verified: Mapping[str, Any]) -> list[str]:
    """Snapshots of no job: they take space, and no job adds to them."""
    found = verified.get("retired") or []
    if not found:
        return []
    named = [
        f"{shown(one['job'] or ', '.join(one['paths']) or 'no paths', 60)} of {shown(one['host'] or 'no host', 60)} "
        f"({one['snapshots']} snapshots, newest {one['age_hours']} h old, {readable_size(one['bytes'])})"
        for one in found[:MOST_RETIRED]
    ]
    more = [f"{len(found) - MOST_RETIRED} more"] if len(found) > MOST_RETIRED else []
    return [f"Kept, and of no job of this host: {', '.join(named + more)}."]


def _with_look(text: str, warnings: list[str]) -> str:
    return shown(f"{text}; look: {' '.join(warnings)}" if warnings else text, LINE_LIMIT)


def _evidence(result: Mapping[str, Any], codes: Container[str]) -> list[str]:
    """The sentences of findings with these codes."""
    return [one["evidence"] for one in result.get("findings") or () if one["code"] in codes]


def report_of(variables: Mapping[str, Any]) -> Report:
    """What was noted of a host, or that nothing was. Its text begins with what is so after a failure, where that was noted."""
    report = variables.get("repository_report")
    if not isinstance(report, Mapping) or "done" not in report:
        return {"done": False, "text": NOTHING}
    return {**report, "text": _after(report, str(report.get("text", NOTHING)))}


def _after(report: Mapping[str, Any], text: str) -> str:
    return f"{report['outcome']} {text}" if report.get("outcome") else text


def site_report(site: Mapping[str, Any], check_mode: bool = False) -> Report:
    """One line about what site has provided for a host, from its settings."""
    state = "removed from the host; its backups stay" if site["backup_state"] == "absent" else "ready"
    jobs = ", ".join(str(job["name"]) for job in site.get("backup_jobs") or ()) or "none"
    text = f"{'dry run' if check_mode else state}, bucket {site['repository_bucket']}, jobs {jobs}"
    return {"bucket": site["repository_bucket"], "done": True, "text": shown(text, LINE_LIMIT)}


def site_next(hostvars: Mapping[str, Any], hosts: Iterable[str], check_mode: bool = False) -> str:
    """What to do after site, or after a batch of it; nothing where it has removed what there was.

    Args:
        hostvars: As the module `settings` reads them, without facts.
        hosts: The hosts of the run; those whose turn comes later have no settings yet.
        check_mode: Whether it was a dry run.
    """
    begun = [host for host in hosts if _SITE in hostvars[host]]
    failed = [host for host in begun if not report_of(hostvars[host]).get("done")]
    done = [hostvars[host][_SITE] for host in begun if host not in failed]
    limit = f" -l {','.join(map(shown, failed))}" if len(failed) <= MOST_FAILED else ""
    steps = [f"Mend what failed, then: ansible-playbook holdfast.restic_r2.site{limit}."] if failed else []
    if check_mode:
        return " ".join([*steps, "Run site without --check."] if done else steps)
    made = [site for site in done if site["backup_state"] != "absent"]
    if any(site["backup_manage_systemd"] for site in made):
        steps.append(
            "Start the first backups on the hosts (systemctl start --no-block holdfast-backup@JOB), or wait for timers."
        )
    elif made:
        steps.append("Nothing starts the jobs by itself: have cron or the like run holdfast-restic --backup JOB.")
    steps += ["After the first backup: ansible-playbook holdfast.restic_r2.verify"] if made else []
    return " ".join(steps)


def relock_report(relocked: Mapping[str, Any]) -> list[str]:
    """Where the guard has looked, and what it has found in each bucket."""
    buckets = relocked.get("buckets") or []
    places = ", ".join(map(str, relocked.get("looked_at") or ()))
    where = f" in the jurisdictions {places}" if places else ""
    return [shown(f"Looked at {len(buckets)} buckets{where}.", LINE_LIMIT)] + [
        shown(one["line"], LINE_LIMIT) for one in buckets
    ]


def report_table(
    hostvars: Mapping[str, Any],
    hosts: Iterable[str],
    notes: Iterable[str] = (),
    following: str = "",
    begun: str = "",
    above: bool = False,
) -> list[str]:
    """The lines of the table at the end of a run, the last with what to do next.

    Args:
        begun: A variable that every host of the batches until now has; the others are left out. Empty where all are meant.
        above: Whether what failed tasks said is in front of the reader already, so that it is not said once more.
    """
    lines = [LINE.format("HOST", "STATE", "WHAT HAPPENED")]
    for host in hosts:
        if begun and begun not in hostvars[host]:
            continue
        report = report_of(hostvars[host])
        state = "ok" if report.get("done") else "FAILED"
        text = _after(report, TOLD) if above and report.get("told") else report["text"]
        lines.append(LINE.format(shown(host), state, shown(text, LINE_LIMIT)))
    lines += [LINE.format("-", "note", shown(note, LINE_LIMIT)) for note in notes]
    return lines + ([LINE.format("-", "next", shown(following, LINE_LIMIT))] if following else [])


def orphan_notes(
    hostvars: Mapping[str, Any], hosts: list[str], buckets: Iterable[str], tokens: Iterable[str], pattern: str = ""
) -> list[str]:
    """Buckets and tokens that look like those of hosts and are none's. Nothing where not all hosts were looked at."""
    used = {report_of(hostvars[host]).get("bucket") for host in hosts}
    if not pattern or not used or not all(used):
        return []
    strange = sorted(name for name in buckets if re.match(pattern, name) and name not in used)
    makers = {re.sub(r"[/.].*", "", name) for name in tokens if name not in hosts and re.match(pattern, name)}
    named = [f"Bucket {name}" for name in strange] + [f"Token holdfast/{name}" for name in sorted(makers - used)]
    return [f"{name} belongs to no host of the inventory; nothing was done to it." for name in named]


def maintenance_results(hostvars: Mapping[str, Any], hosts: Iterable[str]) -> dict[str, Report]:
    """The results for the next node of a workflow."""
    return {host: _record(hostvars[host]) for host in hosts}


def _record(variables: Mapping[str, Any]) -> Report:
    report, pruned = report_of(variables), variables.get("repository_pruned") or {}
    return {
        "done": bool(report.get("done")),
        "text": shown(report.get("text", NOTHING), TEXT_LIMIT),
        "removed": [shown(snapshot["id"]) for snapshot in pruned.get("removed") or ()],
        "kept": len(pruned.get("kept") or ()),
        "bytes_removed": pruned["bytes_removed"] if isinstance(pruned.get("bytes_removed"), int) else 0,
        "windows": shown_all(pruned.get("windows") or [], TEXT_LIMIT),
        "without_fence": _unfenced(pruned),
        # Without the keys of objects: a host chooses how many they are.
        "findings": [
            {name: shown(one.get(name, ""), TEXT_LIMIT) for name in _FINDING}
            for one in (pruned.get("findings") or [])[:MOST_FINDINGS]
        ],
    }


def restore_report(restored: Mapping[str, Any], host: str, place: str) -> list[str]:
    """What was restored where, of which snapshots, and what was left out."""
    left_out = [str(one) for one in restored.get("left_out") or ()]
    target = shown(restored.get("target", "?"), TEXT_LIMIT)
    lines = [
        f"{figure(restored.get('files'))} files, folders and links of {shown(host)} are now in {target} on {shown(place)}."
    ]
    for one in restored.get("snapshots") or ():
        paths = ", ".join(map(str, one["paths"]))
        lines.append(shown(f"Snapshot {one['id'][:8]} of {paths}, taken {one['time']}.", LINE_LIMIT))
    lines.append(f"{len(left_out)} of its entries were left out, or restored without what gives rights.")
    return lines + [shown(one, LINE_LIMIT) for one in left_out[:MOST_LEFT_OUT]]


def restore_table(
    snapshots: Iterable[Mapping[str, Any]], host: str, jobs: Iterable[Mapping[str, Any]] = (), most: int = MOST_LISTED
) -> list[str]:
    """The snapshots of a host, the newest by its time of storing first: job, id, stored, and the size that it claims."""
    known = Jobs(jobs)
    rows = sorted(snapshots, key=lambda snapshot: (str(snapshot["uploaded"] or ""), str(snapshot["id"])), reverse=True)
    line = "{:<24} {:<20} {:<8} {:<20} {}"
    lines = [line.format("HOST", "JOB", "ID", "STORED", "SIZE")]
    for row in rows[:most]:
        paths = row.get("paths") or ()
        job = known.of(row) or f"({', '.join(map(str, paths))})"
        cells = shown(host, 60), shown(job, 100), shown(str(row["id"])[:8]), shown(row["uploaded"] or "?", 30)
        lines.append(line.format(*cells, readable_size((row.get("summary") or {}).get("total_bytes_processed"))))
    if len(rows) > most:
        lines.append(f"{shown(host, 60)} has {len(rows) - most} more, which are older: set holdfast_list_most.")
    return lines


def readable_size(count: object) -> str:
    """Bytes for people; restic before 0.17 counted nothing."""
    return size(count) if isinstance(count, int) and abs(count) < LARGEST_FIGURE else "?"


def figure(value: object) -> str:
    """A number as a result has it, which a host may have sent: nothing else is shown as one."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST_FIGURE
    return str(value) if known else "?"


def snapshot_table(snapshots: Iterable[Mapping[str, Any]]) -> list[str]:
    """Snapshots in the order in which they were stored, beside the times and hosts that they claim."""
    line = "{:<20} {:<8} {:<35} {}"
    rows = sorted(snapshots, key=lambda snapshot: str(snapshot["uploaded"]))
    return [line.format("STORED", "ID", "CLAIMS", "HOST")] + [
        line.format(
            shown(row["uploaded"]), shown(str(row["id"])[:8]), shown(row["time"], 35), shown(row["hostname"], 80)
        )
        for row in rows
    ]
