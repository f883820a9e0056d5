# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several repositories and several processes at one lock document."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks import mutex as _mutex
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.mutex import KEY, Mutex
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import CloudflareLocks
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.session import (
    WindowError,
    WindowSession,
    WindowSpec,
)

from tests.stand_in.client import StandIn

PREFIXES = ("web1/", "web2/", "web3/", "db/")
FOREIGN = {"id": "logs", "enabled": True, "prefix": "logs/", "condition": {"type": "Age", "maxAgeSeconds": 86400}}
WHOLE = [FOREIGN, *(rule for prefix in PREFIXES for rule in lock_set(prefix))]


WINDOWS = 3


class Shared:
    """A bucket with several locked repositories."""

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self.bucket = f"shared-{secrets.token_hex(4)}"
        self.cloudflare = CloudflareLocks(
            stand_in.api_token, stand_in.account_id, url=stand_in.api_url, retry_timeout=5
        )
        self.cloudflare.create_bucket(self.bucket)
        for rule in WHOLE:
            self.put(rule["prefix"] + "object", b"x")
        for prefix in PREFIXES:
            for number in range(WINDOWS):
                self.put(f"{prefix}data/{number}", b"x")
        self.cloudflare.replace_lock_rules(self.bucket, WHOLE)

    def put(self, key: str, body: bytes) -> None:
        self.s3().call("put_object", Key=key, Body=body)

    def s3(self, **settings: Any) -> S3:
        found = self.stand_in
        keys = (found.access_key_id, found.secret_access_key)
        return S3(found.s3_endpoint, *keys, bucket=self.bucket, **settings)

    def spec(self, prefix: str, **changes: Any) -> WindowSpec:
        account = (self.stand_in.api_token, self.stand_in.account_id)
        client = partial(CloudflareLocks, *account, url=self.stand_in.api_url)
        values: dict[str, Any] = {"open_timeout": 30.0, "close_timeout": 60.0}
        return WindowSpec(self.bucket, prefix, ("index", "data"), client, self.s3, **{**values, **changes})


@pytest.fixture(scope="module")
def running() -> Iterator[StandIn]:
    with StandIn.start(latency=0.02) as found:
        yield found


@pytest.fixture
def shared(running: StandIn) -> Shared:
    return Shared(running)


def maintain(shared: Shared, prefix: str, times: int) -> int:
    """Some windows one after the other, in a process of their own."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        for number in range(times):
            with WindowSession(shared.spec(prefix)) as window:
                shared.s3().call("put_object", Key=f"{prefix}data/{number}", Body=b"y")
            status = 0 if window.report["in_force"] else 1
    finally:
        os._exit(status)


@pytest.mark.sample(of="stories")
def test_nobody_undoes_the_window_of_another(shared: Shared) -> None:
    children = [maintain(shared, prefix, WINDOWS) for prefix in PREFIXES]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(PREFIXES)
    assert shared.stand_in.rules(shared.bucket) == WHOLE
    mine = [found for found in shared.stand_in.ledger()["exposures"] if found["bucket"] == shared.bucket]
    assert {found["prefix"] for found in mine} == {f"{p}{part}/" for p in PREFIXES for part in ("data", "index")}
    assert all(found["to"] is not None for found in mine)
    # More exposures would mean that somebody's stale copy has opened one again, or cut one.
    assert len(mine) == 2 * WINDOWS * len(PREFIXES)
    assert KEY not in shared.stand_in.objects(shared.bucket)


def mutex_of(shared: Shared, **settings: Any) -> Mutex:
    client = shared.s3(**settings)
    return Mutex(lambda: client, shared.cloudflare.server_time, time.sleep)


def test_turn_is_had_by_one_at_a_time(shared: Shared) -> None:
    first, second = mutex_of(shared), mutex_of(shared)
    assert first.acquire(60) and first.ours
    assert not second.acquire(0.5) and not second.ours
    first.release()
    assert second.acquire(60)
    first.release()  # again, by mistake: it must not release the mutex of another
    assert not mutex_of(shared).acquire(0.3)


def puts(shared: Shared, since: int) -> list[tuple[float, int]]:
    """When the mutex was written, and how that ended."""
    found = [one for one in shared.stand_in.requests(since) if (one["kind"], one["key"]) == ("PutObject", KEY)]
    return [(one["time"], one["status"]) for one in found if one["bucket"] == shared.bucket]


@pytest.mark.long
def test_one_node_writes_the_turn_a_second_apart_and_waits_by_reading(shared: Shared) -> None:
    since, mutex = shared.stand_in.last_request(), mutex_of(shared)
    for _again in range(2):
        assert mutex.acquire(60)
        mutex.release()
    (first, status), (second, then) = puts(shared, since)
    assert (status, then) == (200, 200) and second - first >= 1.0
    assert mutex.acquire(60)
    since = shared.stand_in.last_request()
    assert not mutex_of(shared).acquire(2.0)
    assert len(puts(shared, since)) == 1


@pytest.mark.long
def test_a_writer_a_second_after_another_does_not_look_for_late_writes(shared: Shared) -> None:
    """Two modules, one after the other: the first released the mutex, so nothing of it takes effect late."""
    first, second = mutex_of(shared), mutex_of(shared, attempts=1)
    assert first.acquire(60)
    shared.stand_in.fault(kind="PutObject", path=KEY, status=429, code="TooManyRequests", times=1)
    first.release()
    assert second.acquire(60) and not second.contended
    second.release()


@pytest.mark.long
def test_the_mutex_of_a_window_that_closes_soon_is_acquired_once(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else could write its object within a second anyway, and closing waits for no mutex."""
    # A busy machine may need more than a second from opening to closing.
    monkeypatch.setattr(_mutex, "SECOND", 8.0)
    since = shared.stand_in.last_request()
    with WindowSession(shared.spec("web1/")) as window:
        pass
    assert window.report["in_force"]
    puts = [one for one in shared.stand_in.requests(since) if one["method"] == "PUT"]
    found = [
        "mutex" if one["key"] == KEY else "rules"
        for one in puts
        if one["key"] == KEY or one["path"].endswith(f"{shared.bucket}/lock")
    ]
    # Opening and closing, then the second look.
    assert found == ["mutex", "rules", "rules", "mutex"]


def test_a_writer_that_finds_no_object_can_have_the_mutex(shared: Shared) -> None:
    """The object is not deleted before it can be written again, so that nobody is refused for that."""
    since, mutex = shared.stand_in.last_request(), mutex_of(shared)
    assert mutex.acquire(60)
    mutex.release()
    assert mutex_of(shared).acquire(60)
    assert [status for _time, status in puts(shared, since)] == [200, 200]


@pytest.mark.long
def test_a_key_that_is_written_too_often_is_a_turn_that_is_taken(shared: Shared) -> None:
    client = shared.s3(attempts=1)
    mutex = Mutex(lambda: client, shared.cloudflare.server_time, time.sleep)
    shared.stand_in.fault(kind="PutObject", path=KEY, status=429, code="TooManyRequests", times=2)
    assert mutex.acquire(60) and mutex.contended
    shared.stand_in.fault(kind="DeleteObject", path=KEY, status=429, code="TooManyRequests")
    mutex.release()
    assert KEY not in shared.stand_in.objects(shared.bucket)


def test_turn_of_the_dead_is_taken_over_by_one(shared: Shared) -> None:
    dead, heir, late = (mutex_of(shared) for _mutex in range(3))
    assert dead.acquire(60)
    assert not heir.acquire(0.3)
    shared.stand_in.set_upload_time(shared.bucket, KEY, "2026-01-01T00:00:00Z")
    assert heir.acquire(60)
    assert not late.acquire(0.3)
    dead.release()  # it was only slow, and wakes up
    assert not late.acquire(0.3)
    heir.release()
    assert late.acquire(60)


@pytest.mark.sample(of="stories")
def test_hostile_mutex_delays_opening_and_does_not_stop_closing(shared: Shared) -> None:
    with WindowSession(shared.spec("web1/")):
        shared.put(KEY, b"mine for ever")
    assert shared.stand_in.rules(shared.bucket) == WHOLE
    # Again: closing looks for late changes for half a minute, and one of three quarters of a minute is too old to count.
    shared.put(KEY, b"mine for ever")
    with pytest.raises(WindowError, match="a host of this bucket keeps writing the object holdfast/turn"):
        with WindowSession(shared.spec("web1/", open_timeout=5.0)):
            pytest.fail("the block must not run")
    assert shared.stand_in.rules(shared.bucket) == WHOLE


@pytest.mark.long
def test_stale_copy_of_another_writer_is_undone(shared: Shared) -> None:
    def undo() -> None:
        """As a writer does that takes no mutex."""
        shared.stand_in.wait_for_request(method="PUT", path=f"{shared.bucket}/lock", since=since)
        shared.cloudflare.replace_lock_rules(shared.bucket, stale)

    with ThreadPoolExecutor(1) as other:
        with WindowSession(shared.spec("web1/")) as window:
            stale, since = shared.cloudflare.lock_rules(shared.bucket), shared.stand_in.last_request()
            undone = other.submit(undo)
        undone.result()
    assert window.report["in_force"] is True
    assert shared.stand_in.rules(shared.bucket) == WHOLE
