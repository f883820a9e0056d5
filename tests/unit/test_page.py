# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page: when a host is well, and what is told of it."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.report import PageRequest, write_report
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.progress import Progress
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page import from_status, render
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.judge import judged, known_since, protected
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.model import (
    ATTENTION,
    DANGER,
    PROTECTED,
    UNKNOWN,
    Host,
    Job,
    Window,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.journal import RunJournal

from tests.support import page_fleets
from tests.support.page_fleets import NOW, ago, fleet, well

ROOT = Path(__file__).resolve().parents[2]


def state_of(host: Host) -> str:
    return judged(fleet(host)).hosts[0].state


# When a host is well -------------------------------------------------------------------------------------------------


def test_a_host_that_was_looked_at_and_is_locked_and_fresh_is_protected() -> None:
    assert state_of(well("web1")) == PROTECTED


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"heard": None}, UNKNOWN),
        ({"heard": ago(hours=49)}, UNKNOWN),
        ({"proved": None}, UNKNOWN),
        ({"proved": ago(hours=49)}, UNKNOWN),
        ({"unreadable": "It cannot be read."}, UNKNOWN),
        ({"jobs": ()}, UNKNOWN),
        ({"refuted": True}, DANGER),
        ({"open": (Window(ago(minutes=2), None, None),)}, DANGER),
        ({"jobs": (Job("system", 26),)}, UNKNOWN),
        ({"jobs": (Job("system", 26, snapshots=0),)}, DANGER),
        ({"jobs": (Job("system", 26, ago(hours=27)),)}, DANGER),
        ({"jobs": (Job("system", 28, ago(hours=27)),)}, PROTECTED),
        ({"maintained": ago(days=41)}, ATTENTION),
        ({"read_from": ago(days=101)}, ATTENTION),
        ({"read_from": None, "drill": None, "maintained": None}, PROTECTED),
    ],
    ids=str,
)
def test_what_was_not_looked_at_is_not_well(change: dict[str, Any], state: str) -> None:
    host = replace(well("web1"), **change)
    assert state_of(host) == state
    assert bool(judged(fleet(host)).hosts[0].problems) == (state != PROTECTED)


def test_every_field_of_a_host_that_is_missing_leaves_it_no_better() -> None:
    order = [DANGER, UNKNOWN, ATTENTION, PROTECTED]
    empty = Host("web1", "backup-web1")
    for item in fields(Host):
        for host in judged(page_fleets.sick()).hosts:
            if item.name in ("heard", "proved", "jobs"):
                less = replace(host, **{item.name: getattr(empty, item.name)})
                assert order.index(state_of(less)) <= max(order.index(host.state), order.index(UNKNOWN)), item.name


def test_the_first_line_counts_what_is_locked_and_fresh_and_says_since_when_that_is_known() -> None:
    late = replace(well("web2"), proved=ago(hours=30), maintained=ago(days=60))
    found = judged(fleet(well("web1"), late, replace(well("web3"), heard=None, proved=ago(hours=40))))
    assert [host.name for host in protected(found)] == ["web2", "web1"]
    assert known_since(found) == ago(hours=30)


def test_the_worst_come_first_and_of_these_attacks() -> None:
    assert [host.name for host in judged(page_fleets.sick()).hosts][:3] == ["web1", "db1", "db2"]


# From the state of the node ------------------------------------------------------------------------------------------


def entry(run: str, **more: Any) -> dict[str, Any]:
    return {
        "run": run, "result": "ok", "id": "0" * 8, "host": "web1", "bucket": "backup-web1",
        "locks": {"proved": True, "by": "host", "prefixes": {"data/": "locked"}}, **more,
    }  # fmt: skip


@pytest.fixture(name="journal")
def _journal(tmp_path: Path) -> RunJournal:
    return RunJournal(str(tmp_path / "records"))


def wanted(journal: RunJournal, folder: Path, *names: str) -> PageRequest:
    hosts = [
        {"name": name, "bucket": f"backup-{name}", "prefix": "", "jobs": ["system"], "max_age": 26}
        for name in names or ("web1",)
    ]
    return PageRequest(journal.folder, str(folder), hosts, page_fleets.templates(), 0.015, 48)


def jobs(**change: Any) -> list[dict[str, Any]]:
    return [{"name": "system", "state": "ok", "newest": figure(hours=3), "snapshots": 7, "max_age": 26, **change}]


def figure(**length: float) -> str:
    return (NOW - timedelta(**length)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_what_verify_and_maintenance_tell_is_on_the_page(journal: RunJournal, tmp_path: Path) -> None:
    opened = {
        "reason": "maintenance",
        "parts": ["data/"],
        "opened": figure(days=2),
        "seconds": 2.25,
        "ended_by": "module",
    }
    journal.append([entry("maintenance", windows=[opened])], NOW - timedelta(days=2))
    journal.append([entry("verify", jobs=jobs(), bytes=10**9)], NOW - timedelta(hours=1))
    data = write_report(wanted(journal, tmp_path / "page"), now=NOW).data
    host = data["hosts"][0]
    assert (data["protected"], host["state"], host["problems"]) == (1, PROTECTED, [])
    assert (host["unlocked_seconds"], host["locks_proved"]) == (2.25, figure(hours=1))
    assert (host["month_cost"], data["unlocked_30_days"]["seconds"]) == (0.015, 2.25)
    text = (tmp_path / "page" / "hosts" / "web1.html").read_text(encoding="utf-8")
    assert "the host&#39;s own keys" in text and "unlocked for 2.2 s" in text


def test_a_run_at_work_is_on_the_page(journal: RunJournal, tmp_path: Path) -> None:
    folder = Path(journal.folder) / "backup-web1"
    folder.mkdir(parents=True)
    progress = Progress(str(folder), "maintenance", "backup-web1")
    with progress.told():
        progress.step("<b>repacking")
        written = write_report(wanted(journal, tmp_path / "page"))
    (host,) = written.data["hosts"]
    assert [line.rpartition(", ")[0] for line in host["running"]] == ["maintenance: <b>repacking"]
    for name in ("index.html", host["page"]):
        text = (tmp_path / "page" / name).read_text(encoding="utf-8")
        assert "maintenance: &lt;b&gt;repacking" in text and "<b>repacking" not in text


def test_days_with_snapshots_are_on_the_time_line_of_a_host(journal: RunJournal, tmp_path: Path) -> None:
    job = jobs(oldest=figure(days=9), days=4, calendar=f"{0b1000100101:x}", max_age=None)
    journal.append([entry("verify", jobs=job, at=figure(hours=1))], NOW - timedelta(hours=1))
    host = write_report(wanted(journal, tmp_path / "page"), now=NOW).data["hosts"][0]
    assert (host["jobs"][0]["days"], host["jobs"][0]["max_age"], host["state"]) == (4, None, PROTECTED)
    text = (tmp_path / "page" / "hosts" / "web1.html").read_text(encoding="utf-8")
    lane = re.search(r'preserveAspectRatio="none" aria-hidden="true"><path d="([^"]*)"', text)
    assert lane and lane[1].count("M") == 4


def test_a_host_of_the_inventory_that_nobody_has_heard_of_is_on_the_page_and_unknown(
    journal: RunJournal, tmp_path: Path
) -> None:
    journal.append([entry("verify", jobs=jobs())], NOW - timedelta(hours=1))
    data = write_report(wanted(journal, tmp_path / "page", "web1", "silent"), now=NOW).data
    assert [(host["name"], host["state"]) for host in data["hosts"]] == [("silent", UNKNOWN), ("web1", PROTECTED)]


def test_without_any_state_all_hosts_are_unknown(journal: RunJournal, tmp_path: Path) -> None:
    data = write_report(wanted(journal, tmp_path / "page"), now=NOW).data
    assert (data["protected"], data["known_since"], data["states"][UNKNOWN]) == (0, None, 1)
    assert "0 of 1 host is protected" in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("job", "state", "said"),
    [
        ({"name": "other"}, UNKNOWN, "No snapshot of job system is known."),
        ({"snapshots": 0, "newest": None, "state": "none"}, DANGER, "Job system has no snapshot."),
    ],
    ids=["never looked at", "none"],
)
def test_a_job_of_the_inventory_without_a_snapshot_is_not_well(
    journal: RunJournal, tmp_path: Path, job: dict[str, Any], state: str, said: str
) -> None:
    journal.append([entry("verify", jobs=jobs(**job))], NOW - timedelta(hours=1))
    host = write_report(wanted(journal, tmp_path / "page"), now=NOW).data["hosts"][0]
    assert host["state"] == state and said == host["problems"][0]["text"]


@pytest.mark.parametrize(
    ("line", "state", "said"),
    [
        (entry("verify", result="failed", text="The API did not answer.", jobs=jobs()), DANGER, "The API did not answer."),
        (entry("maintenance", result="failed", text="Too many to remove.", jobs=jobs()), ATTENTION, "Too many to remove."),
        (
            entry("verify", jobs=jobs(), findings=[{"code": "x", "severity": "warn", "evidence": "Odd.", "what_to_do": "Look."}]),
            ATTENTION,
            "Odd.",
        ),
        (entry("verify", jobs=jobs(), findings=[{"code": "x", "severity": "new", "evidence": "Bad."}]), DANGER, "Bad."),
        (entry("verify", jobs=jobs(), signals=[{"code": "x", "evidence": "Encrypted."}]), DANGER, "Encrypted."),
        (
            entry(
                "verify", jobs=jobs(), signals=[{"code": "not_looked_at", "evidence": "Too large."}],
                findings=[{"code": "not_looked_at", "severity": "warn", "evidence": "Too large."}],
            ),
            ATTENTION,
            "Too large.",
        ),
        (
            entry("verify", jobs=jobs(), open={"parts": ["data/"], "lease": figure(hours=1), "state": "overdue"}),
            DANGER,
            "The lease ended",
        ),
        (
            entry("verify", jobs=jobs(), locks={"proved": False, "by": "host", "prefixes": {"data/": "missing"}}),
            DANGER,
            "locks that are not in force",
        ),
        (entry("drill", drills=[{"job": "system", "result": "failed", "text": "2 differ."}]), DANGER, "2 differ."),
    ],
    ids=lambda value: value.get("run") if isinstance(value, dict) else None,
)  # fmt: skip
def test_what_is_not_well_is_told(
    journal: RunJournal, tmp_path: Path, line: dict[str, Any], state: str, said: str
) -> None:
    journal.append([entry("verify", jobs=jobs())], NOW - timedelta(hours=2))
    journal.append([line], NOW - timedelta(hours=1))
    host = write_report(wanted(journal, tmp_path / "page"), now=NOW).data["hosts"][0]
    assert host["state"] == state
    assert said in " ".join(problem["text"] for problem in host["problems"])


def test_no_second_and_no_window_is_lost_where_there_are_more_than_a_list_holds(
    journal: RunJournal, tmp_path: Path
) -> None:
    def opened(day: int) -> dict[str, Any]:
        return {"reason": "maintenance", "parts": ["data/"], "opened": figure(days=day), "seconds": 2}

    # As many in one run as nobody opens, then one on each day.
    journal.append([entry("maintenance", windows=[opened(29)] * 75)], NOW - timedelta(days=29))
    state: dict[str, Any] = {}
    for day in range(28, 0, -1):
        state = journal.append([entry("maintenance", windows=[opened(day)])], NOW - timedelta(days=day))
    assert state["repositories"]["backup-web1"]["seconds_unlocked"] == 206
    found = write_report(wanted(journal, tmp_path / "page"), now=NOW).data["unlocked_30_days"]
    assert (found["windows"], found["seconds"], found["longest_seconds"]) == (103, 206, 2)


def test_windows_of_a_maintenance_that_ended_halfway_are_not_passed_over(journal: RunJournal, tmp_path: Path) -> None:
    pending = {"code": "maintenance_pending", "severity": "warn", "evidence": "It ended halfway."}
    journal.append([entry("verify", jobs=jobs(), findings=[pending])], NOW - timedelta(hours=1))
    data = write_report(wanted(journal, tmp_path / "page"), now=NOW).data
    assert data["unlocked_30_days"]["ended_halfway"] == 1
    assert "at least 0.0 s" in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")


def test_a_state_of_another_form_is_not_known_and_breaks_nothing() -> None:
    odd: list[Any] = [
        None,
        1,
        "x",
        [],
        {},
        [1],
        ["x"],
        [["x", "y"]],
        [{}],
        {"a": 1},
        {"a": {}},
        "2026-13-45T00:00:00Z",
        True,
    ]
    names = (
        "last",
        "locks",
        "open",
        "windows",
        "read",
        "jobs",
        "drills",
        "signals",
        "holds",
        "findings",
        "sizes",
        "bytes",
    )
    for name in names:
        for value in odd:
            host = from_status.host_of({"name": "web1", "bucket": "backup-web1"}, {name: value})
            assert state_of(host) in (UNKNOWN, DANGER), (name, value)


# Files ---------------------------------------------------------------------------------------------------------------


def test_the_page_has_changed_when_it_says_something_else(journal: RunJournal, tmp_path: Path) -> None:
    journal.append([entry("verify", jobs=jobs())], NOW - timedelta(hours=1))
    page = wanted(journal, tmp_path / "page")
    assert write_report(page, now=NOW, check=True).changed and not (tmp_path / "page").exists()
    assert write_report(page, now=NOW).changed
    assert not write_report(page, now=NOW + timedelta(minutes=1)).changed
    assert write_report(page, now=NOW + timedelta(hours=49)).data["states"][UNKNOWN] == 1


def test_files_are_private_enough_and_only_pages_of_ours_go(journal: RunJournal, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    write_report(wanted(journal, folder, "web1", "web2"), now=NOW)
    assert (folder / "index.html").stat().st_mode & 0o777 == 0o640
    assert folder.stat().st_mode & 0o777 == (folder / "hosts").stat().st_mode & 0o777 == 0o750
    (folder / "hosts" / "notes.html").write_text("mine", encoding="utf-8")
    write_report(wanted(journal, folder, "web1"), now=NOW)
    assert sorted(path.name for path in (folder / "hosts").iterdir()) == ["notes.html", "web1.html"]
    assert sorted(path.name for path in folder.iterdir()) == ["hosts", "index.html", "report.json"]


def test_data_of_a_page_cannot_name_files_of_others_for_removal(journal: RunJournal, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    write_report(wanted(journal, folder), now=NOW)
    victim = tmp_path / "victim.html"
    victim.write_text("mine", encoding="utf-8")
    data = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    data["hosts"] = [{"page": "hosts/../../victim.html"}, {"page": str(victim)}, {"page": 7}, {}]
    (folder / "report.json").write_text(json.dumps(data), encoding="utf-8")
    write_report(wanted(journal, folder), now=NOW)
    assert victim.read_text(encoding="utf-8") == "mine"


def test_addresses_of_pages_are_plain_and_all_different() -> None:
    names = [*page_fleets.HOSTILE, "Web1", "web1", "web1.", "web-1", "web.1", "", ".", "..", "ä", "ö"]
    pages = [render.address(Host(name, "x")) for name in names]
    assert len({page.lower() for page in pages}) >= len(names) - 1  # Web1 and web1 are one on few file systems
    assert all(re.fullmatch(r"hosts/[A-Za-z0-9_-]{1,80}\.html", page) for page in pages)
