# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The S3 client and the probe of a lock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._s3 import COPY, S3, S3Error

from tests.stand_in.client import StandIn
from tests.support.repositories import Bed
from tests.support.running import Ansible
from tests.support.scripted_api import Answer, ScriptedApi


@pytest.fixture
def bed(shared_stand_in: StandIn, ansible: Ansible, tmp_path: Path) -> Iterator[Bed]:
    found = Bed(shared_stand_in, ansible, "restic", tmp_path)
    found.s3._call("put_object", Key="data/a", Body=b"content")
    yield found
    shared_stand_in.clear_faults()
    shared_stand_in.settings(refusal_status=409)


@pytest.mark.parametrize("status", [403, 409])
def test_the_probe_tells_a_lock_and_changes_nothing(bed: Bed, status: int) -> None:
    bed.stand_in.settings(refusal_status=status)
    s3 = bed.s3
    before = s3.list()
    assert s3.probe("data/a") == "open"
    bed.lock()
    assert s3.probe("data/a") == "locked"
    assert s3.probe("data/b") == "missing"
    assert s3.list() == before
    assert s3.get("data/a") == b"content"
    assert not bed.stand_in.ledger()["destructive"] or all(
        item["bucket"] != bed.bucket for item in bed.stand_in.ledger()["destructive"]
    )


def test_a_missing_key_may_also_be_answered_by_404(bed: Bed) -> None:
    bed.stand_in.fault(method="PUT", path=f"/{bed.bucket}/data/b", status=404, code="NoSuchKey")
    assert bed.s3.probe("data/b") == "missing"


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (409, "OperationAborted"), (400, "BadDigest")])
def test_any_other_answer_to_the_probe_is_no_answer(bed: Bed, status: int, code: str) -> None:
    bed.stand_in.fault(method="PUT", path=f"/{bed.bucket}/data/a", status=status, code=code)
    with pytest.raises(S3Error) as caught:
        bed.s3.probe("data/a")
    assert (caught.value.status, caught.value.code) == (status, code)


def test_the_second_way_agrees_and_changes_nothing_either(bed: Bed) -> None:
    before = bed.s3.list()
    assert bed.s3.probe("data/b", method=COPY) == "missing"
    assert bed.s3.probe("data/a", method=COPY) == "open"
    bed.lock()
    assert bed.s3.probe("data/a", method=COPY) == "locked"
    assert bed.s3.list() == before and bed.s3.get("data/a") == b"content"


def test_listing_goes_over_pages_and_stays_below_the_prefix(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = bed.s3
    for number in range(5):
        s3._call("put_object", Key=f"many/{number}", Body=b"x" * number)
    original = s3._client.list_objects_v2
    monkeypatch.setattr(s3._client, "list_objects_v2", lambda **arguments: original(**{"MaxKeys": 2, **arguments}))
    assert [(item.key, item.size) for item in s3.list("many/")] == [(f"many/{n}", n) for n in range(5)]
    assert s3.first_key("many/") == "many/0"
    assert s3.first_key("none/") is None
    head, listed = s3.head("many/3"), s3.list("many/3")[0]
    assert head is not None
    assert (head.key, head.size, head.etag) == (listed.key, listed.size, listed.etag)
    assert head.last_modified == listed.last_modified.replace(microsecond=0)
    assert s3.head("many/9") is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bucket": "no-such-bucket"}, "there is no such bucket in this account and jurisdiction"),
        ({"secret": "0" * 64}, "the S3 keys are not accepted"),
        ({"access_key_id": "0" * 32}, "the S3 keys are not accepted"),
        ({"endpoint": "http://127.0.0.1:9"}, "could not be reached at http://127.0.0.1:9"),
    ],
)
def test_errors_are_one_sentence(bed: Bed, change: dict[str, Any], sentence: str) -> None:
    stand_in = bed.stand_in
    arguments = {
        "endpoint": stand_in.s3_endpoint,
        "access_key_id": stand_in.token_id,
        "secret": stand_in.secret_access_key,
        "bucket": bed.bucket,
        "attempts": 1,
    }
    with pytest.raises(S3Error) as caught:
        S3(**{**arguments, **change}).list()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert stand_in.secret_access_key not in str(caught.value)


def test_a_passing_failure_is_tried_again(bed: Bed) -> None:
    bed.stand_in.fault(method="GET", path=f"/{bed.bucket}", status=503, code="ServiceUnavailable", times=2)
    stand_in = bed.stand_in
    patient = S3(stand_in.s3_endpoint, stand_in.token_id, stand_in.secret_access_key, bucket=bed.bucket)
    assert patient.first_key("") == "data/a"


@pytest.mark.parametrize(
    "page", ["<html>Log in first</html>", "", "<a><Contents><LastModified>x</LastModified></Contents></a>"]
)
def test_the_page_of_a_proxy_is_no_empty_bucket(page: str) -> None:
    with ScriptedApi(*[Answer(page)] * 3) as api:
        s3 = S3(api.url.removesuffix("/client/v4"), "id", "secret", bucket="bucket", attempts=1)
        calls = (s3.list, lambda: s3.first_key("data/"), lambda: s3.put_if("x", b""))
        for call in calls:
            with pytest.raises(S3Error, match="something else than the S3 API does"):
                call()
