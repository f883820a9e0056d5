# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restic_prune when things go wrong around it: windows that do not open, a strange restic, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.maintenance import PREFIX, Site, prefixes
from tests.support.repositories import program
from tests.support.running import COLLECTION


def test_a_window_that_does_not_open_leaves_everything(site: Site) -> None:
    site.bed.stand_in.settings(unlock_delay=3600.0)
    result = site.prune(open_patience=2)
    assert "is still enforced after 2 seconds" in result["msg"] and result["failed"]
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


@pytest.mark.parametrize("answer", ANSWERS)
def test_opening_that_failed_is_never_taken_for_a_success(site: Site, answer: str) -> None:
    site.bed.stand_in.fault(method="PUT", path=f".*/buckets/{site.bed.bucket}/lock", **ANSWERS[answer])
    result = site.prune(open_patience=2)
    assert result["failed"] and result["msg"] and not result["changed"] and result["removed"] == []
    assert set(site.snapshots()) == set(site.ids) and site.destroyed() == []
    assert site.exposed() == []


def test_the_second_window_does_not_open(site: Site) -> None:
    """What was done is told, what prune has rewritten is kept, and the next maintenance goes on from there."""
    put = f".*/buckets/{site.bed.bucket}/lock"
    site.bed.stand_in.fault(method="PUT", path=put, status=403, code=10000, skip=2, times=1)
    result = site.prune(open_patience=2)
    assert result["failed"] and result["changed"] and prefixes(result) == [["snapshots/"]]
    assert {one["id"] for one in result["removed"]} == set(site.ids[:-1])
    assert site.snapshots() == site.ids[-1:]
    assert all("/snapshots/" in entry["key"] for entry in site.destroyed())
    assert not [key for key in site.bed.stand_in.objects(site.bed.bucket) if "/locks/" in key]
    done = site.prune()
    assert "failed" not in done, done["msg"]
    assert [one["code"] for one in done["findings"]] == ["index_claims_known_blobs", "duplicates"]
    site.bed.restic.succeed(["check", "--read-data"])


def test_deletes_that_are_refused_silently_are_told(site: Site) -> None:
    """restic takes a refused pack for a warning and ends with success; it is still there, and that is said."""
    site.bed.stand_in.fault(method="DELETE", path=f".*/{PREFIX}data/.*", status=403, code="AccessDenied", times=1)
    done = site.prune()
    assert "failed" not in done, done["msg"]
    assert [(one["code"], one["severity"]) for one in done["findings"]] == [("leftovers", "warn")]
    again = site.prune()
    assert (again["changed"], again["packs_removed"]) == (True, 1)
    # What was in the pack that stayed may have been repacked already: then it is there twice, was read, and is said.
    assert {(one["code"], one["severity"]) for one in again["findings"]} <= {("index_claims_known_blobs", "warn")}


def filtered(folder: Path, restic_path: str, version: str, hidden: str) -> str:
    """A restic of another version, or one that does not print some lines."""
    script = f"""
if [ "$1" = version ]; then echo 'restic {version} compiled with go1.26 on linux/amd64'; exit 0; fi
if [ "$1" != prune ]; then exec '{restic_path}' "$@"; fi
exec python3 -c '
import re, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
for line in process.stdout:
    if not re.match("{hidden}", line):
        print(line, end="", flush=True)
sys.exit(process.wait())' '{restic_path}' "$@"
"""
    return program(folder / "filtered", script.replace("python3", sys.executable))


def test_an_unknown_restic_gets_a_window_for_all_of_prune(site: Site, restic_path: str, tmp_path: Path) -> None:
    done = site.prune(restic_path=filtered(tmp_path, restic_path, "0.99.0", "nothing is hidden"))
    assert "failed" not in done, done["msg"]
    assert prefixes(done) == [["snapshots/"], ["index/", "data/"]]
    assert "restic 0.99.0 is newer than this collection knows" in str(done["warnings"])
    assert site.refused() == []


def test_phase_lines_that_do_not_come(site: Site, restic_path: str, tmp_path: Path) -> None:
    done = site.prune(restic_path=filtered(tmp_path, restic_path, "0.19.9", "rebuilding index|removing [0-9]"))
    assert "failed" not in done, done["msg"]
    assert prefixes(done) == [["snapshots/"], ["index/", "data/"]]
    assert "unlocked after a refused delete" in str(done["warnings"])


def test_a_window_that_lasts_too_long_is_ended(site: Site) -> None:
    site.bed.stand_in.fault(method="DELETE", path=f".*/{PREFIX}index/.*", delay=20, times=50)
    result = site.prune(window_seconds=3)
    assert "ended before restic prune did" in result["msg"]
    assert [window["ended_by"] for window in result["windows"]][-1] == "the longest time that was allowed is over"
    assert max(entry["seconds"] for entry in site.exposed()) < 8
    site.bed.stand_in.clear_faults()
    assert "failed" not in site.prune()


# --- Signals -----------------------------------------------------------------------------------------------------------


def start(site: Site, home: Path, **more: Any) -> subprocess.Popen[str]:
    """The module as a process that can be killed."""
    arguments = {
        **site.bed.options,
        "record_dir": str(site.bed.record_dir),
        "keep_last": 1,
        **more,
        "_ansible_check_mode": False,
        "_ansible_remote_tmp": str(home),
        "_ansible_tmpdir": None,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", f"ansible_collections.{COLLECTION}.plugins.modules.restic_prune"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=site.bed.ansible.environment(),
    )
    assert process.stdin
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    process.stdin.close()
    process.stdin = None
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_signals_in_the_middle_of_the_deletes(site: Site, number: signal.Signals) -> None:
    stand_in = site.bed.stand_in
    stand_in.fault(method="DELETE", path=f".*/{PREFIX}index/.*", delay=30, times=50)
    with start(site, site.bed.home) as module:
        stand_in.wait_for_request(timeout=60, method="DELETE", path=f".*/{PREFIX}index/.*", arrived=True)
        since = stand_in.last_request()
        module.send_signal(number)
        output, _errors = module.communicate(timeout=30)
    lock = {"method": "PUT", "path": f".*/buckets/{site.bed.bucket}/lock"}
    if number == signal.SIGKILL:
        count = len([one for one in stand_in.requests() if one["method"] == "PUT" and one["path"].endswith("/lock")])
        if count < 4:
            stand_in.wait_for_request(timeout=5, since=since, **lock)
    else:
        result = json.loads(output)
        assert f"was ended by {number.name}" in result["msg"] and result["changed"]
        assert prefixes(result) == [["snapshots/"], ["index/", "data/"]]
    site.assert_locked()
    # restic itself tidied up, whatever became of those who listened to it: its lock would keep every backup out.
    stand_in.wait_for_request(timeout=20, since=since, method="DELETE", path=f".*/{PREFIX}locks/.*")
    assert not [key for key in stand_in.objects(site.bed.bucket) if "/locks/" in key]
    stand_in.clear_faults()
    done = site.prune()
    assert "failed" not in done, done["msg"]
    assert site.snapshots() == site.ids[-1:]
    site.bed.restic.succeed(["check", "--read-data"])


def test_who_is_killed_while_waited_for_does_not_matter(site: Site) -> None:
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
