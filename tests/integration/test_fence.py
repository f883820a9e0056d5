# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fence: the host's token is disabled while its repository is maintained, and enabled whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.fences import fences, put_up
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.mutex import KEY
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import problems
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import CloudflareLocks
from botocore.exceptions import ClientError

from tests.stand_in.client import StandIn
from tests.stand_in.others import cloudflare_client, s3_client, set_token_status
from tests.support.maintenance import PREFIX, LockedRepository
from tests.support.repositories import PASSWORD
from tests.support.running import COLLECTION

LATER = 600.0
# 11: a restic that was killed left its lock, which the host could read.
LET_IN = (0, 11)


class Fenced:
    """A site whose host has a managed token."""

    def __init__(self, site: LockedRepository) -> None:
        self.site = site
        self.stand_in: StandIn = site.bed.stand_in
        made = site.bed.ansible.module(
            "r2_host_token",
            **self.account,
            name="web1",
            bucket=site.bed.bucket,
            prefix=PREFIX,
            record_dir=str(site.bed.record_dir),
        )
        assert "failed" not in made, made
        self.token_id = made["access_key_id"]
        with open(made["keys_file"], encoding="utf-8") as stream:
            self.keys = json.load(stream)
        self.stand_in.clear_log()

    @property
    def account(self) -> dict[str, str]:
        stand_in = self.stand_in
        return {"account_id": stand_in.account_id, "api_token": stand_in.api_token, "api_url": stand_in.api_url}

    @property
    def cloudflare(self) -> CloudflareLocks:
        return CloudflareLocks(self.stand_in.api_token, self.stand_in.account_id, url=self.stand_in.api_url)

    def token(self) -> Any:
        client = cloudflare_client(self.stand_in)
        return client.accounts.tokens.get(self.token_id, account_id=self.stand_in.account_id)

    def rules(self) -> list[dict[str, Any]]:
        return self.stand_in.rules(self.site.bed.bucket)

    def host(self, seconds: int = 30) -> subprocess.CompletedProcess[str]:
        """A request of the host's own restic, which leaves and removes an object below locks/."""
        bed = self.site.bed
        environment = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": self.keys["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": self.keys["secret_access_key"],
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_REPOSITORY": f"s3:{self.stand_in.s3_endpoint}/{bed.bucket}/{PREFIX}",
        }
        command = ["timeout", str(seconds), bed.restic_path, "cat", "config", "--no-cache"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def start(self, **arguments: Any) -> subprocess.Popen[str]:
        """Start maintenance in a process that can be killed."""
        bed = self.site.bed
        given = {
            **bed.options,
            "record_dir": str(bed.record_dir),
            "cache_dir": str(bed.home / "cache-of-killed"),
            "keep_last": 1,
            "fence_seconds": 0,
            "_ansible_remote_tmp": str(bed.home),
            **arguments,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", f"ansible_collections.{COLLECTION}.plugins.modules.restic_prune"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=bed.ansible.environment(),
        )
        assert process.stdin
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": given}))
        process.stdin.close()
        process.stdin = None
        return process

    def down(self) -> bool:
        return self.token().status == "active" and not fences(self.rules())

    def guard(self, **arguments: Any) -> dict[str, Any]:
        return self.site.bed.ansible.module("r2_bucket_relock", **{**self.account, **arguments})


@pytest.fixture
def fenced(site: LockedRepository) -> Fenced:
    return Fenced(site)


def wait(condition: Callable[[], bool], seconds: float = LATER) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this never came about"
        time.sleep(0.1)


@pytest.mark.sample(of="stories")
def test_nothing_is_open_to_the_host_while_its_repository_is_maintained(fenced: Fenced) -> None:
    assert fenced.host().returncode == 0
    since = fenced.stand_in.last_request()
    fenced.stand_in.fault(kind="DeleteObjects", delay=12.0)
    process = fenced.start()
    fenced.stand_in.wait_for_request(kind="DeleteObjects", arrived=True, since=since, timeout=120)
    assert fenced.token().status == "disabled"
    (fence,) = fences(fenced.rules())
    assert fence.tokens == (fenced.token_id,) and problems(fenced.rules()) == []
    refused = fenced.host(5)
    assert refused.returncode != 0, "the host may write while a window is open"
    result = json.loads(process.communicate(timeout=LATER)[0])
    assert "failed" not in result and len(result["removed"]) == 3, result
    # What ansible-core 2.22 hears of a module to hide it; it takes this out of the result.
    result.pop("_ansible_new_secrets", None)
    assert fenced.keys["secret_access_key"] not in json.dumps(result)
    (told,) = result["fences"]
    assert (
        told["tokens"] == [fenced.token_id]
        and told["without"] is None
        and told["disabled"] <= told["enabled"]
        and told["seconds"] > 0
    )
    # Before the first window the locks were probed by the host's keys, and after it by the node's, for there was a fence.
    probes = [one for one in fenced.stand_in.requests(since) if one["kind"] == "PutObject" and one["status"] == 409]
    (first, last) = (probes[0]["key_id"], probes[-1]["key_id"])
    assert (first, last) == (fenced.token_id, fenced.stand_in.token_id)
    # From the fence on, whatever the host asked for was refused; before it, the audit has asked with its keys.
    log = fenced.stand_in.requests(since)
    disabled = next(one["n"] for one in log if one["method"] == "PUT" and "/tokens/" in one["path"])
    log = [one for one in log if one["n"] > disabled]
    assert fenced.site.exposed() and [one for one in log if one["status"] in (401, 403)]
    assert [one for one in log if one.get("key_id") == fenced.token_id and one["status"] < 400] == []
    assert fenced.down() and fenced.host().returncode == 0
    assert KEY not in fenced.stand_in.objects(fenced.site.bed.bucket)
    fenced.site.assert_locked()


def asking(fenced: Fenced, ended: threading.Event) -> None:
    """What the host does all the time, whether it is let in or not."""
    client = s3_client(fenced.stand_in, fenced.keys)
    while not ended.wait(0.1):
        with suppress(ClientError):
            client.list_objects_v2(Bucket=fenced.site.bed.bucket, MaxKeys=1)


@pytest.mark.sample(of="stories")
@pytest.mark.parametrize("known", [True, False], ids=["keys-work-here", "keys-work-elsewhere"])
def test_nothing_opens_until_r2_has_noticed_that_the_token_is_disabled(fenced: Fenced, known: bool) -> None:
    fenced.stand_in.settings(token_delay=5.0)
    if not known:
        # From the node, the keys are always refused: that proves nothing, and takes as long as it may.
        path = fenced.site.bed.record_dir / fenced.site.bed.bucket / "web1" / "host_keys.json"
        path.write_text(json.dumps({**fenced.keys, "secret_access_key": "0" * 64}), encoding="utf-8")
    since, ended = fenced.stand_in.last_request(), threading.Event()
    host = threading.Thread(target=asking, args=(fenced, ended))
    host.start()
    try:
        result = fenced.site.prune(fence_seconds=8)
    finally:
        ended.set()
        host.join(timeout=60)
    assert "failed" not in result and len(result["removed"]) == 3, result
    asked = [one for one in fenced.stand_in.requests(since) if one["kind"] == "ListObjectsV2"]
    let_in = [one["time"] for one in asked if one["key_id"] == fenced.token_id and one["status"] == 200]
    windows = [(one["from"], one["to"]) for one in fenced.site.exposed()]
    assert windows and min(let_in) < min(start for start, _end in windows)
    assert [time for time in let_in for start, end in windows if start <= time <= end] == []


@pytest.mark.long
def test_what_is_left_to_check_is_checked_while_the_fence_comes_up(fenced: Fenced) -> None:
    since = fenced.stand_in.last_request()
    # No waiting in this would come to its end.
    process = fenced.start(fence_seconds=3600)
    begun = fenced.stand_in.wait_for_request(method="GET", path="/tokens$", since=since, timeout=120)["n"]
    locked = fenced.stand_in.wait_for_request(kind="PutObject", path=f"/{PREFIX}locks/", since=since, timeout=120)["n"]
    asked = [one["kind"] for one in fenced.stand_in.requests(begun) if one["n"] < locked]
    assert {"ListObjectsV2", "GetObject"} <= set(asked) and fenced.site.exposed() == []
    process.terminate()
    result = json.loads(process.communicate(timeout=LATER)[0])
    assert result["failed"] and "nothing was deleted" in result["msg"], result
    assert fenced.down() and not [key for key in fenced.stand_in.objects(fenced.site.bed.bucket) if "/locks/" in key]


@pytest.mark.long
def test_fence_comes_down_at_once_where_a_backup_has_begun(fenced: Fenced) -> None:
    bed, since = fenced.site.bed, fenced.stand_in.last_request()
    fenced.stand_in.fault(method="GET", path=r"/tokens\?", held=True)
    process = fenced.start(fence_seconds=3600, lock_wait=0)
    fenced.stand_in.wait_for_request(method="GET", path="/tokens$", arrived=True, since=since, timeout=120)
    bed.s3.call("put_object", Key=f"{PREFIX}locks/{'0' * 64}", Body=b"a lock of a backup")
    fenced.stand_in.clear_faults()
    result = json.loads(process.communicate(timeout=LATER)[0])
    assert result["failed"] and "lock" in result["msg"] and fenced.site.exposed() == [], result
    assert fenced.down()


@pytest.mark.long
def test_token_disabled_by_hand_stays_disabled(fenced: Fenced) -> None:
    set_token_status(fenced.stand_in, "web1", "disabled")
    result = fenced.site.prune()
    assert "failed" not in result and result["removed"]
    assert "they are left so" in str(result["warnings"]) and result["fences"][0]["without"]
    assert fenced.token().status == "disabled"


@pytest.mark.long
def test_token_that_somebody_renamed_is_behind_the_fence_too(fenced: Fenced) -> None:
    token, account_id = fenced.token(), fenced.stand_in.account_id
    cloudflare_client(fenced.stand_in).accounts.tokens.update(
        fenced.token_id, account_id=account_id, name="renamed by hand", policies=token.policies
    )
    result = fenced.site.prune()
    assert "failed" not in result and result["fences"][0]["tokens"] == [fenced.token_id]
    assert fenced.down() and fenced.token().name == "renamed by hand"


STEPS = {
    "rule": {"method": "PUT", "path": "/lock$"},
    "token": {"method": "PUT", "path": "/tokens/"},
    "window": {"kind": "DeleteObjects"},
    "enabling": {"method": "PUT", "path": "/tokens/", "skip": 1},
    "taking-down": {"method": "PUT", "path": "/lock$", "skip": 3},
}


@pytest.mark.sample(of="stories")
@pytest.mark.parametrize(
    "step", [pytest.param(step, marks=() if step == "window" else pytest.mark.proof) for step in STEPS]
)
def test_kill_of_maintenance_takes_the_fence_down(fenced: Fenced, step: str) -> None:
    fault = STEPS[step]
    wanted = {name: fault[name] for name in fault if name != "skip"}
    fenced.stand_in.fault(delay=2.0, **fault)
    since = fenced.stand_in.last_request()
    process = fenced.start()
    for _time in range(int(fault.get("skip", 0)) + 1):
        entry = fenced.stand_in.wait_for_request(arrived=True, since=since, timeout=120, **wanted)
        since = entry["n"]
    process.kill()
    process.wait()
    # This very request: another one may be answered before it.
    wait(lambda: fenced.stand_in.requests(since - 1)[0]["status"] is not None)
    wait(fenced.down)
    wait(lambda: fenced.site.exposed(closed=False) == [])
    assert fenced.host().returncode in LET_IN


@pytest.mark.sample(of="stories")
def test_fence_that_is_lost_while_a_window_is_open_fails_the_run(fenced: Fenced) -> None:
    since = fenced.stand_in.last_request()
    fenced.stand_in.fault(kind="DeleteObjects", delay=6.0)
    process = fenced.start()
    fenced.stand_in.wait_for_request(kind="DeleteObjects", arrived=True, since=since, timeout=120)
    os.kill(fence_keeper(process.pid), signal.SIGKILL)
    result = json.loads(process.communicate(timeout=LATER)[0])
    assert result["failed"] and "fence" in result["msg"], result
    wait(fenced.down)
    assert fenced.site.exposed(closed=False) == []


@pytest.mark.sample(of="stories")
def test_no_window_opens_once_the_fence_was_taken_down(fenced: Fenced) -> None:
    """The guard is told to use force between the fence and the first window."""
    since = fenced.stand_in.last_request()
    # Its own looks at the lock document come before the fence, after its rule, and after the token was disabled.
    process = fenced.start(fence_seconds=8)
    fenced.stand_in.wait_for_request(method="PUT", path="/tokens/", since=since, timeout=120)
    told = fenced.guard(buckets=[fenced.site.bed.bucket], force=True)
    assert [fence["enabled"] for fence in told["buckets"][0]["fences"]] == [[fenced.token_id]]
    result = json.loads(process.communicate(timeout=LATER)[0])
    assert result["failed"] and fenced.site.exposed() == [], result
    assert fenced.down()


def fence_keeper(pid: int) -> int:
    """The first process that maintenance forked for longer than a moment."""
    for child in children(pid):
        with open(f"/proc/{child}/cmdline", encoding="utf-8") as stream:
            if "restic_prune" in stream.read():
                return child
    raise AssertionError("there is no keeper")


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as stream:
        return [int(child) for child in stream.read().split()]


@pytest.mark.long
def test_guard_enables_the_token_when_all_are_dead(fenced: Fenced) -> None:
    since = fenced.stand_in.last_request()
    fenced.stand_in.fault(kind="DeleteObjects", delay=6.0)
    process = fenced.start()
    fenced.stand_in.wait_for_request(kind="DeleteObjects", arrived=True, since=since, timeout=120)
    for child in reversed(keepers(process.pid)):
        os.kill(child, signal.SIGKILL)
    process.kill()
    process.wait()
    left = fenced.rules()
    assert fenced.token().status == "disabled" and fences(left)
    assert fenced.guard(buckets=[fenced.site.bed.bucket])["closed"] == 0, "the leases still run"

    fenced.stand_in.settings(clock_offset=4000.0, max_skew=100000.0)
    storage = fenced.stand_in.create_token("storage")["value"]
    told = fenced.guard(api_token=storage, buckets=[fenced.site.bed.bucket])
    assert told["failed"] and "Account API Tokens Write" in told["msg"] and told["closed"] == 1
    assert fenced.token().status == "disabled" and fences(fenced.rules())
    assert fenced.site.exposed(closed=False) == []

    foreseen = fenced.site.bed.ansible.module(
        "r2_bucket_relock", check_mode=True, **fenced.account, buckets=[fenced.site.bed.bucket]
    )
    assert foreseen["changed"] and fenced.token().status == "disabled"
    done = fenced.guard(buckets=[fenced.site.bed.bucket])
    assert done["changed"] and [fence["enabled"] for fence in done["buckets"][0]["fences"]] == [[fenced.token_id]]
    assert fenced.down()
    fenced.stand_in.settings(clock_offset=0.0)
    assert fenced.host().returncode in LET_IN


def keepers(pid: int) -> list[int]:
    """The processes that a process has forked, and those that these have."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as stream:
        children = [int(child) for child in stream.read().split()]
    return [*children, *(found for child in children for found in keepers(child))]


@pytest.mark.long
def test_turn_is_kept_when_a_write_that_takes_the_fence_down_had_no_answer(fenced: Fenced) -> None:
    """It may yet take effect, and would undo what somebody else has written meanwhile."""
    fenced.stand_in.fault(**STEPS["taking-down"], cut="before")
    result = fenced.site.prune()
    assert "failed" not in result and len(result["removed"]) == 3, result
    assert fenced.down()
    assert KEY in fenced.stand_in.objects(fenced.site.bed.bucket)


@pytest.mark.long
def test_fence_whose_keeper_died_is_taken_over(fenced: Fenced) -> None:
    now = fenced.cloudflare
    rules = now.lock_rules(fenced.site.bed.bucket)
    lease = now.server_time() - timedelta(seconds=5)
    holder = "0123456789abcdef"
    left = put_up(rules, PREFIX, tokens=[fenced.token_id], holder=holder, lease=lease, now=lease)
    now.replace_lock_rules(fenced.site.bed.bucket, left)
    set_token_status(fenced.stand_in, "web1", "disabled")
    assert "failed" not in fenced.site.prune()
    assert fenced.down()


@pytest.mark.long
def test_token_maker_that_may_not_opens_nothing(fenced: Fenced) -> None:
    storage = fenced.stand_in.create_token("storage")["value"]
    result = fenced.site.prune(fence_api_token=storage)
    assert result["failed"] and "Account API Tokens Write" in result["msg"] and storage not in str(result)
    assert fenced.site.exposed() == [] and fenced.down()
    assert "failed" not in fenced.site.prune(fence="never")
