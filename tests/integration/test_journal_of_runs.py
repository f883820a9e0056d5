# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of playbooks: what the tasks of the role write into the journal, and what they do where they cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import Ansible, Run

WELL = {
    "findings": [],
    "window": None,
    "prefixes": {"config": "locked", "keys/": "locked"},
    "probed_with": "host",
    "snapshots": 1,
}
REPORT = {"done": True, "text": "well", "bucket": "x"}


def end_of_run(
    ansible: Ansible,
    records: Path,
    *arguments: str,
    report: dict[str, Any] | None = None,
    first: dict[str, Any] | None = None,
    **variables: Any,
) -> Run:
    """The end of a run of verify over two hosts; the first one may have settings of its own."""
    tasks = [
        {"ansible.builtin.set_fact": {"repository_report": report or REPORT, "repository_verified": WELL}},
        {"ansible.builtin.import_role": {"name": "holdfast.restic_r2.repository", "tasks_from": "end"},
         "vars": {"__repository_run": "verify"}},
    ]  # fmt: skip
    play = {"hosts": "holdfast", "gather_facts": False, "tasks": tasks}
    common = {"ansible_connection": "local", "holdfast_record_dir": str(records), "holdfast_password": "x", **variables}
    inventory = {"holdfast": {"hosts": {"web1": first or {}, "web2": {}}, "vars": common}}
    return ansible.playbook([play], inventory, *arguments)


def lines(records: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for file in sorted(records.glob("journal-*.jsonl")) for line in file.read_bytes().splitlines()
    ]


@pytest.mark.sample(of="stories")
def test_a_run_is_written_down_and_a_dry_run_is_not(ansible: Ansible, tmp_path: Path) -> None:
    records = tmp_path / "records"
    run = end_of_run(ansible, records, "--check")
    assert run.exit_code == 0 and not records.exists(), run.output
    run = end_of_run(ansible, records, "-e", "awx_job_id=17", "-e", "awx_user_name=ann")
    assert run.exit_code == 0 and run.changed == [], run.output
    found = lines(records)
    assert [(one["host"], one["bucket"], one["result"], one["by"]) for one in found] == [
        ("web1", "backup-web1", "ok", "ann, AWX job 17"),
        ("web2", "backup-web2", "ok", "ann, AWX job 17"),
    ]
    assert found[0]["locks"]["proved"] is True

    # Somebody changes it; the next run that looks says so.
    file = next(records.glob("journal-*.jsonl"))
    file.write_bytes(file.read_bytes().replace(b'"host":"web1"', b'"host":"web9"'))
    run = end_of_run(ansible, records, "-e", "holdfast_check_journal=true")
    assert run.exit_code == 2
    assert " line 2 does not hold the hash of the line before it." in run.output
    assert len(lines(records)) == 4


@pytest.mark.proof
def test_a_journal_that_cannot_be_written_is_told_and_the_table_is_shown(ansible: Ansible, tmp_path: Path) -> None:
    (tmp_path / "records").write_text("no folder")
    run = end_of_run(ansible, tmp_path / "records")
    assert run.exit_code == 2
    rows = run.of(task="Show the table")[-1].result["msg"]
    assert [row.split()[1] for row in rows[1:]] == ["ok", "ok", "note"] and "cannot be opened" in rows[-1]
