# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts whose tokens are managed: site, rotate and maintenance as a user runs them, with the real restic."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_journal_of_runs import lines
from tests.stand_in.client import StandIn
from tests.stand_in.others import cloudflare_client
from tests.support.fleet import Fleet
from tests.support.running import Ansible, Run

SITE, ROTATE, REFRESH = (f"holdfast.restic_r2.{name}" for name in ("site", "rotate", "refresh"))


@pytest.fixture(name="fleet")
def fixture_fleet(tmp_path: Path, stand_in: StandIn, restic_path: str) -> Fleet:
    """One host without keys in the inventory."""
    fleet = Fleet(tmp_path / "fleet", stand_in, restic_path)
    for name in ("holdfast_access_key_id", "holdfast_secret_access_key"):
        del fleet.host("web1")[name]
    fifo = fleet.home("web1") / "fifo"
    os.mkfifo(fifo)
    fleet.common["backup_jobs"].append({"name": "held", "command": ["cat", str(fifo)]})
    return fleet


def play(ansible: Ansible, fleet: Fleet, name: str, *arguments: str) -> Run:
    run = ansible.playbook(name, fleet.inventory, *arguments)
    pair = kept(fleet)
    assert pair.get("secret_access_key", "no secret") not in run.output
    assert run.exit_code == 0, run.output
    return run


def kept(fleet: Fleet) -> dict[str, Any]:
    path = fleet.folder / "records" / "backup-web1" / "host_keys.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def on_host(fleet: Fleet) -> str:
    return (fleet.home("web1") / "etc" / "s3").read_text(encoding="utf-8")


def names(fleet: Fleet) -> list[str]:
    stand_in = fleet.stand_in
    found = cloudflare_client(stand_in).accounts.tokens.list(account_id=stand_in.account_id)
    return sorted(token.name for token in found if token.name.startswith("holdfast/"))


@contextmanager
def backup_running(fleet: Fleet) -> Iterator[subprocess.Popen[str]]:
    """A backup that began before the block, reads what the test writes, and ends after it."""
    since = fleet.stand_in.last_request()
    command = [str(fleet.home("web1") / "bin" / "holdfast-restic"), "--backup", "held"]
    process = subprocess.Popen(
        command, env={"PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    # Also for reading, so that a backup that does not begin blocks nobody.
    with open(os.open(fleet.home("web1") / "fifo", os.O_RDWR), "wb") as fifo:
        fleet.stand_in.wait_for_request(method="PUT", path="/locks/", since=since, timeout=60)
        fifo.write(random.randbytes(50_000))
        fifo.flush()
        yield process
        assert process.poll() is None, "the backup ended before the rotation: it proved nothing"
        fifo.write(random.randbytes(50_000))
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output


@pytest.mark.proof
def test_site_then_rotation_while_a_backup_runs(ansible: Ansible, fleet: Fleet) -> None:
    dry = play(ansible, fleet, SITE, "--check")
    assert dry.of(action="holdfast.restic_r2.r2_host_token")[0].changed and names(fleet) == []
    first = play(ansible, fleet, SITE, "-vvv", "--diff")
    old = kept(fleet)
    assert first.changed and names(fleet) == ["holdfast/backup-web1"]
    (probed,) = first.of(task="Prove that the locks are in force")
    assert (probed.result["locked"], probed.result["probed_with"]) == (True, "host")
    assert old["access_key_id"] in on_host(fleet) and fleet.backup("web1").returncode == 0
    assert play(ansible, fleet, SITE).changed == []

    with backup_running(fleet):
        play(ansible, fleet, ROTATE, "-vvv", "--diff")
    new = kept(fleet)
    assert new["access_key_id"] != old["access_key_id"] and new["access_key_id"] in on_host(fleet)
    assert names(fleet) == ["holdfast/backup-web1", f"holdfast/backup-web1/former/{old['access_key_id'][:8]}"]
    assert not (fleet.home("web1") / "etc.next").exists()

    # Keys that do not work never come in the place of those that do.
    fleet.common.update(backup_prove_retries=1, backup_prove_timeout=3)
    since, there = fleet.stand_in.last_request(), names(fleet)
    fleet.stand_in.fault(kind="ListObjectsV2", path="keys", status=403, code="AccessDenied", times=0)
    failing = ansible.playbook(ROTATE, fleet.inventory)
    table = failing.of(task="Show the table")[0].result["msg"]
    assert failing.exit_code != 0 and "the old ones still work, and no new token is left. Its failed task" in table[1]
    assert "Fatal: Access Denied" in str(failing.failed[0].result) and "Access Denied" not in str(table)
    assert lines(fleet.folder / "records")[-1]["text"].endswith("no new token is left. Fatal: Access Denied.")
    assert names(fleet) == there
    fleet.stand_in.clear_faults()
    assert new["access_key_id"] in on_host(fleet) and kept(fleet) == new
    assert not (fleet.home("web1") / "etc.next").exists()
    assert fleet.stand_in.last_request() > since
    play(ansible, fleet, ROTATE)
    assert kept(fleet)["access_key_id"] not in (old["access_key_id"], new["access_key_id"])
    assert len(names(fleet)) == 3

    # A node without the file does not take away what the host works with.
    (fleet.folder / "records" / "backup-web1" / "host_keys.json").unlink()
    refused = ansible.playbook(SITE, fleet.inventory)
    assert refused.exit_code != 0 and "run the rotate playbook" in refused.output


@pytest.mark.sample(of="stories")
def test_rotation_waits_until_r2_knows_the_new_keys(ansible: Ansible, fleet: Fleet) -> None:
    play(ansible, fleet, SITE)
    fleet.stand_in.settings(token_delay=10.0**6, max_skew=10.0**9)
    old, since = kept(fleet), fleet.stand_in.last_request()
    with ThreadPoolExecutor(1) as pool:
        rotation = pool.submit(play, ansible, fleet, ROTATE)
        fleet.stand_in.wait_for_request(since=since, timeout=400, status=401)
        # The new keys are beside those in use, and R2 has refused them: from now on it knows them.
        assert old["access_key_id"] in on_host(fleet) and kept(fleet) == old
        fleet.stand_in.settings(clock_offset=2 * 10.0**6)
        rotation.result()
    assert kept(fleet)["access_key_id"] != old["access_key_id"] and kept(fleet)["access_key_id"] in on_host(fleet)


@pytest.mark.proof
def test_keys_of_the_inventory_are_used_as_before(
    ansible: Ansible, tmp_path: Path, stand_in: StandIn, restic_path: str
) -> None:
    fleet = Fleet(tmp_path / "fleet", stand_in, restic_path)
    play(ansible, fleet, SITE)
    assert kept(fleet) == {} and names(fleet) == []
    other = stand_in.create_token("other", bucket="backup-web1")
    fleet.host("web1").update(
        holdfast_access_key_id=other["access_key_id"], holdfast_secret_access_key=other["secret_access_key"]
    )
    play(ansible, fleet, ROTATE)
    assert other["access_key_id"] in on_host(fleet) and fleet.backup("web1").returncode == 0


@pytest.mark.proof
def test_temporary_credentials_are_refreshed_below_a_running_backup(ansible: Ansible, fleet: Fleet) -> None:
    fleet.common.update(
        holdfast_temporary_credentials=True,
        holdfast_temporary_valid=604_800,
        # They change when such a time has passed by the clock: with an hour, each test that runs at a full hour would be red.
        holdfast_temporary_refresh=302_000,
        holdfast_prefix="web1",
    )
    first = play(ansible, fleet, SITE, "-vvv", "--diff")
    secrets = [line.partition(" = ")[2] for line in on_host(fleet).splitlines() if " = " in line][1:]
    assert first.of(task="Prove that the locks are in force")[0].result["probed_with"] == "host"
    assert len(secrets) == 2 and not [secret for secret in secrets if secret in first.output]
    assert names(fleet) == [] and fleet.backup("web1").returncode == 0
    old = on_host(fleet)

    with backup_running(fleet):
        fleet.common["holdfast_temporary_valid"] = 604_100
        play(ansible, fleet, REFRESH)
        assert on_host(fleet) != old
        assert play(ansible, fleet, REFRESH).changed == []
        # The credentials that the backup began with have ended.
        fleet.stand_in.settings(clock_offset=8000.0, max_skew=100_000.0)
