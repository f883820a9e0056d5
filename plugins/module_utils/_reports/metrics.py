# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the state as Prometheus reads it, for the textfile collector of node_exporter.

Moments are told and never ages: an age would have to be written anew while nothing runs. A label `job` would be that of the
scrape.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .._common.dates import parse_date
from .._common.errors import HoldfastError
from .._common.private_file import write_at_once
from .state import State

GAUGE, COUNTER = "gauge", "counter"
# docs/monitoring.md has the same table; a test holds the two together.
METRICS: dict[str, tuple[str, str]] = {
    "holdfast_status_written_timestamp_seconds": (GAUGE, "When the state was last written, by the clock of the node."),
    "holdfast_run_last_timestamp_seconds": (GAUGE, "When the last run of this kind ended."),
    "holdfast_run_last_success_timestamp_seconds": (
        GAUGE,
        "When a run of this kind was last well for all of its repositories.",
    ),
    "holdfast_run_failed_repositories": (GAUGE, "For how many repositories the last run of this kind failed."),
    "holdfast_api_calls_left": (GAUGE, "How many calls Cloudflare's API still allows in these five minutes."),
    "holdfast_repository_ok": (
        GAUGE,
        "1 when the last verify or maintenance was well and nothing is unlocked, else 0.",
    ),
    "holdfast_repository_run_last_success_timestamp_seconds": (
        GAUGE,
        "When such a run was last well for this repository.",
    ),
    "holdfast_repository_newest_upload_timestamp_seconds": (
        GAUGE,
        "When the newest snapshot was uploaded, by R2's clock.",
    ),
    "holdfast_repository_snapshots": (GAUGE, "How many snapshots there are."),
    "holdfast_repository_size_bytes": (GAUGE, "The size of the stored data."),
    "holdfast_lock_proved": (GAUGE, "1 when the last look has proved that every lock is in force, else 0."),
    "holdfast_lock_proved_timestamp_seconds": (GAUGE, "When it was last proved that every lock is in force."),
    "holdfast_window_open": (GAUGE, "1 when a window was open at the last look, else 0."),
    "holdfast_window_open_since_timestamp_seconds": (GAUGE, "Since when a window is open. Not there when none is."),
    "holdfast_window_lease_timestamp_seconds": (
        GAUGE,
        "By when the open window must be closed. Not there when none is open.",
    ),
    "holdfast_unlocked_seconds_total": (COUNTER, "For how long windows were open since the journal began."),
    "holdfast_maintenance_unlocked_seconds": (GAUGE, "For how long the newest window was open."),
    "holdfast_job_newest_upload_timestamp_seconds": (
        GAUGE,
        "When the newest snapshot of a job was uploaded, by R2's clock.",
    ),
    "holdfast_job_max_age_seconds": (GAUGE, "How old the newest snapshot of a job may be."),
    "holdfast_job_snapshots": (GAUGE, "How many snapshots a job has."),
    "holdfast_job_size_bytes": (GAUGE, "The size of the newest snapshot of a job."),
    "holdfast_read_through_timestamp_seconds": (GAUGE, "All that was stored before this moment has been read since."),
    "holdfast_drill_ok": (GAUGE, "1 when the last restore drill was well, else 0."),
    "holdfast_drill_last_success_timestamp_seconds": (GAUGE, "When a restore drill was last well."),
    "holdfast_drill_bytes_per_second": (GAUGE, "How fast the last drill restored."),
    "holdfast_findings": (GAUGE, "How many findings of a code the last look had."),
    "holdfast_signals": (GAUGE, "How many signs of an attack the last look saw."),
    "holdfast_holds": (GAUGE, "How many holds keep snapshots from being removed."),
}
Sample = tuple[str, dict[str, str], Any]


def metrics(state: State) -> str:
    """The content of the file."""
    found: dict[str, list[str]] = {}
    for name, labels, value in _samples(state):
        if value is not None:
            found.setdefault(name, []).append(f"{name}{_labels(labels)} {_number(value)}")
    lines = []
    for name, (kind, told) in METRICS.items():
        if name in found:
            lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}", *found[name]]
    return "\n".join(lines) + "\n"


def write_metrics(path: str, state: State) -> None:
    """Replace the file in one step; every user may read it, as node_exporter has to. Raises HoldfastError."""
    try:
        write_at_once(path, metrics(state).encode(), 0o644)
    except OSError as error:
        raise HoldfastError(f"The metrics file {path} cannot be written: {error.strerror}.") from error


def _labels(labels: Mapping[str, str]) -> str:
    texts = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{','.join(texts)}}}" if labels else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _moment(text: Any) -> float | None:
    moment = parse_date(text)
    return None if moment is None else moment.timestamp()


def _samples(state: State) -> Iterator[Sample]:
    yield "holdfast_status_written_timestamp_seconds", {}, _moment(state["written"])
    for run, known in sorted(state["runs"].items()):
        if run == "journal":
            continue
        yield "holdfast_run_last_timestamp_seconds", {"run": run}, _moment(known.get("at"))
        yield "holdfast_run_last_success_timestamp_seconds", {"run": run}, _moment(known.get("ok_at"))
        yield "holdfast_run_failed_repositories", {"run": run}, known.get("failed", 0)
        if "calls_left" in known:
            yield "holdfast_api_calls_left", {"run": run}, known["calls_left"]
    for name, repository in sorted(state["repositories"].items()):
        labels = {"repository": name, "host": str(repository["host"] or "")}
        yield from _of_repository(repository, labels)
        yield from _of_locks(repository, labels)
        yield from _of_parts(repository, labels)


def _of_repository(known: Mapping[str, Any], labels: dict[str, str]) -> Iterator[Sample]:
    yield "holdfast_repository_ok", labels, int(known["state"] == "ok")
    for run, last in sorted(known["last"].items()):
        name = "holdfast_repository_run_last_success_timestamp_seconds"
        yield name, {**labels, "run": run}, _moment(last.get("ok_at"))
    yield "holdfast_repository_newest_upload_timestamp_seconds", labels, _moment(known.get("newest"))
    yield "holdfast_repository_snapshots", labels, known.get("snapshots")
    yield "holdfast_repository_size_bytes", labels, known.get("bytes")


def _of_locks(known: Mapping[str, Any], labels: dict[str, str]) -> Iterator[Sample]:
    locks, window = known["locks"], known["open"]
    if locks:
        yield "holdfast_lock_proved", labels, int(bool(locks.get("proved")))
    yield "holdfast_lock_proved_timestamp_seconds", labels, _moment(locks.get("proved_at"))
    yield "holdfast_window_open", labels, int(bool(window))
    if window:
        yield "holdfast_window_open_since_timestamp_seconds", labels, _moment(window.get("since"))
        yield "holdfast_window_lease_timestamp_seconds", labels, _moment(window.get("lease"))
    yield "holdfast_unlocked_seconds_total", labels, known["seconds_unlocked"]
    if known["windows"]:
        yield "holdfast_maintenance_unlocked_seconds", labels, known["windows"][-1].get("seconds")


def _of_parts(known: Mapping[str, Any], labels: dict[str, str]) -> Iterator[Sample]:
    for name, job in sorted(known["jobs"].items()):
        own = {**labels, "backup_job": name}
        yield "holdfast_job_newest_upload_timestamp_seconds", own, _moment(job.get("newest"))
        yield "holdfast_job_max_age_seconds", own, job["max_age"] * 3600 if "max_age" in job else None
        yield "holdfast_job_snapshots", own, job.get("snapshots")
        yield "holdfast_job_size_bytes", own, job.get("bytes")
    yield "holdfast_read_through_timestamp_seconds", labels, _moment(known["read"].get("through"))
    for name, drill in sorted(known["drills"].items()):
        own = {**labels, "backup_job": name}
        yield "holdfast_drill_ok", own, int(drill.get("result") == "ok")
        yield "holdfast_drill_last_success_timestamp_seconds", own, _moment(drill.get("ok_at"))
        if drill.get("bytes") and drill.get("seconds"):
            yield "holdfast_drill_bytes_per_second", own, drill["bytes"] / drill["seconds"]
    for pair, count in sorted(_counted(known["findings"], "code", "severity").items()):
        yield "holdfast_findings", {**labels, "code": pair[0], "severity": pair[1]}, count
    for pair, count in sorted(_counted(known["signals"], "code", "job").items()):
        yield "holdfast_signals", {**labels, "code": pair[0], "backup_job": pair[1]}, count
    yield "holdfast_holds", labels, len(known["holds"])


def _counted(rows: list[dict[str, Any]], *names: str) -> dict[tuple[str, ...], int]:
    counts: dict[tuple[str, ...], int] = {}
    for row in rows:
        values = tuple(str(row.get(name) or "") for name in names)
        counts[values] = counts.get(values, 0) + 1
    return counts
