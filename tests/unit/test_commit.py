# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The deletes of a maintenance, when the service refuses some of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions import commit as _commit
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.commit import Commit, lease_for
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.prepared_deletes import PreparedDelete, await_turn
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3_transfers import Transfers
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3_types import S3Error

COUNTS = {"data": 97_000, "index": 1500, "snapshots": 1500}
ORDER = [["snapshots/1"], ["index/1"], ["data/1", "data/2"]]
KEYS = {"data": ["data/1", "data/2"], "snapshots": ["snapshots/1"], "index": ["index/1"]}


class Bucket:
    """Answers deletes as it is told, and knows in which order they came."""

    def __init__(self, *refusals: list[str]) -> None:
        self.refusals = list(refusals)
        self.made: list[list[str]] = []
        self.asked: list[list[str]] = []

    def delete_many(self, keys: Any, prepared: PreparedDelete | None = None) -> dict[str, S3Error]:
        return prepared.send() if prepared else self._delete(list(keys))

    def prepared_delete(self, keys: list[str]) -> PreparedDelete:
        return PreparedDelete(lambda: self._delete(keys, from_here=False))

    def _delete(self, keys: list[str], from_here: bool = True) -> dict[str, S3Error]:
        self.made.append(keys)
        await_turn()
        assert from_here == (threading.current_thread() is threading.main_thread())
        self.asked.append(keys)
        return {key: S3Error("It is locked.") for key in (self.refusals.pop(0) if self.refusals else [])}

    def rehearse_delete(self) -> None:
        """Nothing is asked for."""


class Window:
    """A window that is open until it is said to be over."""

    def __init__(self, over: Callable[[], str | None] = lambda: None, opens: bool = True) -> None:
        self.over = over
        self.opens = opens
        self.meanwhile: Callable[[], object] = lambda: None
        self.report: dict[str, Any] = {}

    def __enter__(self) -> None:
        self.meanwhile()
        if not self.opens:
            raise HoldfastError("It did not open.")
        self.report = {"opened": "now"}

    def __exit__(self, *_error: object) -> None:
        self.report["in_force"] = True


def commit(bucket: Bucket, window: Window | None = None, timeout: float = 60.0) -> tuple[Commit, list[Any]]:
    asked: list[Any] = []

    def opened(parts: tuple[str, ...], count: int) -> Any:
        asked.append((parts, count))
        return window or Window()

    return Commit(bucket, "bed", opened, timeout, sleep=lambda seconds: None), asked  # type: ignore[arg-type]


def test_all_goes_in_one_window_over_what_is_needed_in_the_order_that_keeps_it_whole() -> None:
    bucket = Bucket()
    made, opened = commit(bucket)
    assert made.run(KEYS) == []
    assert opened == [(("snapshots", "index", "data"), 4)]
    assert bucket.asked == [["snapshots/1"], ["index/1"], ["data/1", "data/2"]]
    made, opened = commit(Bucket())
    assert made.run({**KEYS, "snapshots": [], "index": []}) == [] and opened == [(("data",), 2)]


def test_the_first_request_of_each_part_is_made_before_the_window_is_open() -> None:
    bucket, made_when_open = Bucket(["snapshots/1"]), []
    made, _opened = commit(bucket, Window(lambda: made_when_open.append(len(bucket.made))))
    assert made.run(KEYS) == []
    assert made_when_open == [3, 3, 4, 4]
    assert bucket.made == [*ORDER, ["snapshots/1"]] and bucket.asked == [["snapshots/1"], *ORDER]


@pytest.mark.parametrize("reason", ["window", "fence", "not opened", "refused"])
def test_what_was_made_and_has_had_no_turn_is_never_sent(reason: str) -> None:
    bucket = Bucket(KEYS["snapshots"] if reason == "refused" else [])
    window = Window(lambda: "it is over" if reason == "window" else None, opens=reason != "not opened")
    made, _opened = commit(bucket, window, timeout=0.0)
    made.lost = lambda: "it is lost" if reason == "fence" else None
    before = threading.active_count()
    with pytest.raises(HoldfastError):
        made.run(KEYS)
    assert bucket.made == ORDER and threading.active_count() == before
    assert bucket.asked == ([KEYS["snapshots"]] if reason == "refused" else [])


def test_only_what_was_refused_is_asked_for_again() -> None:
    bucket = Bucket(["snapshots/1"], ["snapshots/1"], [], [], ["data/2"])
    made, _opened = commit(bucket)
    assert made.run(KEYS) == []
    assert bucket.asked == [*[["snapshots/1"]] * 3, ["index/1"], ["data/1", "data/2"], ["data/2"]]


@pytest.mark.parametrize("part", ["snapshots", "index"])
def test_what_cannot_be_deleted_keeps_what_comes_after_it(part: str) -> None:
    refused = [[], []] if part == "index" else []
    bucket = Bucket(*refused[:1], *[KEYS[part]] * 9)
    made, _opened = commit(bucket, timeout=0.0)
    with pytest.raises(HoldfastError, match=r"1 objects of bed could not be deleted for 0 seconds.*It is locked"):
        made.run(KEYS)
    assert bucket.asked[-1] == KEYS[part] and made.windows == [{"opened": "now", "in_force": True}]


def test_packs_that_cannot_be_deleted_are_told() -> None:
    made, _opened = commit(Bucket([], [], ["data/2"]), timeout=0.0)
    assert made.run(KEYS) == ["data/2"]


def test_nothing_is_asked_for_when_the_window_is_over() -> None:
    bucket = Bucket()
    made, _opened = commit(bucket, Window(lambda: "the keeper died" if bucket.asked else None))
    with pytest.raises(HoldfastError, match="ended before all was deleted: the keeper died"):
        made.run(KEYS)
    assert bucket.asked == [["snapshots/1"]]


class Simulated(Transfers):
    """A bucket that deletes all that it is asked to, a thousand at most with a request."""

    bucket = "simulated"

    def __init__(self) -> None:
        self.requests: list[set[str]] = []

    def rehearse_delete(self) -> None:
        """Nothing is asked for."""

    def call(self, operation: str, *needed: str, **parameters: Any) -> dict[str, Any]:
        keys = [item["Key"] for item in parameters["Delete"]["Objects"]]
        assert operation == "delete_objects" and len(keys) <= 1000
        await_turn()
        self.requests.append({key.partition("/")[0] for key in keys})
        return {"Deleted": [{"Key": key} for key in keys]}


def test_a_hundred_thousand_objects_go_with_a_hundred_requests_told_before_and_within_the_lease() -> None:
    keys = {part: [f"{part}/{number}" for number in range(count)] for part, count in COUNTS.items()}
    bucket = Simulated()
    made, opened = commit(bucket)  # type: ignore[arg-type]
    assert made.run(keys) == []
    assert opened == [(("snapshots", "index", "data"), 100_000)]
    assert len(bucket.requests) == 101 and all(len(parts) == 1 for parts in bucket.requests)
    assert [part for parts in bucket.requests for part in parts] == ["snapshots"] * 2 + ["index"] * 2 + ["data"] * 97
    assert lease_for(100_000) / len(bucket.requests) >= 5.0


def test_parts_for_which_one_request_does_are_made_before_and_have_their_turn() -> None:
    bucket = Simulated()
    made, _opened = commit(bucket)  # type: ignore[arg-type]
    assert made.run({"data": [f"data/{number}" for number in range(1001)], "index": ["index/1"]}) == []
    assert bucket.requests == [{"index"}, {"data"}, {"data"}]


def test_nothing_more_is_asked_for_when_the_fence_is_lost() -> None:
    bucket = Bucket()
    made, _opened = commit(bucket)
    made.lost = lambda: "its keeper died" if bucket.asked else None
    with pytest.raises(HoldfastError, match="fence of bed was lost before all was deleted: its keeper died"):
        made.run(KEYS)
    assert bucket.asked == [["snapshots/1"]]


def test_timeout_counts_no_time_in_which_the_node_was_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10**6, 3600))
    monkeypatch.setattr(_commit, "elapsed", lambda: float(next(clock)), raising=False)
    monkeypatch.setattr(_commit, "awake", lambda: 0.0, raising=False)
    bucket = Bucket(["snapshots/1"], ["snapshots/1"])
    made, _opened = commit(bucket)
    assert made.run(KEYS) == [] and len(bucket.asked) == 5


def test_the_lease_fits_the_number_of_objects() -> None:
    assert lease_for(10) == 300.0
    assert lease_for(100_000) > 500.0
