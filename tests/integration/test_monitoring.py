# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics, alert rules and the dashboard, as Prometheus' own tools see them. A real Prometheus reads those of the demo."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.metrics import METRICS, metrics

from tests.support.running import ROOT
from tests.unit.test_metrics import full

MONITORING = ROOT / "monitoring"
RULES = yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
DAY, HOUR = 86400, 3600
OWN = 'instance="node",repository="backup-web1",host="web1"'
JOB = f'{OWN},backup_job="data"'
# Of each alert: the series with which it is silent, and those with which it fires, at the end of ten days.
NOW = 10 * DAY
CASES: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "HoldfastMetricsAbsent": ({"holdfast_status_written_timestamp_seconds{instance=\"node\"}": 1}, {}),
    "HoldfastLockNotProved": (
        {f"holdfast_lock_proved{{{OWN}}}": 1, f"holdfast_lock_proved_timestamp_seconds{{{OWN}}}": NOW - DAY},
        {f"holdfast_lock_proved{{{OWN}}}": 1, f"holdfast_lock_proved_timestamp_seconds{{{OWN}}}": NOW - 3 * DAY},
    ),
    "HoldfastWindowOverdue": (
        {f"holdfast_window_open{{{OWN}}}": 1, f"holdfast_window_lease_timestamp_seconds{{{OWN}}}": NOW - 60},
        {f"holdfast_window_open{{{OWN}}}": 1},
    ),
    "HoldfastGuardSilent": (
        {'holdfast_run_last_success_timestamp_seconds{instance="node",run="guard"}': NOW - 300},
        {'holdfast_run_last_success_timestamp_seconds{instance="node",run="guard"}': NOW - 5 * HOUR},
    ),
    "HoldfastVerifySilent": (
        {'holdfast_run_last_timestamp_seconds{instance="node",run="verify"}': NOW - 26 * HOUR},
        {'holdfast_run_last_timestamp_seconds{instance="node",run="verify"}': NOW - 29 * HOUR},
    ),
    "HoldfastMaintenanceSilent": (
        {f'holdfast_repository_run_last_success_timestamp_seconds{{{OWN},run="maintenance"}}': NOW - 7 * DAY},
        {f'holdfast_repository_run_last_success_timestamp_seconds{{{OWN},run="maintenance"}}': NOW - 9 * DAY},
    ),
    "HoldfastNeverMaintained": (
        {f"holdfast_repository_ok{{{OWN}}}": 1,
         f'holdfast_repository_run_last_success_timestamp_seconds{{{OWN},run="maintenance"}}': NOW},
        {f"holdfast_repository_ok{{{OWN}}}": 1},
    ),
    "HoldfastNotWell": ({f"holdfast_repository_ok{{{OWN}}}": 1}, {f"holdfast_repository_ok{{{OWN}}}": 0}),
    "HoldfastRepositoryStale": (
        {f"holdfast_repository_newest_upload_timestamp_seconds{{{OWN}}}": NOW - DAY},
        {f"holdfast_repository_newest_upload_timestamp_seconds{{{OWN}}}": NOW - 3 * DAY},
    ),
    "HoldfastJobStale": (
        {f"holdfast_job_newest_upload_timestamp_seconds{{{JOB}}}": NOW - 20 * HOUR,
         f"holdfast_job_max_age_seconds{{{JOB}}}": 26 * HOUR, f"holdfast_job_snapshots{{{JOB}}}": 3},
        {f"holdfast_job_newest_upload_timestamp_seconds{{{JOB}}}": NOW - 30 * HOUR,
         f"holdfast_job_max_age_seconds{{{JOB}}}": 26 * HOUR, f"holdfast_job_snapshots{{{JOB}}}": 3},
    ),
    "HoldfastLooksEncrypted": (
        {f'holdfast_signals{{{JOB},code="other"}}': 1},
        # Two signs of one job, which are findings, too: one alarm.
        {f'holdfast_signals{{{JOB},code="note_files"}}': 1, f'holdfast_signals{{{JOB},code="common_ending"}}': 1,
         f'holdfast_findings{{{OWN},code="note_files"}}': 1},
    ),
    "HoldfastNotReadThrough": (
        {f"holdfast_read_through_timestamp_seconds{{{OWN}}}": NOW - 99 * DAY},
        {f"holdfast_read_through_timestamp_seconds{{{OWN}}}": NOW - 101 * DAY},
    ),
    "HoldfastDrillFailed": ({f"holdfast_drill_ok{{{JOB}}}": 1}, {f"holdfast_drill_ok{{{JOB}}}": 0}),
    "HoldfastDrillSilent": (
        {f"holdfast_drill_last_success_timestamp_seconds{{{JOB}}}": NOW - 99 * DAY},
        {f"holdfast_drill_last_success_timestamp_seconds{{{JOB}}}": NOW - 101 * DAY},
    ),
    "HoldfastGrowth": (
        {f"holdfast_repository_size_bytes{{{OWN}}}": 30e9}, {f"holdfast_repository_size_bytes{{{OWN}}}": 60e9},
    ),
}  # fmt: skip


@pytest.fixture(name="programs", scope="session")
def fixture_programs() -> Path:
    """The folder of prometheus and promtool."""
    found = subprocess.run(
        [ROOT / "tools" / "get_prometheus.sh"], capture_output=True, text=True, timeout=280, check=False
    )
    if found.returncode:
        pytest.skip(f"NOT TESTED with Prometheus: {found.stderr.strip()}")
    return Path(found.stdout.strip())


def promtool(programs: Path, *arguments: str, text: str = "") -> str:
    run = subprocess.run(
        [programs / "promtool", *arguments], input=text, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def test_the_names_are_as_prometheus_wants_them(programs: Path) -> None:
    assert promtool(programs, "check", "metrics", text=metrics(full())) == ""
    assert "15 rules found" in promtool(programs, "check", "rules", str(MONITORING / "alerts.yml"))


def series(values: dict[str, float], grown: bool) -> list[dict[str, str]]:
    # An hour's steps; what grew did so two days ago.
    steps = NOW // HOUR
    return [
        {"series": name, "values": f"30000000000x{steps - 48} {value:.0f}x48" if grown else f"{value:.0f}x{steps}"}
        for name, value in values.items()
    ]


@pytest.mark.sample(of="stories")
def test_every_alert_fires_and_is_silent_at_the_right_moment(programs: Path, tmp_path: Path) -> None:
    assert CASES.keys() == {rule["alert"] for rule in RULES}
    tests: list[dict[str, Any]] = []
    for rule in RULES:
        for fires, values in enumerate(CASES[rule["alert"]]):
            alerts = [{"exp_labels": {**labels_of(values, rule["alert"]), **rule["labels"]}}] if fires else []
            expected = [{**one, "exp_annotations": annotations(rule, one["exp_labels"])} for one in alerts]
            check = {"eval_time": f"{NOW}s", "alertname": rule["alert"], "exp_alerts": expected}
            given = series(values, rule["alert"] == "HoldfastGrowth")
            tests.append({"interval": "1h", "input_series": given, "alert_rule_test": [check]})
    file = tmp_path / "alerts.test.yml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(MONITORING / "alerts.yml")], "tests": tests, "evaluation_interval": "1h"})
    )
    assert "SUCCESS" in promtool(programs, "test", "rules", str(file))


def labels_of(values: dict[str, float], alert: str) -> dict[str, str]:
    labels = dict(re.findall(r'(\w+)="(\w[\w-]*)"', next(iter(values), "")))
    if alert == "HoldfastLooksEncrypted":
        del labels["code"]
    return labels


def annotations(rule: dict[str, Any], labels: dict[str, str]) -> dict[str, str]:
    return {
        name: re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)
        for name, text in rule["annotations"].items()
    }


def test_rules_and_dashboard_ask_for_metrics_that_exist() -> None:
    asked = " ".join(rule["expr"] for rule in RULES)
    dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(queries) >= 10 and all(panel["title"] for panel in dashboard["panels"])
    assert set(re.findall(r"holdfast_\w+", f"{asked} {' '.join(queries)}")) <= METRICS.keys()
    documented = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(holdfast_\w+)` \| \w+ \| (.*) \|$", documented, re.MULTILINE))
    assert rows == {name: told for name, (_kind, told) in METRICS.items()}
