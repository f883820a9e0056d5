# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in's S3 side, as boto3 sees it: signatures, rights, lock rules, conditions, what is missing."""

from __future__ import annotations

import hashlib
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Callable, Optional
from urllib.error import HTTPError

import pytest
from botocore.exceptions import ClientError

from tests.stand_in.client import StandIn
from tests.stand_in.others import cloudflare_client, code_of, new_bucket, rule, s3_client, set_rules

NUMBERS = count()
LOCKED = ("ObjectLockedByBucketPolicy", 409)


@pytest.fixture(name="bucket")
def fixture_bucket(shared_stand_in: StandIn) -> str:
    """A bucket of the test's own, with data/old held by a rule and free/old not."""
    name = new_bucket(shared_stand_in, f"s3-{next(NUMBERS)}", "data/")
    s3_client(shared_stand_in).put_object(Bucket=name, Key="free/old", Body=b"old")
    return name


@pytest.fixture(name="s3")
def fixture_s3(shared_stand_in: StandIn) -> Any:
    """A client with all rights."""
    return s3_client(shared_stand_in)


def refused(call: Callable[..., Any], **values: Any) -> tuple[str, int]:
    """The error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(**values)
    return code_of(caught.value)


def multipart(s3: Any, bucket: str, key: str, body: bytes = b"part") -> tuple[str, dict[str, Any]]:
    """Begin a multipart upload of one part; what its completion needs."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=body)
    return upload, {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}


# --- signatures and rights ---


def test_wrong_secret_is_refused(shared_stand_in: StandIn, bucket: str) -> None:
    wrong = {"access_key_id": shared_stand_in.access_key_id, "secret_access_key": "0" * 64}
    client = s3_client(shared_stand_in, wrong)
    assert refused(client.list_objects_v2, Bucket=bucket) == ("SignatureDoesNotMatch", 403)
    assert refused(client.put_object, Bucket=bucket, Key="new", Body=b"x") == ("SignatureDoesNotMatch", 403)
    assert "new" not in shared_stand_in.objects(bucket)


def test_unknown_key_is_refused(shared_stand_in: StandIn, bucket: str) -> None:
    client = s3_client(shared_stand_in, {"access_key_id": "0" * 32, "secret_access_key": "0" * 64})
    assert refused(client.list_objects_v2, Bucket=bucket) == ("Unauthorized", 401)


@pytest.mark.parametrize("region", ["auto", "us-east-1"])
def test_regions_that_r2_knows(shared_stand_in: StandIn, bucket: str, region: str) -> None:
    assert s3_client(shared_stand_in, region=region).list_objects_v2(Bucket=bucket)["KeyCount"] == 2


def test_other_regions_are_refused(shared_stand_in: StandIn, bucket: str) -> None:
    assert refused(s3_client(shared_stand_in, region="eu-west-1").list_objects_v2, Bucket=bucket)[1] == 400


@pytest.mark.parametrize("calculation", ["when_supported", "when_required"])
@pytest.mark.parametrize(
    "key", ["plain", "with blank", "plus+percent%25", "ünïcode/ø", "a//b", "q?x=1&y", "tilde~*()'!"]
)
def test_every_key_and_body_comes_back(shared_stand_in: StandIn, bucket: str, key: str, calculation: str) -> None:
    client = s3_client(shared_stand_in, request_checksum_calculation=calculation)
    body = key.encode() * 1000
    client.put_object(Bucket=bucket, Key=key, Body=body)
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == body
    assert key in [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]]
    client.delete_object(Bucket=bucket, Key=key)
    assert key not in shared_stand_in.objects(bucket)


def test_tampered_requests_are_refused(shared_stand_in: StandIn, bucket: str, s3: Any) -> None:
    def tamper(request: Any, **_more: Any) -> None:
        request.url = request.url.replace("free/new", "free/old")

    s3.meta.events.register("before-send.s3.PutObject", tamper)
    assert refused(s3.put_object, Bucket=bucket, Key="free/new", Body=b"x") == ("SignatureDoesNotMatch", 403)


def test_body_must_be_what_was_signed(shared_stand_in: StandIn, bucket: str) -> None:
    client = s3_client(shared_stand_in, request_checksum_calculation="when_required")

    def tamper(request: Any, **_more: Any) -> None:
        request.body = b"evil"

    client.meta.events.register("before-send.s3.PutObject", tamper)
    code, _status = refused(client.put_object, Bucket=bucket, Key="free/new", Body=b"good")
    assert code in ("SignatureDoesNotMatch", "BadDigest")
    assert "free/new" not in shared_stand_in.objects(bucket)


def test_presigned_urls_work_until_they_expire(shared_stand_in: StandIn, bucket: str, s3: Any) -> None:
    values = {"Bucket": bucket, "Key": "data/old"}
    url = s3.generate_presigned_url("get_object", Params=values, ExpiresIn=60)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"old"
    for spoiled in (
        url.replace("data/old", "free/old"),
        s3.generate_presigned_url("get_object", Params=values, ExpiresIn=-5),
    ):
        with pytest.raises(HTTPError):
            urllib.request.urlopen(spoiled)


def test_unsigned_requests_are_refused(shared_stand_in: StandIn, bucket: str) -> None:
    with pytest.raises(HTTPError):
        urllib.request.urlopen(f"{shared_stand_in.url}/{bucket}/data/old")


def test_key_of_one_bucket_reaches_only_that(shared_stand_in: StandIn, bucket: str) -> None:
    other = new_bucket(shared_stand_in, f"{bucket}-other", "data/")
    client = s3_client(shared_stand_in, shared_stand_in.create_token("host", bucket))
    client.put_object(Bucket=bucket, Key="free/new", Body=b"x")
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 3
    denied = ("AccessDenied", 403)
    assert refused(client.list_objects_v2, Bucket=other) == denied
    assert refused(client.put_object, Bucket=other, Key="new", Body=b"x") == denied
    source = {"Bucket": other, "Key": "data/old"}
    assert refused(client.copy_object, Bucket=bucket, Key="stolen", CopySource=source) == denied
    assert refused(client.get_bucket_lifecycle_configuration, Bucket=bucket) == denied
    assert (
        refused(client.put_bucket_lifecycle_configuration, Bucket=bucket, LifecycleConfiguration={"Rules": []})
        == denied
    )
    assert refused(client.delete_bucket, Bucket=bucket) == denied
    assert refused(client.create_bucket, Bucket="another") == denied
    assert refused(client.list_buckets) == denied


def test_key_that_may_only_read(shared_stand_in: StandIn, bucket: str) -> None:
    for scope in (bucket, None):
        client = s3_client(shared_stand_in, shared_stand_in.create_token("reader", scope, write=False))
        assert client.get_object(Bucket=bucket, Key="data/old")["Body"].read() == b"old"
        assert refused(client.put_object, Bucket=bucket, Key="new", Body=b"x") == ("AccessDenied", 403)
        assert refused(client.delete_object, Bucket=bucket, Key="free/old") == ("AccessDenied", 403)


def test_keys_end_with_their_token(shared_stand_in: StandIn, bucket: str) -> None:
    api: Any = cloudflare_client(shared_stand_in).accounts.tokens
    account = {"account_id": shared_stand_in.account_id}

    def works(token: dict[str, str]) -> Optional[str]:
        try:
            s3_client(shared_stand_in, token).head_object(Bucket=bucket, Key="data/old")
        except ClientError as error:
            return str(code_of(error)[1])
        return None

    rolled, disabled, expired, deleted = (shared_stand_in.create_token(f"token {n}", bucket) for n in range(4))
    assert [works(token) for token in (rolled, disabled, expired, deleted)] == [None] * 4
    value = api.value.update(rolled["id"], **account)
    for token, change in ((disabled, {"status": "disabled"}), (expired, {"expires_on": "2020-01-01T00:00:00Z"})):
        policies = [policy.to_dict() for policy in api.get(token["id"], **account).policies]
        api.update(token["id"], name="changed", policies=policies, extra_body=change, **account)
    api.delete(deleted["id"], **account)
    assert [works(token) for token in (rolled, disabled, expired, deleted)] == ["403", "401", "401", "401"]
    fresh = {"access_key_id": rolled["id"], "secret_access_key": hashlib.sha256(value.encode()).hexdigest()}
    assert works(fresh) is None


# --- lock rules ---


def test_locked_objects_withstand_everything(shared_stand_in: StandIn, bucket: str, s3: Any) -> None:
    target = {"Bucket": bucket, "Key": "data/old"}
    assert refused(s3.put_object, Body=b"old", **target) == LOCKED
    assert refused(s3.put_object, Body=b"new", **target) == LOCKED
    assert refused(s3.delete_object, **target) == LOCKED
    assert refused(s3.copy_object, CopySource={"Bucket": bucket, "Key": "free/old"}, **target) == LOCKED
    assert refused(s3.copy_object, CopySource=target, MetadataDirective="REPLACE", **target) == LOCKED
    upload, parts = multipart(s3, bucket, "data/old")
    assert refused(s3.complete_multipart_upload, UploadId=upload, MultipartUpload=parts, **target) == LOCKED
    assert refused(s3.abort_multipart_upload, UploadId=upload, **target) == LOCKED
    assert s3.get_object(**target)["Body"].read() == b"old"


def test_multi_delete_refuses_each_locked_key(shared_stand_in: StandIn, bucket: str, s3: Any) -> None:
    keys = [{"Key": key} for key in ("data/old", "free/old", "data/missing")]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("data/old", LOCKED[0])]
    assert [entry["Key"] for entry in answer["Deleted"]] == ["free/old", "data/missing"]
    assert shared_stand_in.objects(bucket) == ["data/old"]


def test_multi_delete_may_refuse_as_a_whole(stand_in: StandIn) -> None:
    bucket = new_bucket(stand_in, "whole", "data/")
    stand_in.settings(multi_delete_refusal="request", refusal_status=403)
    s3 = s3_client(stand_in)
    s3.put_object(Bucket=bucket, Key="free", Body=b"x")
    keys = [{"Key": key} for key in ("free", "data/old")]
    assert refused(s3.delete_objects, Bucket=bucket, Delete={"Objects": keys}) == (LOCKED[0], 403)
    assert refused(s3.delete_object, Bucket=bucket, Key="data/old") == (LOCKED[0], 403)
    assert stand_in.objects(bucket) == ["data/old", "free"]


def test_new_keys_are_never_refused_and_then_held(shared_stand_in: StandIn, bucket: str, s3: Any) -> None:
    s3.put_object(Bucket=bucket, Key="data/new", Body=b"1", IfNoneMatch="*")
    upload, parts = multipart(s3, bucket, "data/multi")
    s3.complete_multipart_upload(Bucket=bucket, Key="data/multi", UploadId=upload, MultipartUpload=parts)
    s3.copy_object(Bucket=bucket, Key="data/copy", CopySource={"Bucket": bucket, "Key": "free/old"})
    for key in ("data/new", "data/multi", "data/copy"):
        assert refused(s3.delete_object, Bucket=bucket, Key=key) == LOCKED
    s3.delete_object(Bucket=bucket, Key="data/missing")


def test_lock_is_checked_before_conditions(shared_stand_in: StandIn, bucket: str, s3: Any) -> None:
    failed = ("PreconditionFailed", 412)
    for key, wanted in (("data/old", LOCKED), ("free/old", failed)):
        assert refused(s3.put_object, Bucket=bucket, Key=key, Body=b"x", IfMatch='"0"') == wanted
        assert refused(s3.put_object, Bucket=bucket, Key=key, Body=b"x", IfNoneMatch="*") == wanted
    etag = s3.head_object(Bucket=bucket, Key="free/old")["ETag"]
    s3.put_object(Bucket=bucket, Key="free/old", Body=b"new", IfMatch=etag)
    assert refused(s3.put_object, Bucket=bucket, Key="free/old", Body=b"x", IfMatch=etag) == failed
    assert refused(s3.put_object, Bucket=bucket, Key="missing", Body=b"x", IfMatch=etag) == failed
    assert "missing" not in shared_stand_in.objects(bucket)


def test_rules_are_plain_prefixes_and_can_be_disabled(shared_stand_in: StandIn, bucket: str, s3: Any) -> None:
    set_rules(shared_stand_in, bucket, rule("data/", enabled=False), rule("fre"))
    assert refused(s3.delete_object, Bucket=bucket, Key="free/old") == LOCKED
    s3.delete_object(Bucket=bucket, Key="data/old")
    set_rules(shared_stand_in, bucket)
    s3.delete_object(Bucket=bucket, Key="free/old")
    assert shared_stand_in.objects(bucket) == []


def test_age_and_date_end_protection(shared_stand_in: StandIn, bucket: str, s3: Any) -> None:
    s3.put_object(Bucket=bucket, Key="aged/young", Body=b"x")
    s3.put_object(Bucket=bucket, Key="aged/old", Body=b"x")
    set_rules(
        shared_stand_in,
        bucket,
        rule("aged/", type="Age", maxAgeSeconds=3600),
        rule("data/", type="Date", date="2020-01-01T00:00:00Z"),
        rule("free/", type="Date", date="2999-01-01T00:00:00Z"),
    )
    shared_stand_in.set_upload_time(bucket, "aged/old", "2020-01-01T00:00:00Z")
    s3.delete_object(Bucket=bucket, Key="aged/old")
    s3.delete_object(Bucket=bucket, Key="data/old")
    assert refused(s3.delete_object, Bucket=bucket, Key="aged/young") == LOCKED
    assert refused(s3.delete_object, Bucket=bucket, Key="free/old") == LOCKED


def test_full_bucket_is_not_deleted(shared_stand_in: StandIn, bucket: str, s3: Any) -> None:
    assert refused(s3.delete_bucket, Bucket=bucket) == ("BucketNotEmpty", 409)


# --- the rest of S3 ---


MISSING: dict[str, dict[str, Any]] = {
    "get_object_lock_configuration": {},
    "put_object_lock_configuration": {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}},
    "get_object_retention": {"Key": "data/old"},
    "put_object_legal_hold": {"Key": "data/old", "LegalHold": {"Status": "OFF"}},
    "put_object_tagging": {"Key": "data/old", "Tagging": {"TagSet": []}},
    "get_bucket_versioning": {},
    "put_bucket_versioning": {"VersioningConfiguration": {"Status": "Enabled"}},
    "list_object_versions": {},
    "put_bucket_policy": {"Policy": "{}"},
    "put_bucket_acl": {"ACL": "public-read"},
    "put_object_acl": {"Key": "data/old", "ACL": "public-read"},
    "get_public_access_block": {},
    "get_bucket_replication": {},
}


@pytest.mark.parametrize("operation", sorted(MISSING))
def test_what_r2_does_not_have(s3: Any, bucket: str, operation: str) -> None:
    assert refused(getattr(s3, operation), Bucket=bucket, **MISSING[operation]) == ("NotImplemented", 501)


@pytest.mark.parametrize(
    "header",
    [
        {"ACL": "public-read"},
        {"Tagging": "a=b"},
        {"ServerSideEncryption": "aws:kms"},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": "2999-01-01"},
    ],
    ids=lambda header: next(iter(header)),
)
def test_headers_that_r2_does_not_have(s3: Any, bucket: str, header: dict[str, str]) -> None:
    assert refused(s3.put_object, Bucket=bucket, Key="new", Body=b"x", **header) == ("NotImplemented", 501)


def test_governance_is_not_bypassed(s3: Any, bucket: str) -> None:
    code = refused(s3.delete_object, Bucket=bucket, Key="data/old", BypassGovernanceRetention=True)
    assert code == ("NotImplemented", 501)


def test_listing_goes_by_pages(s3: Any, bucket: str) -> None:
    keys = [f"many/{number:02}/x" for number in range(25)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    pages = list(
        s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="many/", PaginationConfig={"PageSize": 10})
    )
    assert [len(page["Contents"]) for page in pages] == [10, 10, 5]
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == keys
    folders = list(
        s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2})
    )
    assert [entry["Prefix"] for page in folders for entry in page["CommonPrefixes"]] == ["data/", "free/", "many/"]
    after = s3.list_objects_v2(Bucket=bucket, Prefix="many/", StartAfter=keys[22])
    assert [entry["Key"] for entry in after["Contents"]] == keys[23:]
    assert [entry["Key"] for entry in s3.list_objects(Bucket=bucket, Prefix="many/")["Contents"]] == keys


def test_parts_must_be_of_equal_size(s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    parts = []
    for number, size in enumerate((6_000_000, 5_500_000, 10), start=1):
        etag = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=number, Body=b"x" * size)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    done = {"Bucket": bucket, "Key": "m", "UploadId": upload, "MultipartUpload": {"Parts": parts}}
    assert refused(s3.complete_multipart_upload, **done) == ("InvalidPart", 400)


def test_missing_buckets_and_keys(s3: Any, bucket: str) -> None:
    assert refused(s3.list_objects_v2, Bucket="no-such-bucket") == ("NoSuchBucket", 404)
    assert refused(s3.put_object, Bucket="no-such-bucket", Key="x", Body=b"x") == ("NoSuchBucket", 404)
    assert refused(s3.get_object, Bucket=bucket, Key="missing") == ("NoSuchKey", 404)
    assert refused(s3.create_bucket, Bucket=bucket)[1] == 409


def test_many_connections_at_once(shared_stand_in: StandIn, bucket: str) -> None:
    client = s3_client(shared_stand_in, max_pool_connections=40)
    with ThreadPoolExecutor(40) as pool:
        list(pool.map(lambda number: client.put_object(Bucket=bucket, Key=f"p/{number}", Body=b"x"), range(200)))
    assert len([key for key in shared_stand_in.objects(bucket) if key.startswith("p/")]) == 200
