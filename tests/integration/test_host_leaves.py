# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The procedure of docs/operations.md by which a host goes: each of its steps can be the last."""

from __future__ import annotations

import shutil
from pathlib import Path

import boto3
import pytest
import requests

from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.running import Ansible, Run


def table(run: Run) -> dict[str, str]:
    """Host, or a dash, to state."""
    rows = run.of(task="Show the table")[-1].result["msg"][1:]
    return {row.split()[0]: row.split()[1] for row in rows}


def empty_and_delete(stand_in: StandIn, bucket: str) -> None:
    """What a person does in the dashboard: first the rules, then the objects, then the bucket."""
    url = f"{stand_in.api_url}/accounts/{stand_in.account_id}/r2/buckets/{bucket}"
    headers = {"Authorization": f"Bearer {stand_in.api_token}"}
    requests.put(f"{url}/lock", json={"rules": []}, headers=headers, timeout=30).raise_for_status()
    s3 = boto3.client(
        "s3",
        endpoint_url=stand_in.s3_endpoint,
        region_name="auto",
        aws_access_key_id=stand_in.token_id,
        aws_secret_access_key=stand_in.secret_access_key,
    )
    for key in stand_in.objects(bucket):
        s3.delete_object(Bucket=bucket, Key=key)
    requests.delete(url, headers=headers, timeout=30).raise_for_status()


@pytest.mark.proof
def test_a_host_goes_step_by_step(ansible: Ansible, stand_in: StandIn, restic_path: str, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet", stand_in, restic_path, ("web1", "web2"))

    def play(name: str, *arguments: str, **variables: str) -> Run:
        return ansible.playbook(f"holdfast.restic_r2.{name}", fleet.inventory, *arguments, variables=variables)

    assert play("site").exit_code == 0
    for name in ("web1", "web2"):
        assert fleet.backup(name).returncode == 0
    data, home = (fleet.home("web1") / "data" / "hello").read_text(), fleet.home("web1")
    objects, rules = stand_in.objects("backup-web1"), stand_in.rules("backup-web1")

    # From the host goes what site has made there, and nothing from the bucket.
    fleet.host("web1")["holdfast_state"] = "absent"
    gone = play("site")
    assert gone.exit_code == 0, gone.output
    assert [path for path in home.rglob("*") if path.is_file() and path.parent.name in ("bin", "etc")] == []
    assert fleet.backup("web2").returncode == 0
    assert set(objects) <= set(stand_in.objects("backup-web1")) and stand_in.rules("backup-web1") == rules
    assert all(rule["enabled"] for rule in rules)

    # It can be restored, and verify asks for new backups no longer than it is told to. No hour passes here, so none may.
    fleet.host("web1")["holdfast_max_age"] = 0
    assert table(play("verify")) == {"web1": "FAILED", "web2": "ok"}
    fleet.host("web1")["holdfast_max_age"] = 1_000_000
    well = play("verify")
    assert (well.exit_code, table(well)) == (0, {"web1": "ok", "web2": "ok"}), well.output
    onto = {"holdfast_restore_target": str(tmp_path / "back"), "holdfast_restore_roots": str(tmp_path)}
    back = play("restore", holdfast_restore_host="web1", **onto)
    assert back.exit_code == 0, back.output
    assert [path.read_text() for path in (tmp_path / "back").rglob("hello")] == [data]

    # Nothing is left of it, and nobody asks for it.
    del fleet.inventory["holdfast"]["hosts"]["web1"]
    empty_and_delete(stand_in, "backup-web1")
    shutil.rmtree(fleet.folder / "records" / "backup-web1")
    last = play("verify")
    assert (last.exit_code, table(last)) == (0, {"web2": "ok"}), last.output
