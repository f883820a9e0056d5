# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""r2_bucket_lifecycle: keeps foreign rules, and never one that deletes what is locked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.examples import run_examples
from tests.stand_in.client import StandIn
from tests.support.repositories import Bed
from tests.support.running import Ansible

FOREIGN = {
    "ID": "foreign",
    "Status": "Enabled",
    "Filter": {"Prefix": "logs/"},
    "Expiration": {"Days": 3},
}


class Lifecycle(Bed):
    def __call__(self, *, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        return self.ansible.module("r2_bucket_lifecycle", check_mode=check_mode, **{**self.account, **arguments})

    def ids(self) -> list[str]:
        return sorted(rule["ID"] for rule in self.s3.lifecycle_rules())


@pytest.fixture
def bucket(shared_stand_in: StandIn, ansible: Ansible, tmp_path: Path) -> Lifecycle:
    return Lifecycle(shared_stand_in, ansible, "restic", tmp_path)


@pytest.mark.long
def test_check_do_check_do(bucket: Lifecycle) -> None:
    bucket.s3.replace_lifecycle_rules([FOREIGN])
    bucket.lock()
    arguments = {"abort_multipart_days": 2, "rules": [{"id": "reports", "prefix": "reports/", "expire_days": 30}]}
    foreseen = bucket(check_mode=True, **arguments)
    assert foreseen["changed"] is True
    assert bucket.ids() == ["foreign"]

    done = bucket(**arguments)
    assert done["changed"] is True
    assert done["diff"] == foreseen["diff"]
    assert [rule["ID"] for rule in done["diff"]["before"]["rules"]] == ["foreign"]
    assert bucket.ids() == ["foreign", "holdfast/abort-multipart", "reports"]
    assert FOREIGN in bucket.s3.lifecycle_rules()

    start = bucket.stand_in.last_request()
    for check_mode in (True, False):
        again = bucket(check_mode=check_mode, **arguments)
        assert again["changed"] is False
        assert again["rules"] == done["rules"]
    assert {item["method"] for item in bucket.stand_in.requests(start) if item["bucket"] == bucket.bucket} == {"GET"}

    assert bucket(abort_multipart_days=5)["changed"] is True
    assert bucket.ids() == ["foreign", "holdfast/abort-multipart", "reports"]
    assert bucket(abort_multipart_days=5, purge=True)["changed"] is True
    assert bucket.ids() == ["holdfast/abort-multipart"]


@pytest.mark.parametrize("prefix", ["", "d", "data/", "data/00/", "config", "keys/"])
def test_a_rule_that_deletes_what_is_locked_is_refused(bucket: Lifecycle, prefix: str) -> None:
    bucket.lock()
    before = bucket.ids()
    answer = bucket(rules=[{"id": "mine", "prefix": prefix, "expire_days": 1}])
    assert answer["failed"] is True and "would delete objects below" in answer["msg"]
    assert bucket.ids() == before


def test_what_will_be_locked_counts_too(bucket: Lifecycle) -> None:
    rule = {"id": "mine", "prefix": "web1/data/", "expire_days": 1}
    assert "would delete" in bucket(repository="web1", rules=[rule])["msg"]
    assert "would delete" in bucket(api_token=None, repository="web1", rules=[rule], **pair(bucket))["msg"]
    assert bucket(repository="web2/", rules=[rule])["changed"] is True


def test_a_foreign_rule_that_deletes_what_is_locked_is_refused_until_purged(bucket: Lifecycle) -> None:
    bucket.lock()
    bucket.s3.replace_lifecycle_rules([{**FOREIGN, "Filter": {"Prefix": "snap"}}])
    for check_mode in (True, False):
        answer = bucket(check_mode=check_mode)
        assert "'foreign'" in answer["msg"] and "purge" in answer["msg"]
    assert bucket.ids() == ["foreign"]
    assert bucket(purge=True)["changed"] is True
    assert bucket.ids() == ["holdfast/abort-multipart"]


def test_what_others_have_locked_is_their_concern(bucket: Lifecycle) -> None:
    theirs = {"id": "logs", "enabled": True, "prefix": "logs/", "condition": {"type": "Age", "maxAgeSeconds": 86400}}
    bucket.cloudflare.replace_lock_rules(bucket.bucket, [theirs, {**theirs, "id": "media", "prefix": "media/"}])
    bucket.s3.replace_lifecycle_rules([{**FOREIGN, "Filter": {"Prefix": "logs/"}}])
    assert bucket(repository="web1/")["changed"] is True
    assert bucket.ids() == ["foreign", "holdfast/abort-multipart"]


def test_without_a_look_at_the_locks_nothing_that_deletes_is_set(bucket: Lifecycle) -> None:
    blind = {"api_token": None, **pair(bucket)}
    rule = {"id": "mine", "prefix": "reports/", "expire_days": 1}
    assert "is unknown" in bucket(rules=[rule], **blind)["msg"]
    assert bucket(**blind)["changed"] is True
    bucket.s3.replace_lifecycle_rules([FOREIGN])
    answer = bucket(**blind)
    assert answer["changed"] is True and "was not looked at" in str(answer["warnings"])


def test_no_call_of_the_api_when_nothing_deletes(bucket: Lifecycle) -> None:
    start = bucket.stand_in.last_request()
    bucket(**pair(bucket))
    assert not [item for item in bucket.stand_in.requests(start) if item["kind"] == "rest"]


@pytest.mark.sample(of="examples")
def test_examples(stand_in: StandIn, ansible: Ansible, tmp_path: Path) -> None:
    made = Lifecycle(stand_in, ansible, "restic", tmp_path, bucket="backup-web1")
    made.lock()
    run = run_examples(ansible, stand_in, "r2_bucket_lifecycle")
    assert run.exit_code == 0, run.output
    assert made.ids() == ["holdfast/abort-multipart", "reports"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"abort_multipart_days": 0}, "abort_multipart_days is 0"),
        ({"rules": [{"id": "a", "prefix": "x", "expire_days": -1}]}, "it must be a number of days"),
        ({"rules": [{"id": "a", "prefix": "x", "expire_days": 1}] * 2}, "more than once"),
        ({"rules": [{"id": "holdfast/abort-multipart", "prefix": "x", "expire_days": 1}]}, "reserved"),
        ({"rules": [{"id": "", "prefix": "x", "expire_days": 1}]}, "1 to 255 characters"),
        ({"bucket": "no-such-bucket"}, "there is no such bucket"),
        ({"bucket": "X"}, "is not a bucket name"),
    ],
)
def test_bad_input_is_one_sentence(bucket: Lifecycle, arguments: dict[str, Any], sentence: str) -> None:
    answer = bucket(**arguments)
    assert answer["failed"] is True and sentence in answer["msg"], answer
    assert "Traceback" not in str(answer)


def pair(bucket: Bed) -> dict[str, str]:
    return {"access_key_id": bucket.stand_in.token_id, "secret_access_key": bucket.stand_in.secret_access_key}
