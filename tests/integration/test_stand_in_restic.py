# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in as restic sees it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.stand_in.client import StandIn
from tests.stand_in.others import new_bucket, rule, set_rules

PARTS = ("config", "data/", "index/", "keys/", "snapshots/")


@pytest.fixture(name="run")
def fixture_run(stand_in: StandIn, restic_path: str, tmp_path: Path) -> Any:
    """Run restic on web1/ of the bucket, with a key for that bucket only."""
    bucket = new_bucket(stand_in, "restic")
    token = stand_in.create_token("host", bucket)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": token["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": token["secret_access_key"],
        "RESTIC_PASSWORD": "secret",
        "RESTIC_REPOSITORY": f"s3:{stand_in.s3_endpoint}/{bucket}/web1",
        "RESTIC_CACHE_DIR": str(tmp_path / "cache"),
    }

    def run(*arguments: str, check: bool = True, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [restic_path, *arguments], env=environment, capture_output=True, text=True, check=check, timeout=seconds
        )

    return run


@pytest.mark.long
def test_append_only_by_lock_rules(stand_in: StandIn, run: Any, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    run("init")
    set_rules(stand_in, "restic", *(rule(f"web1/{part}") for part in PARTS))
    for number in range(3):
        (source / f"{number}").write_bytes(os.urandom(3_000_000))
        run("backup", str(source))
    stand_in.clear_log()
    with pytest.raises(subprocess.TimeoutExpired):  # a refused delete is tried again for 15 minutes
        run("forget", "latest", seconds=5)
    tried = [
        entry for entry in stand_in.requests() if entry["kind"] == "DeleteObject" and "/snapshots/" in entry["path"]
    ]
    assert {entry["status"] for entry in tried} == {409}
    run("unlock", "--remove-all")
    ledger = stand_in.ledger()
    assert ledger["exposures"] == []
    assert {entry["key"].split("/")[1] for entry in ledger["destructive"]} == {"locks"}
    target = tmp_path / "target"
    run("restore", "latest", "--target", str(target))
    restored = target / source.relative_to("/")
    assert {path.name: path.read_bytes() for path in restored.iterdir()} == {
        path.name: path.read_bytes() for path in source.iterdir()
    }


@pytest.mark.long
def test_prune_and_check_when_rules_are_off(stand_in: StandIn, run: Any, tmp_path: Path) -> None:
    run("init")
    for _each in range(2):
        (tmp_path / "file").write_bytes(os.urandom(2_000_000))
        run("backup", str(tmp_path / "file"))
    before = stand_in.objects("restic")
    run("forget", "--keep-last", "1", "--prune")
    assert len([key for key in stand_in.objects("restic") if "/snapshots/" in key]) == 1
    gone = {entry["key"] for entry in stand_in.ledger()["destructive"]}
    assert [key for key in before if "/data/" in key and key in gone]
    assert "no errors were found" in run("check", "--read-data").stdout


def test_wrong_key_is_refused(stand_in: StandIn, run: Any, restic_path: str) -> None:
    run("init")
    environment = {
        "HOME": "/nonexistent",
        "AWS_ACCESS_KEY_ID": stand_in.token_id,
        "AWS_SECRET_ACCESS_KEY": "0" * 64,
        "RESTIC_PASSWORD": "secret",
    }
    repository = f"s3:{stand_in.s3_endpoint}/restic/web1"
    command = [restic_path, "-r", repository, "--no-cache", "cat", "config"]
    # It would go on trying for minutes, as it does not know this error.
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            stand_in.wait_for_request(status=403)
            assert process.poll() is None
        finally:
            process.kill()
    strangers = [entry for entry in stand_in.requests() if entry["key_id"] is None]
    assert {entry["status"] for entry in strangers} <= {403, None}
