# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook `report`: all hosts of the inventory are on the page, and nobody is contacted for it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.journal import RunJournal

from tests.support.running import Ansible

REPORT = "holdfast.restic_r2.report"
NOWHERE = "http://127.0.0.1:9"


def inventory(folder: Path, **more: Any) -> dict[str, Any]:
    """Hosts that cannot be reached, and an account that cannot be either."""
    return {
        "holdfast": {
            "hosts": {
                "web1": {},
                "DB.1": {"holdfast_bucket": "{{ 'shared' }}", "holdfast_prefix": "db1/"},
                "silent": {"holdfast_bucket": "{{ no_such_variable }}"},
            },
            "vars": {
                "holdfast_record_dir": str(folder / "records"),
                "holdfast_report_dir": str(folder / "page"),
                "holdfast_api_url": NOWHERE,
                "holdfast_s3_endpoint": NOWHERE,
                "ansible_host": "192.0.2.1",
                "backup_jobs": [{"name": "system", "paths": ["/etc"]}],
                **more,
            },
        }
    }


def looked(host: str, bucket: str, prefix: str = "", max_age: float = 26) -> dict[str, Any]:
    newest = (datetime.now(timezone.utc) - timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "run": "verify", "result": "ok", "host": host, "bucket": bucket, "prefix": prefix,
        "locks": {"proved": True, "by": "host", "prefixes": {"data/": "locked"}},
        "jobs": [{"name": "system", "state": "ok", "newest": newest, "snapshots": 3, "max_age": max_age}],
    }  # fmt: skip


@pytest.mark.sample(of="stories")
def test_all_hosts_of_the_inventory_are_on_the_page_whatever_the_limit(ansible: Ansible, tmp_path: Path) -> None:
    RunJournal(str(tmp_path / "records")).append([looked("web1", "backup-web1"), looked("DB.1", "shared", "db1/", 2)])
    run = ansible.playbook(REPORT, inventory(tmp_path), "--limit", "web1", "-e", "holdfast_evidence=2026")
    assert run.exit_code == 0, run.output
    data = json.loads((tmp_path / "page" / "report.json").read_text(encoding="utf-8"))
    states = {host["name"]: (host["state"], [job["name"] for job in host["jobs"]]) for host in data["hosts"]}
    assert states == {
        "DB.1": ("danger", ["system"]),  # its limit is two hours
        "silent": ("unknown", ["system"]),
        "web1": ("protected", ["system"]),
    }
    assert f"Evidence: {tmp_path}/page/evidence/2026.html, {tmp_path}/page/evidence/2026.json" in run.output
    assert f"1 of 3 hosts are protected: {tmp_path}/page/index.html" in run.output
    again = ansible.playbook(REPORT, inventory(tmp_path))
    assert again.exit_code == 0 and not any(result.result.get("changed") for result in again.results), again.output


@pytest.mark.long
def test_without_a_folder_there_is_no_page_and_no_success(ansible: Ansible, tmp_path: Path) -> None:
    run = ansible.playbook(REPORT, inventory(tmp_path, holdfast_report_dir=""))
    assert run.exit_code == 2 and "Set holdfast_report_dir to the folder of the page." in run.output
    wrong = ansible.playbook(
        REPORT, inventory(tmp_path, holdfast_report_mode="rw", holdfast_report_dir="page", holdfast_evidence="March")
    )
    assert wrong.exit_code == 2 and "holdfast_report_dir is 'page', which is another folder" in wrong.output
    assert "holdfast_evidence is 'March', which is no period: write a year or a month in quotes" in wrong.output
    assert "holdfast_report_mode is 'rw', which are no permissions of a file" in wrong.output
    assert not (tmp_path / "page").exists()
