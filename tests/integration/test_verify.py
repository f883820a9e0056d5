# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restic_verify: one thing after the other is made wrong with a repository, and each is told."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import open_window

from tests.stand_in.client import StandIn
from tests.support.repositories import Bed, sample
from tests.support.running import Ansible


@pytest.fixture(name="bed")
def fixture_bed(stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path) -> Bed:
    bed = Bed(stand_in, ansible, restic_path, tmp_path)
    bed.initialise()
    assert "failed" not in bed.repository()
    bed.lock()
    return bed


def verify(bed: Bed, **arguments: Any) -> dict[str, Any]:
    options = {"record_dir": str(bed.record_dir), "access_key_id": bed.stand_in.token_id, **arguments}
    return bed.module("restic_verify", **options)


def test_everything_that_can_be_wrong_is_told(bed: Bed, tmp_path: Path) -> None:
    assert verify(bed)["findings"] == ["There is no snapshot."]
    bed.backup(sample(tmp_path / "files"))

    since = bed.stand_in.last_request()
    well = verify(bed)
    assert (well["findings"], well["snapshots"], well["window"], well["public"]) == ([], 1, None, False)
    calls = [one for one in bed.stand_in.requests(since) if one["kind"] == "rest"]
    assert [one["method"] for one in calls] == ["GET", "GET"], calls

    # Two at once: one finding hides no other.
    bed.cloudflare.set_public_access(bed.bucket, True)
    (key,) = (key for key in bed.stand_in.objects(bed.bucket) if key.startswith("snapshots/"))
    bed.stand_in.set_upload_time(bed.bucket, key, "2026-01-01T00:00:00Z")
    public, old = verify(bed)["findings"]
    assert "The bucket is public" in public
    assert "hours ago, more than 26" in old
    bed.cloudflare.set_public_access(bed.bucket, False)

    wrong = verify(bed, max_age=10**6, password="wrong")
    assert len(wrong["findings"]) == 1 and wrong["snapshots"] is None and wrong["prefixes"]


def test_what_is_unlocked_is_told(bed: Bed, tmp_path: Path) -> None:
    bed.backup(sample(tmp_path / "files"))
    lease = datetime.now(timezone.utc) + timedelta(minutes=5)
    rules = open_window(lock_set(""), "", ("data", "index"), lease=lease, holder="0123456789abcdef")
    bed.cloudflare.replace_lock_rules(bed.bucket, rules)
    found = verify(bed)
    assert found["window"]["state"] == "live"
    assert "Unlocked: data, index, lease 20" in found["findings"][0]
    assert "data/ open" in found["findings"][1]

    bed.cloudflare.replace_lock_rules(bed.bucket, lock_set("")[:-1])
    rules_finding = [text for text in verify(bed)["findings"] if "The lock rules are not" in text]
    assert len(rules_finding) == 1


def test_a_rule_of_others_over_the_data_is_told_and_so_is_a_bucket_without_rules(bed: Bed, tmp_path: Path) -> None:
    bed.backup(sample(tmp_path / "files"))
    foreign = {"id": "theirs", "enabled": True, "condition": {"type": "Indefinite"}, "prefix": "data/"}
    bed.cloudflare.replace_lock_rules(bed.bucket, [*lock_set(""), foreign])
    (finding,) = verify(bed)["findings"]
    assert "'theirs'" in finding and "everything below 'data/'" in finding
    bed.unlock()
    assert (
        verify(bed)["findings"][0]
        == "There are no lock rules for this repository, so that nothing holds it; run the site playbook."
    )


def test_bucket_that_is_not_there_is_a_failure(bed: Bed) -> None:
    failed = verify(bed, bucket="backup-nobody")
    assert failed["failed"] and "backup-nobody" in failed["msg"]
