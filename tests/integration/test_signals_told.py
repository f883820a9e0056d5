# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what the modules return about an encryption, with the real restic, to journal, metrics, message and page."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime, timezone
from typing import Any

import yaml
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.as_data import as_data
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.from_status import host_of
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.judge import judged
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.model import Fleet
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.journal import RunJournal
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.metrics import metrics
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._journal import journal_calls
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._messages import run_message
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._reports import maintenance_report, verify_report

from tests.support.maintenance import PREFIX, LockedRepository
from tests.support.running import ROOT

UNTIL = {"until": "2099-01-31", "reason": "we investigate"}


def test_an_encryption_is_told_wherever_people_look(site: LockedRepository) -> None:
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
    bad = bed.backup(docs, "--tag=job:docs")

    audited = site.audit(baseline="update")
    verified = bed.module(
        "restic_verify", record_dir=str(bed.record_dir), jobs=[{"name": "docs", "paths": [str(docs)]}]
    )
    pruned = site.prune(max_remove="100%", hold=UNTIL)
    assert "failed" not in audited and "failed" not in verified and "failed" not in pruned
    place = {"node": "localhost", "node_python": "", "record_dir": str(bed.record_dir), "metrics_file": ""}
    known = {
        "__repository_place": {**place, "bucket": bed.bucket, "prefix": PREFIX},
        "repository_audited": audited,
        "repository_verified": verified,
        "repository_pruned": pruned,
    }
    journal, told = RunJournal(str(bed.record_dir)), {}
    for run, report in (("verify", verify_report(verified, audited)), ("maintenance", maintenance_report(pruned))):
        (call,) = journal_calls({"web1": {**known, "repository_report": report}}, ["web1"], run)
        state = journal.append(call["entries"])
        told[run] = (
            report,
            run_message(["HOST", f"web1 {'ok' if report['done'] else 'FAILED'} {report['text']}"], run, [call]),
        )
    lines = [json.loads(line) for line in next(bed.record_dir.glob("journal-*.jsonl")).read_text().splitlines()]
    for line in lines:
        (signal,) = line["signals"]
        assert (signal["code"], signal["snapshot"], signal["last_good"]) == ("looks_encrypted", bad, good)
        assert signal["stored"] >= signal["last_good_stored"] and signal["evidence"]
        assert [one["code"] for one in line["findings"]].count("looks_encrypted") == 1
    assert [line["holds"] for line in lines[1:]] == [[{"name": "", "reason": "we investigate", **lines[1]["holds"][0]}]]
    # verify alarms, maintenance stays green and says so; the message of both names the host.
    assert not told["verify"][0]["done"] and good[:12] in told["verify"][0]["text"]
    assert told["maintenance"][0]["done"] and "held: nothing stored before" in told["maintenance"][0]["text"]
    assert all(
        message["urgent"] and "signs of an attack on web1" in message["title"] for _report, message in told.values()
    )

    sample = re.search(r"^holdfast_signals\{(.*)\} 1$", metrics(state), re.MULTILINE)
    assert sample and 'code="looks_encrypted"' in sample[1] and "docs" in sample[1]
    assert re.search(r"^holdfast_holds\{.*\} 1$", metrics(state), re.MULTILINE)
    rules = yaml.safe_load((ROOT / "monitoring" / "alerts.yml").read_text(encoding="utf-8"))
    (alert,) = [
        rule for group in rules["groups"] for rule in group["rules"] if rule["alert"] == "HoldfastLooksEncrypted"
    ]
    assert f'holdfast_signals{{code="{signal["code"]}"}}' in alert["expr"]

    (repository,) = state["repositories"].values()
    wanted = {"name": "web1", "bucket": bed.bucket, "prefix": PREFIX, "jobs": ["docs"]}
    now = datetime.now(timezone.utc)
    page: dict[str, Any] = as_data(judged(Fleet(now, (host_of(wanted, repository, lines),), 0.015)))["hosts"][0]
    assert page["state"] == "danger" and page["signals"][0]["last_good_snapshot"] == good[:8]
    assert (
        f"holdfast_restore_snapshot={good[:8]}" in json.dumps(page) and page["holds"][0]["reason"] == "we investigate"
    )
