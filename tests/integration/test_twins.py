# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What comes into the bucket while it is maintained: what an owned host plants harms nothing, what it backs up is kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.integration.test_audit import genuine_index, master, plant
from tests.integration.test_fence import Fenced
from tests.support import moments
from tests.support.maintenance import PREFIX, LockedRepository
from tests.support.repository_format import header_size, name_of

LOCK = {"method": "PUT", "path": "/lock$"}
# Requests of maintenance, in the order in which they come. Before the audit, nothing has to wait.
MOMENTS: dict[str, dict[str, Any]] = {
    "before the audit": {},
    "in the audit": {"kind": "GetObject", "path": "/snapshots/"},
    # After the one that probes the lock.
    "while restic prunes": {"kind": "PutObject", "path": "/index/", "skip": 1},
    "between the listing and the fence": LOCK,
    # From here on, backups are kept out, by restic's lock as well.
    "before all is judged again": {"kind": "PutObject", "path": "/locks/"},
    "while the window opens": LOCK,
    "inside the window": {"kind": "DeleteObjects"},
    "before the packs are deleted": {"kind": "DeleteObjects", "skip": 2},
    "while the window closes": {**LOCK, "skip": 1},
}
OF_THE_FENCE = "between the listing and the fence"


def moment(name: str, behind_fence: bool) -> dict[str, Any]:
    """The request; the first write of the lock document puts the fence up, where there is one."""
    wanted = MOMENTS[name]
    later = behind_fence and wanted.get("path") == LOCK["path"] and name != OF_THE_FENCE
    return {**wanted, "skip": wanted.get("skip", 0) + later}


def at(
    site: LockedRepository, name: str, work: Callable[[], Any], behind_fence: bool = False
) -> AbstractContextManager[None]:
    return moments.at(site.bed.stand_in, moment(name, behind_fence), work)


def cases(usual: str) -> list[Any]:
    """Each moment, with a fence and without; all but one are for `make proof`."""
    found = [(name, fence) for name in MOMENTS for fence in (True, False) if fence or name != OF_THE_FENCE]
    return [
        pytest.param(
            name,
            fence,
            id=f"{name.replace(' ', '-')}-{'fence' if fence else 'none'}",
            marks=[] if fence and name == usual else pytest.mark.proof,
        )
        for name, fence in found
    ]


def twins_of(site: LockedRepository) -> dict[str, bytes]:
    """Names that restic, or something on the way to it, takes for those of genuine objects, with as many bytes."""
    found: dict[str, bytes] = {}
    seen: set[str] = set()
    for item in site.bed.s3.list(PREFIX):
        folder, _slash, name = item.key.removeprefix(PREFIX).rpartition("/")
        top = folder.partition("/")[0]
        keys = [f"{folder}/{name.upper()}", f"{folder}/x/{name}", f"{folder}//{name}", f"{folder}/{name}/{name}"]
        if top not in seen:
            keys += [
                f"{folder}/{name}/",
                f"{folder}/%2F{name}",
                f"{folder}\\{name}",
                f"{folder}/{name}\n",
            ]
            keys += [f"{top}/x{name}", f"{top}/{name[1:3]}/{name}"]
        if top in ("data", "index", "snapshots"):
            seen.add(top)
            found.update((key, os.urandom(item.size)) for key in keys)
    there = set(site.bed.keys())
    return {key: content for key, content in found.items() if PREFIX + key not in there}


EARLY = list(MOMENTS)[: list(MOMENTS).index("while the window opens")]


def attacked(
    site: LockedRepository, name: str, fence: bool, planted: Collection[str], attack: Callable[[], None], code: str
) -> None:
    """Maintain the repository, while that happens: nothing that was planted is deleted, or taken for something genuine.

    Also behind a fence, the attack's keys work: for a while, R2 may take those of a token that was disabled.
    """
    if fence:
        Fenced(site)
    if MOMENTS[name]:
        with at(site, name, attack, fence):
            result = site.prune()
    else:
        attack()
        result = site.prune()
    assert planted
    destroyed = {entry["key"].removeprefix(PREFIX) for entry in site.destroyed()}
    assert destroyed.isdisjoint(planted)
    assert not fence or name in EARLY[:3] or result["fences"][0]["tokens"], result
    if name in EARLY:
        # It came to light in time.
        assert result["failed"] and destroyed == set() and site.exposed() == [], result
    if result.get("failed"):
        assert code in {one["code"] for one in result["findings"]}, result
    # In any case it does so before anything else is deleted.
    site.bed.stand_in.clear_log()
    assert code in {one["code"] for one in site.prune()["findings"]} and site.destroyed() == []
    assert_whole(site, planted)


def assert_whole(site: LockedRepository, planted: Collection[str]) -> None:
    """Without what was planted, the newest snapshot is there, and all of its data."""
    site.bed.unlock()
    for key in planted:
        site.bed.s3.delete(PREFIX + key)
    site.bed.lock()
    site.bed.restic.succeed(["check", "--read-data"])
    assert site.ids[-1] in site.snapshots()


@pytest.mark.sample
@pytest.mark.parametrize(("name", "fence"), cases("before all is judged again"))
def test_twins_of_genuine_objects_harm_nothing(site: LockedRepository, name: str, fence: bool) -> None:
    planted = twins_of(site)

    def attack() -> None:
        for key, content in planted.items():
            site.add(key, content)

    attacked(site, name, fence, planted, attack, "misplaced_object")


@pytest.mark.sample
@pytest.mark.parametrize(("name", "fence"), cases("while the window opens"))
def test_index_that_claims_genuine_data_for_a_twin_harms_nothing(
    site: LockedRepository, name: str, fence: bool
) -> None:
    planted: list[str] = []
    genuine = genuine_index(site)

    def attack() -> None:
        for pack in genuine:
            twin = os.urandom(sum(blob["length"] for blob in pack["blobs"]) + header_size(pack["blobs"]))
            key = hashlib.sha256(twin).hexdigest()
            planted.append(f"data/{key[:2]}/{key}")
            site.add(planted[-1], twin)
            planted.append(plant(site, {"packs": [{"id": key, "blobs": pack["blobs"]}]}).removeprefix(PREFIX))

    attacked(site, name, fence, planted, attack, "bogus_pack")


# --- Backups of an honest host -----------------------------------------------------------------------------------------


def back_up(site: LockedRepository) -> str:
    """As a job does on a host, which tries again while the repository is locked."""
    return site.bed.backup(site.files, "--retry-lock=5m", "--no-cache")


@pytest.mark.long
def test_backup_is_not_delayed_while_maintenance_prepares(site: LockedRepository) -> None:
    """However long restic prunes: here until the backup has ended."""
    stand_in = site.bed.stand_in
    made: list[str] = []
    with at(site, "while restic prunes", lambda: made.append(back_up(site))):
        result = site.prune()
    assert "failed" not in result, result["msg"]
    assert made and set(site.snapshots()) == {site.ids[-1], made[0]}
    stored = [one["n"] for one in stand_in.requests() if made[0] in one["path"] and one["kind"] == "PutObject"]
    opened = [one["n"] for one in stand_in.requests() if one["method"] == "PUT" and one["path"].endswith("/lock")]
    assert stored[0] < opened[0]
    site.bed.restic.succeed(["check", "--read-data"])
    # It was judged as far as was needed; now it is as any other.
    assert "failed" not in site.prune() and site.snapshots() == made


@pytest.mark.long
def test_backup_that_begins_in_the_window_succeeds(site: LockedRepository) -> None:
    """At every other request of maintenance, see tests/matrix/test_backup.py."""
    with ThreadPoolExecutor() as pool:
        backup: list[Future[str]] = []

        def begin() -> None:
            since = site.bed.stand_in.last_request()
            backup.append(pool.submit(back_up, site))
            # It has found restic's lock.
            moments.await_request(
                site.bed.stand_in, since=since, kind="GetObject", path="/locks/", agent="^(?!holdfast)"
            )

        with at(site, "inside the window", begin):
            result = site.prune()
        made = backup[0].result(timeout=300)
    assert "failed" not in result, result["msg"]
    assert set(site.snapshots()) == {site.ids[-1], made}
    site.bed.restic.succeed(["check", "--read-data"])
    assert "failed" not in site.prune() and site.snapshots() == [made]


@pytest.mark.long
def test_packs_of_a_backup_that_goes_on_are_not_taken_for_left_behind(site: LockedRepository) -> None:
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


@pytest.mark.long
def test_backup_that_needs_what_was_to_go_is_not_broken(site: LockedRepository) -> None:
    """A file that only the snapshots have which go comes back: then everything is prepared again."""
    site.bed.restic.succeed(["restore", f"{site.ids[0]}:{site.files}", f"--target={site.files}"])
    made: list[str] = []
    with at(site, "while restic prunes", lambda: made.append(back_up(site))):
        result = site.prune(lock_wait=120)
    assert "failed" not in result, json.dumps(result)
    site.bed.restic.succeed(["check", "--read-data"])
    assert made[0] in site.snapshots()
