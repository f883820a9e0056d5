# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The S3 client and the probe of a lock."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2 import s3_transfers as _s3_transfers
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.prepared_deletes import PreparedDelete
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import COPY, S3, S3Error
from urllib3.connection import HTTPConnection

from tests.stand_in.client import StandIn
from tests.support.repositories import Bed
from tests.support.running import Ansible
from tests.support.scripted_api import Answer, ScriptedApi


@pytest.fixture
def bed(shared_stand_in: StandIn, ansible: Ansible, tmp_path: Path) -> Iterator[Bed]:
    found = Bed(shared_stand_in, ansible, "restic", tmp_path)
    found.s3.call("put_object", Key="data/a", Body=b"content")
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
        s3.call("put_object", Key=f"many/{number}", Body=b"x" * number)
    original = s3.client.list_objects_v2
    monkeypatch.setattr(s3.client, "list_objects_v2", lambda **arguments: original(**{"MaxKeys": 2, **arguments}))
    assert [(item.key, item.size) for item in s3.list("many/")] == [(f"many/{n}", n) for n in range(5)]
    assert s3.first_key("many/") == "many/0"
    assert s3.first_key("none/") is None
    head, listed = s3.head("many/3"), s3.list("many/3")[0]
    assert head is not None
    assert (head.key, head.size, head.etag) == (listed.key, listed.size, listed.etag)
    assert head.last_modified == listed.last_modified.replace(microsecond=0)
    assert s3.head("many/9") is None


STRANGE_KEYS = ("a\x01b", "a+b c", "a%2Fb", "a&<b>", "ä/日本", "a\nb")


def test_unfinished_uploads_are_told_whatever_their_keys_hold(bed: Bed) -> None:
    for key in (*STRANGE_KEYS, *(f"web1/{key}" for key in STRANGE_KEYS)):
        # The answer repeats the key, and may be no XML: the upload has begun.
        with suppress(S3Error):
            bed.s3.call("create_multipart_upload", "UploadId", Key=key)
    assert bed.s3.uploads("web1/") == tuple(sorted(f"web1/{key}" for key in STRANGE_KEYS))


def test_keys_of_uploads_are_taken_as_they_are_where_a_service_does_not_encode_them(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = bed.s3
    s3.call("create_multipart_upload", "UploadId", Key="a%2Fb+c")
    ask = s3.client.list_multipart_uploads
    monkeypatch.setattr(s3.client, "list_multipart_uploads", lambda EncodingType, **rest: ask(**rest))
    assert s3.uploads() == ("a%2Fb+c",)


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


def test_a_wrong_clock_is_called_that(bed: Bed) -> None:
    bed.stand_in.fault(kind="ListObjectsV2", status=403, code="RequestTimeTooSkewed", times=9)
    with pytest.raises(S3Error, match="the clock of this machine is wrong"):
        bed.s3.first_key("config")


def test_the_configuration_of_the_node_for_aws_does_not_count(
    bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(
        "[default]\ns3 =\n  use_accelerate_endpoint = true\n  addressing_style = virtual\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    stand_in = bed.stand_in
    s3 = S3(stand_in.s3_endpoint, stand_in.token_id, stand_in.secret_access_key, bucket=bed.bucket)
    assert s3.first_key("data/") == "data/a"


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


def put(bed: Bed, *keys: str) -> list[str]:
    for key in keys:
        bed.s3.call("put_object", Key=key, Body=b"x")
    return list(keys)


def test_many_are_deleted_with_one_request_and_what_a_lock_holds_is_told(bed: Bed) -> None:
    keys = put(bed, "index/a", "free/b&<c>", "free/d")
    bed.lock()
    bed.stand_in.clear_log()
    s3 = bed.s3
    refused = s3.delete_many([*keys, "free/none"])
    assert list(refused) == ["index/a"] and refused["index/a"].locked
    assert bed.stand_in.objects(bed.bucket) == ["data/a", "index/a"]
    assert [one["kind"] for one in bed.stand_in.requests()] == ["DeleteObjects"]
    assert s3.delete_many([]) == {}


def test_a_rehearsed_delete_asks_nobody_and_the_next_one_deletes(bed: Bed) -> None:
    keys = put(bed, "rehearsed", "free/b")
    s3 = bed.s3
    bed.stand_in.clear_log()
    s3.rehearse_delete()
    assert not bed.stand_in.requests() and "rehearsed" in bed.stand_in.objects(bed.bucket)
    assert s3.delete_many(keys) == {}
    assert not {*keys} & {*bed.stand_in.objects(bed.bucket)}


def prepared(s3: S3, keys: list[str]) -> PreparedDelete:
    found = s3.prepared_delete(keys)
    assert found
    found.start()
    return found


def test_prepared_deletes_are_sent_in_their_turn_by_one_connection(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [put(bed, f"{part}/a", f"{part}/b") for part in ("free", "other", "third")]
    connected: list[object] = []
    connect = HTTPConnection.connect
    monkeypatch.setattr(HTTPConnection, "connect", lambda self: (connected.append(self), connect(self)))
    s3 = bed.s3
    s3.list()
    bed.stand_in.clear_log()
    requests = [prepared(s3, keys) for keys in parts]
    assert not bed.stand_in.requests()
    for number, (keys, request) in enumerate(zip(parts, requests), 1):
        assert s3.delete_many(keys, request) == {}
        assert len(bed.stand_in.requests()) == number
        assert not {*keys} & {*bed.stand_in.objects(bed.bucket)}
    assert len(connected) == 1


def test_a_prepared_delete_that_is_withdrawn_is_not_sent(bed: Bed) -> None:
    keys = put(bed, "free/a", "free/b")
    s3 = bed.s3
    bed.stand_in.clear_log()
    prepared(s3, keys).withdraw()
    assert not bed.stand_in.requests()
    assert s3.delete_many(keys) == {}


def test_a_prepared_delete_that_is_not_understood_becomes_single_ones_and_no_other_is_sent(bed: Bed) -> None:
    parts = [put(bed, "free/a", "free/b"), put(bed, "other/a", "other/b")]
    bed.stand_in.fault(kind="DeleteObjects", path=bed.bucket, times=0, status=501, code="NotImplemented")
    s3 = bed.s3
    requests = [prepared(s3, keys) for keys in parts]
    bed.stand_in.clear_log()
    for keys, request in zip(parts, requests):
        assert s3.delete_many(keys, request) == {}
        request.withdraw()
    assert [one["kind"] for one in bed.stand_in.requests()].count("DeleteObjects") == 1
    assert bed.stand_in.objects(bed.bucket) == ["data/a"]
    assert s3.prepared_delete(parts[0]) is None


def test_a_prepared_delete_is_tried_again_as_others_are(bed: Bed) -> None:
    keys = put(bed, "free/a")
    stand_in = bed.stand_in
    s3 = S3(stand_in.s3_endpoint, stand_in.token_id, stand_in.secret_access_key, bucket=bed.bucket, attempts=2)
    request = prepared(s3, keys)
    stand_in.fault(kind="DeleteObjects", path=bed.bucket, status=500)
    assert s3.delete_many(keys, request) == {}


def test_a_thousand_go_with_a_request(bed: Bed) -> None:
    s3 = bed.s3
    bed.stand_in.clear_log()
    assert s3.delete_many(f"free/{number}" for number in range(2001)) == {}
    assert [one["kind"] for one in bed.stand_in.requests()] == ["DeleteObjects"] * 3


def test_requests_after_the_first_are_several_at_a_time(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_s3_transfers, "_DELETED_AT_ONCE", 1)
    keys = put(bed, *(f"free/{number}" for number in range(10)))
    started: list[str] = []
    together = threading.Barrier(4, timeout=60)
    s3 = bed.s3

    def delete(batch: list[str]) -> dict[str, S3Error]:
        started.extend(batch)
        if len(started) > 1 and batch[0] < "free/9":
            together.wait()
        return S3.delete_batch(s3, batch)

    monkeypatch.setattr(s3, "delete_batch", delete)
    assert s3.delete_many(keys) == {}
    assert started[0] == keys[0] and sorted(started) == keys
    assert bed.stand_in.objects(bed.bucket) == ["data/a"]


@pytest.mark.parametrize("refusal", ["key", "request"])
def test_after_a_request_that_was_refused_for_all_the_rest_is_not_tried(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    monkeypatch.setattr(_s3_transfers, "_DELETED_AT_ONCE", 2)
    keys = put(bed, "data/b", "data/c", "data/d")
    bed.stand_in.settings(multi_delete_refusal=refusal)
    try:
        bed.lock()
        s3 = bed.s3
        bed.stand_in.clear_log()
        refused = s3.delete_many(keys)
        assert list(refused) == keys and all(error.locked for error in refused.values())
        assert len(bed.stand_in.requests()) == 1 and s3.multi_delete
    finally:
        bed.stand_in.settings(multi_delete_refusal="key")
    assert bed.stand_in.objects(bed.bucket) == ["data/a", *keys]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 501, "code": "NotImplemented"},
        {"status": 400, "code": "InvalidRequest"},
        {"status": 200, "body": "<html>Log in first</html>"},
        {"status": 200, "body": "Log in first"},
        {"status": 200, "body": ""},
    ],
)
def test_where_many_cannot_be_deleted_at_once_each_is_by_itself(bed: Bed, fault: dict[str, Any]) -> None:
    keys = put(bed, *(f"free/{number}" for number in range(20)))
    bed.lock()
    bed.stand_in.fault(kind="DeleteObjects", path=bed.bucket, times=0, **fault)
    s3 = bed.s3
    bed.stand_in.clear_log()
    for _time in range(2):
        refused = s3.delete_many(["data/a", *keys])
        assert list(refused) == ["data/a"] and refused["data/a"].locked
        assert bed.stand_in.objects(bed.bucket) == ["data/a"]
    # it is asked once, not again in the same window
    assert [one["kind"] for one in bed.stand_in.requests()].count("DeleteObjects") == 1
    assert [one["kind"] for one in bed.stand_in.requests()].count("DeleteObject") == 42


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"status": 403, "code": "AccessDenied"}, "AccessDenied"),
        ({"status": 409, "code": "OperationAborted"}, "OperationAborted"),
        ({"status": 500}, "InternalError"),
        ({"cut": "before"}, ""),
    ],
)
def test_a_failure_of_the_whole_request_is_one_of_each_object(bed: Bed, fault: dict[str, Any], code: str) -> None:
    keys = put(bed, "free/a", "free/b")
    bed.stand_in.fault(kind="DeleteObjects", path=bed.bucket, **fault)
    s3 = bed.s3
    refused = s3.delete_many(keys)
    assert {key: error.code for key, error in refused.items()} == dict.fromkeys(keys, code)
    assert s3.delete_many(keys) == {}


def test_an_object_that_the_answer_does_not_name_was_not_deleted(bed: Bed) -> None:
    one = "<Deleted><Key>free/a</Key></Deleted><Error><Key>free/b</Key><Code>InternalError</Code></Error>"
    body = f"<DeleteResult>{one}</DeleteResult>"
    bed.stand_in.fault(kind="DeleteObjects", path=bed.bucket, status=200, body=body)
    refused = bed.s3.delete_many(["free/a", "free/b", "free/c"])
    assert {key: error.code for key, error in refused.items()} == {"free/b": "InternalError", "free/c": ""}


def test_the_digest_of_a_multi_delete_is_one_that_every_service_knows(bed: Bed) -> None:
    sent: dict[str, str] = {}
    s3 = bed.s3
    s3.client.meta.events.register(
        "before-send.s3.DeleteObjects", lambda request, **_more: sent.update(request.headers)
    )
    assert s3.delete_many(["free/a"]) == {}
    names = {name.lower() for name in sent}
    assert "content-md5" in names
    assert not {name for name in names if "checksum" in name}


def test_an_object_is_read_as_it_was_listed_or_not_at_all(bed: Bed) -> None:
    s3 = bed.s3
    item = s3.list("data/a")[0]
    for first, last, expected in ((None, None, b"content"), (0, 0, b"c"), (2, 4, b"nte"), (3, None, b"tent")):
        length, chunks = s3.stream(item, first, last)
        assert (length, b"".join(chunks)) == (len(expected), expected)
    s3.call("put_object", Key="data/a", Body=b"tnetnoc")
    for span in ((), (2, 4)):
        with pytest.raises(S3Error) as caught:
            s3.stream(item, *span)
        assert caught.value.status == 412


def store(s3: S3, key: str, body: bytes) -> str:
    return s3.put_new(key, io.BytesIO(body), len(body), hashlib.md5(body).hexdigest())


@pytest.mark.parametrize("locked", [True, False])
def test_a_file_is_stored_only_where_nothing_is(bed: Bed, locked: bool) -> None:
    if locked:
        bed.lock()
    body = os.urandom(3 << 20)
    etag = store(bed.s3, "data/big", body)
    assert bed.s3.get("data/big") == body and bed.s3.list("data/big")[0].etag == etag
    # once more, as after an answer that was lost
    assert store(bed.s3, "data/big", body) == etag
    for other in (body[:-1], bytes(len(body))):
        with pytest.raises(S3Error) as caught:
            store(bed.s3, "data/big", other)
        assert caught.value.status == 412
    assert bed.s3.get("data/big") == body
