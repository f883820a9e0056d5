# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What comes into the bucket while it is maintained: what an owned host plants harms nothing, what it backs up is kept."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.integration.test_audit import genuine_index, master, plant
from tests.support.maintenance import PREFIX, Site
from tests.support.repository_format import header_size, name_of

# Requests of maintenance, in the order in which they come.
MOMENTS: dict[str, dict[str, Any]] = {
    # After the one that probes the lock.
    "while restic prunes": {"kind": "PutObject", "path": "/index/", "agent": "holdfast", "skip": 1},
    "before all is judged again": {"kind": "PutObject", "path": "/locks/", "agent": "holdfast"},
    "while the window opens": {"method": "PUT", "path": "/lock$"},
    "inside the window": {"kind": "DeleteObjects"},
}


@contextmanager
def at(site: Site, moment: str, work: Callable[[], Any], delay: float = 4.0) -> Iterator[None]:
    """Do the work when the request comes, which waits meanwhile."""
    stand_in = site.bed.stand_in
    wanted = MOMENTS[moment]
    stand_in.fault(delay=delay, times=1, **wanted)
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            await_request(site, moment)
            work()
        except BaseException as error:  # noqa: BLE001 - the test fails with it
            failures.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        thread.join(timeout=180)
    assert not failures and not thread.is_alive(), failures


def await_request(site: Site, moment: str) -> None:
    wanted = {name: value for name, value in MOMENTS[moment].items() if name not in ("agent", "skip")}
    since = 0
    for _time in range(MOMENTS[moment].get("skip", 0) + 1):
        since = site.bed.stand_in.wait_for_request(timeout=100, since=since, arrived=True, **wanted)["n"]


def twins_of(site: Site) -> dict[str, bytes]:
    """Names that restic takes for those of genuine objects, with as many bytes."""
    found = {}
    for item in site.bed.s3.list(PREFIX):
        folder, _slash, name = item.key.removeprefix(PREFIX).rpartition("/")
        if folder.startswith(("data", "index", "snapshots")):
            for key in (
                f"{folder}/{name.upper()}",
                f"{folder}/x/{name}",
                f"{folder}//{name}",
                f"{folder}/{name}/{name}",
            ):
                found[key] = os.urandom(item.size)
    return found


@pytest.mark.parametrize("moment", MOMENTS)
def test_twins_of_genuine_objects_harm_nothing(site: Site, moment: str) -> None:
    planted = twins_of(site)

    def attack() -> None:
        for key, content in planted.items():
            site.add(key, content)

    with at(site, moment, attack):
        result = site.prune()
    destroyed = {entry["key"].removeprefix(PREFIX) for entry in site.destroyed()}
    assert destroyed.isdisjoint(planted)
    if result.get("failed"):
        assert {one["code"] for one in result["findings"]} >= {"misplaced_object"}
        assert destroyed == set() and site.exposed() == []
    # What was planted comes to light in any case, before anything else is deleted.
    assert "misplaced_object" in {one["code"] for one in site.prune()["findings"]}
    assert_whole(site, planted)


def assert_whole(site: Site, planted: Any) -> None:
    """Without what was planted, the newest snapshot is there, and all of its data."""
    site.bed.unlock()
    for key in planted:
        site.bed.s3.delete(PREFIX + key)
    site.bed.lock()
    site.bed.restic.succeed(["check", "--read-data"])
    assert site.ids[-1] in site.snapshots()


@pytest.mark.parametrize("moment", MOMENTS)
def test_index_that_claims_genuine_data_for_a_twin_harms_nothing(site: Site, moment: str) -> None:
    planted: list[str] = []
    genuine = genuine_index(site)

    def attack() -> None:
        for pack in genuine:
            twin = os.urandom(sum(blob["length"] for blob in pack["blobs"]) + header_size(pack["blobs"]))
            name = hashlib.sha256(twin).hexdigest()
            planted.append(f"data/{name[:2]}/{name}")
            site.add(planted[-1], twin)
            planted.append(plant(site, {"packs": [{"id": name, "blobs": pack["blobs"]}]}).removeprefix(PREFIX))

    with at(site, moment, attack, delay=8.0):
        result = site.prune()
    destroyed = {entry["key"].removeprefix(PREFIX) for entry in site.destroyed()}
    assert destroyed.isdisjoint(planted)
    if result.get("failed"):
        assert {one["code"] for one in result["findings"]} >= {"bogus_pack"} and destroyed == set()
    assert "bogus_pack" in {one["code"] for one in site.prune()["findings"]}
    assert_whole(site, planted)


# --- Backups of an honest host -----------------------------------------------------------------------------------------


def back_up(site: Site) -> str:
    """As a job does on a host, which tries again while the repository is locked."""
    return site.bed.backup(site.files, "--retry-lock=5m", "--no-cache")


def test_backup_is_not_delayed_while_maintenance_prepares(site: Site) -> None:
    """However long restic prunes: here until the backup has ended."""
    stand_in = site.bed.stand_in
    # The view's uploads fail, and restic repeats them, until the backup has ended.
    stand_in.fault(**MOMENTS["while restic prunes"], status=503, code="SlowDown", times=0)
    made: list[str] = []

    def backup() -> None:
        try:
            await_request(site, "while restic prunes")
            made.append(back_up(site))
        finally:
            stand_in.clear_faults()

    thread = threading.Thread(target=backup)
    thread.start()
    result = site.prune()
    thread.join(timeout=180)
    assert "failed" not in result, result["msg"]
    assert made and set(site.snapshots()) == {site.ids[-1], made[0]}
    stored = [one["n"] for one in stand_in.requests() if made[0] in one["path"] and one["kind"] == "PutObject"]
    opened = [one["n"] for one in stand_in.requests() if one["method"] == "PUT" and one["path"].endswith("/lock")]
    assert stored[0] < opened[0]
    site.bed.restic.succeed(["check", "--read-data"])
    # It was judged as far as was needed; now it is as any other.
    assert "failed" not in site.prune() and site.snapshots() == made


@pytest.mark.parametrize("moment", list(MOMENTS)[1:])
def test_backup_that_begins_at_any_other_moment_succeeds(site: Site, moment: str) -> None:
    made: list[str] = []
    with at(site, moment, lambda: made.append(back_up(site))):
        result = site.prune(lock_wait=120)
    assert "failed" not in result, result["msg"]
    assert made and set(site.snapshots()) == {site.ids[-1], made[0]}
    site.bed.restic.succeed(["check", "--read-data"])
    assert "failed" not in site.prune() and site.snapshots() == made


def test_packs_of_a_backup_that_goes_on_are_not_taken_for_left_behind(site: Site) -> None:
    orphan = f"data/ab/ab{'0' * 62}"
    site.add(orphan, b"a pack that no index names yet")
    now = datetime.now(timezone.utc).isoformat()
    document = {
        "time": now,
        "exclusive": False,
        "hostname": "elsewhere",
        "username": "root",
        "pid": 1,
        "uid": 0,
        "gid": 0,
    }
    content = master(site.bed.restic).seal_json(document)
    lock = f"locks/{name_of(content)}"
    site.add(lock, content)
    with at(site, "while restic prunes", lambda: site.bed.s3.delete(PREFIX + lock)):
        result = site.prune()
    assert "failed" not in result and result["removed"], result
    assert PREFIX + orphan in site.packs()
    assert site.prune()["packs_removed"] == 1 and PREFIX + orphan not in site.packs()


def test_backup_that_needs_what_was_to_go_is_not_broken(site: Site) -> None:
    """A file that only the snapshots have which go comes back: then everything is prepared again."""
    site.bed.restic.succeed(["restore", f"{site.ids[0]}:{site.files}", f"--target={site.files}"])
    made: list[str] = []
    with at(site, "while restic prunes", lambda: made.append(back_up(site)), delay=15.0):
        result = site.prune(lock_wait=120)
    assert "failed" not in result, json.dumps(result)
    site.bed.restic.succeed(["check", "--read-data"])
    assert made[0] in site.snapshots()
