# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restic_prune with the real restic against the stand-in."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set

from tests.integration.examples import run_examples
from tests.stand_in.client import StandIn
from tests.support.maintenance import PREFIX, SIZE, LockedRepository, make_site, prefixes
from tests.support.repositories import PASSWORD, program
from tests.support.running import Ansible


@pytest.mark.long
def test_maintenance_from_prediction_to_second_run(site: LockedRepository) -> None:
    before, packs = site.bed.keys(), site.packs()
    foreseen = site.prune(check_mode=True)
    assert (foreseen["changed"], foreseen["windows"], site.exposed()) == (True, [], [])
    assert site.bed.keys() == before and foreseen["predicted_by"] == "preparation"

    done = site.prune()
    assert "failed" not in done, done["msg"]
    assert (done["changed"], done["findings"], done["predicted_by"]) == (True, [], None)
    assert [one["id"] for one in done["removed"]] == [one["id"] for one in foreseen["removed"]]
    assert {one["id"] for one in done["removed"]} == set(site.ids[:-1])
    assert [(one["id"], one["reasons"]) for one in done["kept"]] == [(site.ids[-1], ["last snapshot"])]
    assert done["diff"] == {"before": {"snapshots": sorted(site.ids)}, "after": {"snapshots": site.ids[-1:]}}
    assert site.snapshots() == site.ids[-1:]
    gone = set(packs) - set(site.packs())
    assert done["packs_removed"] == len(gone) == foreseen["packs_removed"] > 0
    assert done["packs_repacked"] == foreseen["packs_repacked"] > 0
    assert done["bytes_removed"] == pytest.approx(foreseen["bytes_removed"], rel=0.01)
    assert done["bytes_repacked"] == pytest.approx(foreseen["bytes_repacked"], rel=0.01)

    assert prefixes(done) == [["snapshots/", "index/", "data/"]]
    assert [window["in_force"] for window in done["windows"]] == [True]
    assert [one["kind"] for one in site.bed.stand_in.requests()].count("DeleteObjects") == 3
    # The stand-in saw no other prefix open, and less of it than the keeper tells.
    assert sorted(entry["prefix"] for entry in site.exposed()) == [
        f"{PREFIX}{name}/" for name in ("data", "index", "snapshots")
    ]
    told = max(window["seconds"] for window in done["windows"])
    assert all(entry["seconds"] <= told for entry in site.exposed())
    site.bed.restic.succeed(["check", "--read-data"])

    site.bed.stand_in.clear_log()
    again = site.prune()
    assert (again["changed"], again["windows"], again["removed"], again["packs_removed"]) == (False, [], [], 0)
    assert [one["id"] for one in again["kept"]] == site.ids[-1:]
    assert site.exposed() == []


@pytest.mark.sample
@pytest.mark.parametrize("status", [403, 409])
def test_locks_that_change_late(site: LockedRepository, status: int) -> None:
    """Deletes that are refused because the window is not open yet, or not any more, are repeated."""
    site.bed.stand_in.settings(lock_delay=5.0, unlock_delay=5.0, refusal_status=status)
    done = site.prune()
    assert "failed" not in done, done["msg"]
    assert site.snapshots() == site.ids[-1:]
    assert all(entry["seconds"] > 5 for entry in site.exposed())


@pytest.mark.long
def test_orphan_packs_go_with_the_rest(site: LockedRepository) -> None:
    orphan = "ab" + "0" * 62
    site.add(f"data/ab/{orphan}", b"left by a backup that was cut")
    done = site.prune()
    assert "failed" not in done, done["msg"]
    assert prefixes(done) == [["snapshots/", "index/", "data/"]]
    assert f"{PREFIX}data/ab/{orphan}" not in site.packs()
    assert [(one["code"], one["severity"]) for one in done["findings"]] == [("unreferenced_packs", "warn")]


@pytest.mark.long
def test_only_orphan_packs(site: LockedRepository) -> None:
    site.prune()
    site.add("data/cd/cd" + "0" * 62, b"x" * 1000)
    done = site.prune()
    assert (done["changed"], done["packs_removed"], done["bytes_removed"]) == (True, 1, 1000)
    assert prefixes(done) == [["data/"]]


@pytest.mark.long
def test_server_time_decides(site: LockedRepository) -> None:
    """Snapshots of invented times neither count for other days nor push the genuine ones out, once they are accepted."""
    genuine = site.ids[:3]
    bogus = [site.bed.backup(site.files, f"--time=2031-01-0{day} 12:00:00") for day in range(1, 8)]
    for day, name in enumerate(genuine, start=1):
        site.bed.stand_in.set_upload_time(site.bed.bucket, f"{PREFIX}snapshots/{name}", f"2026-01-0{day}T12:00:00Z")
    assert "snapshots claim a time after their upload" in refusal(site, keep_last=None, keep_daily=3, record_dir=None)
    assert "failed" not in site.audit(baseline="rebuild")
    assert "claim a time after" in refusal(site, keep_last=None, keep_daily=3, retention_time="snapshot")
    done = site.prune(keep_last=None, keep_daily=3)
    assert "failed" not in done, done["msg"]
    assert set(site.snapshots()) == {bogus[-1], *genuine[1:]}
    assert [finding["code"] for finding in done["findings"]] == ["claimed_time"]


# --- The audit ----------------------------------------------------------------------------------------------------------


def refusal(site: LockedRepository, **arguments: Any) -> str:
    """What the module says; it must have changed nothing."""
    before = site.bed.keys()
    result = site.prune(**arguments)
    assert result.get("failed") is True
    assert site.bed.keys() == before and site.exposed() == [] and result.get("windows", []) == []
    assert "Traceback" not in json.dumps(result)
    return str(result["msg"])


def test_no_window_without_good_reason(site: LockedRepository, tmp_path: Path) -> None:
    assert "set at least one keep_ option" in refusal(site, keep_last=None)
    assert "3 of 4 snapshots would be removed, but max_remove is 2" in refusal(site, max_remove="2")
    assert "3 of 4 snapshots would be removed, but max_remove is 74%" in refusal(site, max_remove="74%")
    assert "but " + "f" * 64 + " was recorded" in refusal(site, repository_id="f" * 64)
    assert "The password of repository" in refusal(site, password="wrong")
    assert "There is no record" in refusal(site, record_dir=str(tmp_path / "nowhere"))
    missing = refusal(site, restic_path=str(tmp_path / "none"))
    assert "restic was not found" in missing
    old = program(tmp_path / "old", "echo restic 0.18.1 compiled")
    assert "Maintenance needs restic 0.19.0 or later" in refusal(site, restic_path=old)


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("window_seconds", -1),
        ("window_seconds", 10**9),
        ("open_timeout", 0),
        ("lock_wait", -1),
    ],
)
def test_no_window_for_seconds_that_make_no_sense(ansible: Ansible, tmp_path: Path, name: str, seconds: int) -> None:
    account = {"account_id": "0" * 32, "api_token": "token", "api_url": "http://127.0.0.1:9"}
    options = {**account, "bucket": "backup-web1", "password": "x", "keep_last": 1, name: seconds}
    assert f"{name} is {seconds}; it must be from" in ansible.module("restic_prune", **options)["msg"]


def test_no_window_for_a_repository_that_others_changed(site: LockedRepository) -> None:
    site.add("keys/" + "0" * 64, b"{}")
    assert "keys/ holds 1 objects that were not recorded" in refusal(site)


def test_no_window_with_garbage_among_the_snapshots(site: LockedRepository) -> None:
    site.add("snapshots/" + "0" * 64, b"garbage")
    assert "restic cannot read 1 of the snapshot objects" in refusal(site)


@pytest.mark.long
def test_no_window_without_snapshots(stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path) -> None:
    empty = make_site(stand_in, ansible, restic_path, tmp_path, 0)
    result = empty.prune()
    assert (result["changed"], result["windows"]) == (False, [])
    assert [finding["code"] for finding in result["findings"]] == ["unused"]
    # As soon as there is data, snapshots that are missing are a reason for alarm.
    name = "0" * 64
    empty.add(f"data/00/{name}", b"data")
    assert "no snapshot that can be read" in refusal(empty)


def test_no_window_without_the_whole_lock_set(site: LockedRepository) -> None:
    rules = lock_set(PREFIX)
    site.bed.cloudflare.replace_lock_rules(site.bed.bucket, rules[:-1])
    result = site.bed.module("restic_prune", keep_last=1)
    assert "there is no rule for snapshots" in result["msg"] and result["windows"] == []
    site.bed.cloudflare.replace_lock_rules(site.bed.bucket, [{**rule, "enabled": rule != rules[0]} for rule in rules])
    result = site.bed.module("restic_prune", keep_last=1)
    assert "was left open. Run the relock playbook" in result["msg"] and result["windows"] == []


def store_twice(site: LockedRepository) -> str:
    """Data that is in the repository twice, as an interrupted prune or an attack leaves it; the key of one of its packs."""
    file = site.files / "twice"
    file.write_bytes(os.urandom(SIZE))
    packs = site.packs()
    site.bed.backup(file)
    pack = max(
        (item for item in site.bed.s3.list(f"{PREFIX}data/") if item.key not in packs), key=lambda item: item.size
    )
    # Without its index the pack is not known, and its content is uploaded once more; then the index comes back.
    site.bed.unlock()
    newest = max(site.bed.s3.list(f"{PREFIX}index/"), key=lambda item: item.last_modified)
    index = site.bed.s3.get(newest.key)
    site.bed.s3.delete(newest.key)
    site.bed.backup(file, "--force", "--no-cache")
    site.add(newest.key.removeprefix(PREFIX), index)
    site.bed.lock()
    site.bed.stand_in.clear_log()
    return pack.key


@pytest.mark.long
def test_duplicates_are_read(site: LockedRepository) -> None:
    store_twice(site)
    done = site.prune(keep_last=3)
    assert "failed" not in done, done["msg"]
    codes = ["index_claims_known_blobs", "unexpected_paths"]
    assert [(one["code"], one["severity"]) for one in done["findings"]] == [(code, "warn") for code in codes]


@pytest.mark.long
def test_a_bogus_copy_is_found_by_reading(site: LockedRepository) -> None:
    pack = store_twice(site)
    size = len(site.bed.s3.get(pack))
    site.bed.unlock()
    site.bed.s3.delete(pack)
    site.add(pack.removeprefix(PREFIX), os.urandom(size))
    site.bed.lock()
    site.bed.stand_in.clear_log()
    assert "1 new packs were read and are not what the index says" in refusal(site, keep_last=3)
    assert "has errors, the first: " in refusal(site, keep_last=3, record_dir=None)


# --- Other restics -----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_waits_for_a_backup_without_a_window(site: LockedRepository) -> None:
    os.mkfifo(pipe := site.bed.home / "pipe")
    backup = site.bed.restic.start(["backup", "--stdin-from-command", "cat", str(pipe)])
    with backup:
        site.bed.stand_in.wait_for_request(kind="PutObject", path=f".*/{PREFIX}locks/.*")
        before = site.bed.keys()
        result = site.prune()
        assert result["failed"] and "Another restic works in" in result["msg"]
        # What was prepared is there already; it is in nobody's way.
        assert set(before) <= set(site.bed.keys()) and site.exposed() == [] and not result["changed"]
        descriptor = os.open(pipe, os.O_WRONLY)
        os.close(descriptor)
        backup.communicate(timeout=60)
    assert "failed" not in site.prune()


@pytest.mark.long
def test_locks_of_dead_processes_do_not_matter(site: LockedRepository) -> None:
    os.mkfifo(pipe := site.bed.home / "pipe")
    with site.bed.restic.start(["backup", "--stdin-from-command", "cat", str(pipe)], start_new_session=True) as backup:
        site.bed.stand_in.wait_for_request(kind="PutObject", path=f".*/{PREFIX}locks/.*")
        os.killpg(backup.pid, signal.SIGKILL)
        backup.communicate(timeout=30)
    assert "failed" not in site.prune()


@pytest.mark.sample(of="examples")
def test_examples(site: LockedRepository) -> None:
    variables = {"holdfast_password": PASSWORD}
    options = {
        "bucket": site.bed.bucket,
        "prefix": PREFIX,
        "restic_path": site.bed.restic_path,
        "cache_dir": str(site.bed.home / "cache"),
        "record_dir": str(site.bed.record_dir),
    }
    run = run_examples(site.bed.ansible, site.bed.stand_in, "restic_prune", options=options, variables=variables)
    assert run.exit_code == 0, run.output
    assert [result.changed for result in run.results] == [True, False]
    site.assert_locked()
