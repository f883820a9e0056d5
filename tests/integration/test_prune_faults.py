# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restic_prune when things go wrong around it: windows that do not open, a strange restic, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_journal_of_runs import lines
from tests.support.maintenance import PREFIX, LockedRepository, prefixes
from tests.support.processes import gone, tree
from tests.support.repositories import program
from tests.support.waiting import wait_for


@pytest.mark.long
def test_a_window_that_does_not_open_leaves_everything(site: LockedRepository) -> None:
    site.bed.stand_in.settings(unlock_delay=3600.0)
    result = site.prune(open_timeout=2)
    assert "could not be deleted for 2 seconds" in result["msg"] and result["failed"] and not result["changed"]
    assert set(site.snapshots()) == set(site.ids) and site.destroyed() == []
    assert not [key for key in site.bed.stand_in.objects(site.bed.bucket) if "/locks/" in key]


# To the write that opens a window.
ANSWERS: dict[str, dict[str, Any]] = {
    "denied": {"status": 403, "code": 10000},
    "refused": {"status": 400, "code": 10001},
    "failed": {"status": 500, "times": 0},
    "no answer": {"cut": "before", "times": 0},
    "its answer is no success": {"status": 200, "body": '{"success": false, "errors": [], "result": null}'},
}


@pytest.mark.sample(of="stories")
@pytest.mark.parametrize("answer", ANSWERS)
def test_opening_that_failed_is_never_taken_for_a_success(site: LockedRepository, answer: str) -> None:
    site.bed.stand_in.fault(method="PUT", path=f".*/buckets/{site.bed.bucket}/lock", **ANSWERS[answer])
    result = site.prune(open_timeout=2)
    assert result["failed"] and result["msg"] and not result["changed"] and result["removed"] == []
    assert set(site.snapshots()) == set(site.ids) and site.destroyed() == []
    assert site.exposed() == []


@pytest.mark.long
def test_what_was_prepared_is_known_to_the_next_maintenance(site: LockedRepository) -> None:
    """It is there twice then, as an attack would leave it; but it was written down before, and is as it was written."""
    put = f".*/buckets/{site.bed.bucket}/lock"
    before = set(site.bed.keys())
    site.bed.stand_in.fault(method="PUT", path=put, status=403, code=10000, times=1)
    result = site.prune(open_timeout=2)
    assert result["failed"] and not result["changed"] and site.destroyed() == []
    assert before < set(site.bed.keys())
    assert not [key for key in site.bed.stand_in.objects(site.bed.bucket) if "/locks/" in key]
    pending = site.audit(baseline="update")
    assert [one["code"] for one in pending["findings"]] == ["maintenance_pending"]
    done = site.prune()
    assert "failed" not in done, done["msg"]
    assert done["findings"] == [] and done["changed"]
    assert site.snapshots() == site.ids[-1:]
    site.bed.restic.succeed(["check", "--read-data"])
    assert site.audit(baseline="update")["findings"] == []


@pytest.mark.long
def test_deletes_that_are_refused_are_repeated(site: LockedRepository) -> None:
    """The whole request, or single objects of it, whatever the reason."""
    stand_in = site.bed.stand_in
    stand_in.fault(kind="DeleteObjects", status=403, code="AccessDenied", times=2)
    stand_in.fault(kind="DeleteObjects", status=500, code="InternalError", skip=2, times=6)
    done = site.prune()
    assert "failed" not in done and done["findings"] == [], done
    assert site.snapshots() == site.ids[-1:]


@pytest.mark.sample
@pytest.mark.parametrize("part", ["snapshots", "index", "data"])
def test_deletes_that_stay_refused_are_told(site: LockedRepository, part: str) -> None:
    """What comes after them stays as well, so that the repository is whole; nothing needs a pack that is left."""
    skip = ["snapshots", "index", "data"].index(part)
    site.bed.stand_in.fault(kind="DeleteObjects", status=403, code="AccessDenied", skip=skip, times=0)
    result = site.prune(open_timeout=1)
    gone = {entry["key"].removeprefix(PREFIX).partition("/")[0] for entry in site.destroyed()}
    assert gone == set(["snapshots", "index", "data"][:skip])
    if part == "data":
        assert "failed" not in result, result["msg"]
        assert [(one["code"], one["severity"]) for one in result["findings"]] == [("leftovers", "warn")]
    else:
        assert "could not be deleted for 1 seconds" in result["msg"] and result["failed"]
    site.bed.restic.succeed(["check", "--read-data"])
    site.bed.stand_in.clear_faults()
    again = site.prune()
    assert "failed" not in again and again["changed"], again
    assert {one["code"] for one in again["findings"]} <= {"unreferenced_packs"}
    site.bed.restic.succeed(["check", "--read-data"])


@pytest.mark.long
def test_a_newer_restic_works_the_same(site: LockedRepository, restic_path: str, tmp_path: Path) -> None:
    """Nothing that it prints decides anything."""
    script = f"""
if [ "$1" = version ]; then echo 'restic 0.99.0 compiled with go1.26 on linux/amd64'; exit 0; fi
if [ "$1" != prune ]; then exec '{restic_path}' "$@"; fi
'{restic_path}' "$@" > /dev/null && echo pruned"""
    done = site.prune(restic_path=program(tmp_path / "newer", script))
    assert "failed" not in done and done["findings"] == done.get("warnings", []) == [], done
    assert prefixes(done) == [["snapshots/", "index/", "data/"]] and site.snapshots() == site.ids[-1:]
    assert done["packs_removed"] > 0 == done["packs_repacked"]


@pytest.mark.long
def test_a_window_that_lasts_too_long_is_ended(site: LockedRepository) -> None:
    site.bed.stand_in.fault(kind="DeleteObjects", delay=10, skip=1, times=1)
    result = site.prune(window_seconds=3)
    assert "ended before all was deleted" in result["msg"]
    assert [window["ended_by"] for window in result["windows"]][-1] == "the longest time that was allowed is over"
    site.bed.stand_in.clear_faults()
    assert "failed" not in site.prune()


# --- Signals -----------------------------------------------------------------------------------------------------------


def start(site: LockedRepository, home: Path, **more: Any) -> subprocess.Popen[str]:
    """The module as a process that can be killed."""
    options = {"record_dir": str(site.bed.record_dir), "keep_last": 1, **more, "_ansible_remote_tmp": str(home)}
    return site.bed.start("restic_prune", **options)


@pytest.mark.sample
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_signals_in_the_middle_of_the_deletes(site: LockedRepository, number: signal.Signals) -> None:
    stand_in = site.bed.stand_in
    stand_in.fault(kind="DeleteObjects", delay=30, skip=1, times=0)
    with start(site, site.bed.home) as module:
        first = stand_in.wait_for_request(timeout=60, kind="DeleteObjects", arrived=True)["n"]
        stand_in.wait_for_request(timeout=60, since=first, kind="DeleteObjects", arrived=True)
        since = stand_in.last_request()
        module.send_signal(number)
        output, _errors = module.communicate(timeout=120)
    lock = {"method": "PUT", "path": f".*/buckets/{site.bed.bucket}/lock"}
    if number == signal.SIGKILL:
        count = len([one for one in stand_in.requests() if one["method"] == "PUT" and one["path"].endswith("/lock")])
        if count < 2:
            stand_in.wait_for_request(timeout=60, since=since, **lock)
    else:
        result = json.loads(output)
        assert f"was ended by {number.name}" in result["msg"] and result["changed"]
        assert prefixes(result) == [["snapshots/", "index/", "data/"]]
    site.assert_locked()
    # restic's lock would keep every backup out.
    stand_in.wait_for_request(timeout=60, since=since, method="DELETE", path=f".*/{PREFIX}locks/.*")
    assert not [key for key in stand_in.objects(site.bed.bucket) if "/locks/" in key]
    stand_in.clear_faults()
    done = site.prune()
    assert "failed" not in done, done["msg"]
    assert site.snapshots() == site.ids[-1:]
    site.bed.restic.succeed(["check", "--read-data"])


@pytest.mark.sample
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_while_restic_prepares(site: LockedRepository, number: signal.Signals) -> None:
    """restic ends with the module, nothing is deleted, and what was added till then is known to the next maintenance."""
    stand_in = site.bed.stand_in
    index = {"kind": "PutObject", "path": f"/{PREFIX}index/"}
    # After the one that probes the lock.
    stand_in.fault(**index, delay=10, skip=1, times=1)
    with start(site, site.bed.home) as module:
        probe = stand_in.wait_for_request(timeout=60, **index)["n"]
        first = stand_in.wait_for_request(timeout=60, since=probe, arrived=True, **index)["n"]
        processes = tree(module.pid, "module")
        module.send_signal(number)
        output, _errors = module.communicate(timeout=30)
    if number == signal.SIGTERM:
        assert "was ended by SIGTERM; nothing was deleted" in json.loads(output)["msg"]
    assert len(processes) > 1
    wait_for(lambda: all(gone(one.pid) for one in processes), "the end of restic")
    stand_in.wait_for_request(timeout=60, since=first - 1, **index)
    assert site.exposed() == [] and site.destroyed() == []
    site.bed.restic.succeed(["check"])
    done = site.prune()
    assert "failed" not in done and done["findings"] == [], done
    assert site.snapshots() == site.ids[-1:]
    # One that was killed could write nothing itself; the next one does, which has begun in the meantime.
    ended = {"run": "maintenance", "result": "ok", "bucket": site.bed.bucket}
    site.bed.ansible.module("journal", record_dir=str(site.bed.record_dir), entries=[ended])
    told = [(one["bucket"], one.get("prefix"), one.get("text", "")) for one in lines(site.bed.record_dir)[:-1]]
    if number == signal.SIGKILL:
        ((bucket, prefix, text),) = told
        assert (bucket, prefix) == (site.bed.bucket, PREFIX.rstrip("/")) and "did not end: it was killed" in text
    else:
        assert told == []


@pytest.mark.long
def test_who_is_killed_while_waited_for_does_not_matter(site: LockedRepository) -> None:
    stand_in = site.bed.stand_in
    os.mkfifo(pipe := site.bed.home / "pipe")
    command = ["backup", "--stdin-from-command", "cat", str(pipe)]
    with site.bed.restic.start(command, start_new_session=True) as backup:
        stand_in.wait_for_request(kind="PutObject", path=f".*/{PREFIX}locks/.*")
        since = stand_in.last_request()
        with start(site, site.bed.home, lock_wait=5) as module:
            since = stand_in.wait_for_request(since=since, method="GET", path=f".*/{PREFIX}locks/.+")["n"]
            for _time in range(2):
                since = stand_in.wait_for_request(since=since, kind="ListObjectsV2")["n"]
            os.killpg(backup.pid, signal.SIGKILL)
            backup.communicate(timeout=30)
            result = json.loads(module.communicate(timeout=60)[0])
    assert "failed" not in result, result["msg"]
    site.assert_locked()
