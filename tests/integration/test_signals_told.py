# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what the modules return about an encryption, with the real restic, to journal, metrics, message and page."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import yaml
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.signals import (
    EMPTY,
    ENCRYPTED,
    ENDING,
    NOTES,
    SHRANK,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.as_data import as_data
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.from_status import host_of
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.judge import judged
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.model import Fleet
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.journal import RunJournal
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.metrics import metrics
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._journal_entries import journal_calls
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._message_texts import run_message
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._tables import maintenance_report, verify_report

from tests.support.maintenance import PREFIX, LockedRepository
from tests.support.running import ROOT

UNTIL = {"until": "2099-01-31", "reason": "we investigate"}


@dataclass
class Told:
    """What there is after the runs: the snapshots before and after, lines, tables and messages, and the state."""

    good: str
    bad: str
    place: dict[str, str]
    lines: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, Any] = field(default_factory=dict)
    messages: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


def encrypted(site: LockedRepository) -> Told:
    """A job whose files were encrypted between two backups, the first of which was looked at."""
    bed = site.bed
    docs = bed.home / "docs"
    for number in range(60):
        path = docs / f"d{number % 6}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(" ".join(f"line {place * number} of many" for place in range(400)), encoding="utf-8")
    good = bed.backup(docs, "--tag=job:docs")
    site.audit(baseline="update")
    for path in [path for path in docs.rglob("*") if path.is_file()]:
        path.write_bytes(os.urandom(path.stat().st_size))
    return Told(good, bed.backup(docs, "--tag=job:docs"), {"bucket": bed.bucket, "prefix": PREFIX})


def looked_at(site: LockedRepository, told: Told) -> None:
    """What verify and maintenance make of it, up to the end of the playbooks."""
    bed, records = site.bed, site.bed.record_dir
    jobs = [{"name": "docs", "paths": [str(bed.home / "docs")]}]
    audited = site.audit(baseline="update")
    verified = bed.module("restic_verify", record_dir=str(records), jobs=jobs)
    pruned = site.prune(max_remove="100%", hold=UNTIL)
    assert "failed" not in audited and "failed" not in verified and "failed" not in pruned
    node = {"node": "localhost", "node_python": "", "record_dir": str(records), "metrics_file": ""}
    results = {"repository_audited": audited, "repository_verified": verified, "repository_pruned": pruned}
    told.tables = {"verify": verify_report(verified, audited), "maintenance": maintenance_report(pruned)}
    for run, report in told.tables.items():
        host = {"__repository_place": {**node, **told.place}, **results, "repository_report": report}
        (call,) = journal_calls({"web1": host}, ["web1"], run)
        told.state = RunJournal(str(records)).append(call["entries"])
        row = f"web1 {'ok' if report['done'] else 'FAILED'} {report['text']}"
        told.messages[run] = run_message(["HOST", row], run, [call])
    journal = next(records.glob("journal-*.jsonl")).read_text(encoding="utf-8")
    told.lines = [json.loads(line) for line in journal.splitlines()]


def alarms(told: Told) -> None:
    """The metrics have what the alert asks for."""
    text = metrics(told.state)
    sample = re.search(r"^holdfast_signals\{(.*)\} 1$", text, re.MULTILINE)
    # The labels are those of the other metrics of a job.
    (newest,) = re.findall(r"^holdfast_job_snapshots\{(.*)\}", text, re.MULTILINE)
    assert sample and sample[1] == newest.replace(",backup_job", ',code="looks_encrypted",backup_job')
    assert 'backup_job="docs"' in sample[1]
    assert re.search(r"^holdfast_holds\{.*\} 1$", text, re.MULTILINE)
    rules = yaml.safe_load((ROOT / "monitoring" / "alerts.yml").read_text(encoding="utf-8"))
    alerts = {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}
    asked = re.findall(r'holdfast_(?:signals|findings)\{code=~"([a-z_|]+)"\}', alerts["HoldfastLooksEncrypted"])
    assert [set(codes.split("|")) for codes in asked] == [{ENCRYPTED, ENDING, NOTES, SHRANK, EMPTY}] * 3


def is_on_the_page(told: Told) -> None:
    (repository,) = told.state["repositories"].values()
    host = host_of({"name": "web1", **told.place, "jobs": ["docs"]}, repository, told.lines)
    page = as_data(judged(Fleet(datetime.now(timezone.utc), (host,), 0.015)))["hosts"][0]
    assert page["state"] == "danger" and page["signals"][0]["last_good_snapshot"] == told.good[:8]
    assert f"holdfast_restore_snapshot={told.good[:8]}" in json.dumps(page["problems"])
    assert page["holds"][0]["reason"] == "we investigate"


def test_an_encryption_is_told_wherever_people_look(site: LockedRepository) -> None:
    told = encrypted(site)
    looked_at(site, told)
    for line in told.lines:
        (signal,) = line["signals"]
        assert (signal["code"], signal["snapshot"], signal["last_good"]) == ("looks_encrypted", told.bad, told.good)
        assert signal["stored"] >= signal["last_good_stored"] and signal["evidence"]
        assert [one["code"] for one in line["findings"]].count("looks_encrypted") == 1
    (hold,) = told.lines[1]["holds"]
    assert hold["reason"] == "we investigate" and hold["snapshots"] > 0
    # verify alarms, maintenance stays green and says so; the messages of both name the host.
    verify, maintenance = told.tables["verify"], told.tables["maintenance"]
    assert not verify["done"] and told.good[:12] in verify["text"]
    assert maintenance["done"] and "held: nothing stored before" in maintenance["text"]
    assert all("signs of an attack on web1" in one["title"] and one["urgent"] for one in told.messages.values())
    alarms(told)
    is_on_the_page(told)
