# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests do to the stand-in: late locks, latency, faults, its log, its ledger, its end and its return."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError, ReadTimeoutError
from cloudflare import APIConnectionError, APIStatusError

from tests.stand_in.client import StandIn
from tests.stand_in.fixtures import HURRIED
from tests.stand_in.ledger import gaps
from tests.stand_in.locks import Enforcement
from tests.stand_in.others import cloudflare_client, code_of, new_bucket, rule, s3_client, set_rules


def held(s3: Any, bucket: str, key: str) -> bool:
    """Whether a lock rule is in force, without changing anything."""
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key=key, Body=b"", IfMatch='"0"')
    return code_of(caught.value)[0] == "ObjectLockedByBucketPolicy"


def seconds_until(wanted: bool, s3: Any, bucket: str, key: str, begin: float) -> float:
    """How long after that moment a lock is in force, or is not."""
    while held(s3, bucket, key) is not wanted:
        assert time.monotonic() - begin < 60
    return time.monotonic() - begin


# --- late locks and the exposure ledger ---


def test_lock_changes_take_effect_late(stand_in: StandIn) -> None:
    s3, bucket = s3_client(stand_in), new_bucket(stand_in, "late", "data/")
    stand_in.settings(lock_delay=1.5, unlock_delay=0.8)
    begin = time.monotonic()
    set_rules(stand_in, bucket, rule("data/", enabled=False))
    assert seconds_until(False, s3, bucket, "data/old", begin) > 0.7
    begin = time.monotonic()
    set_rules(stand_in, bucket, rule("data/"))
    assert seconds_until(True, s3, bucket, "data/old", begin) > 1.4
    (exposure,) = stand_in.ledger()["exposures"]
    assert exposure["to"] is not None
    assert exposure["seconds"] > 1.4


def answer(stand_in: StandIn, token: dict[str, str], bucket: str) -> str:
    """What a listing with the keys of a token comes to."""
    try:
        s3_client(stand_in, token).list_objects_v2(Bucket=bucket)
    except ClientError as error:
        return code_of(error)[0]
    return "ok"


def test_changes_of_tokens_take_effect_late(stand_in: StandIn) -> None:
    bucket, tokens = new_bucket(stand_in, "late"), cloudflare_client(stand_in).accounts.tokens
    account, day = {"account_id": stand_in.account_id}, 1000.0
    stand_in.settings(token_delay=100.0, max_skew=10**6)
    token = stand_in.create_token("web1", bucket)
    found = tokens.get(token["id"], **account)
    seen = [answer(stand_in, token, bucket)]
    for change in ("none", "disable", "enable", "roll", "remove"):
        if change in ("disable", "enable"):
            status = "disabled" if change == "disable" else "active"
            tokens.update(token["id"], **account, name=found.name, policies=found.policies, status=status)
        elif change == "roll":
            tokens.value.update(token["id"], **account)
        elif change == "remove":
            tokens.delete(token["id"], **account)
        before = answer(stand_in, token, bucket)
        stand_in.settings(clock_offset=day)
        day += 1000.0
        seen += [f"{change}: {before}", answer(stand_in, token, bucket)]
    assert seen == [
        "Unauthorized", "none: Unauthorized", "ok", "disable: ok", "Unauthorized", "enable: Unauthorized", "ok",
        "roll: ok", "SignatureDoesNotMatch", "remove: SignatureDoesNotMatch", "Unauthorized",
    ]  # fmt: skip


def test_ledger_tells_what_was_open_and_what_was_destroyed(stand_in: StandIn) -> None:
    s3, bucket = s3_client(stand_in), new_bucket(stand_in, "ledger", "data/", "index/")
    s3.put_object(Bucket=bucket, Key="locks/1", Body=b"x")
    assert stand_in.ledger() == {"exposures": [], "destructive": []}
    with pytest.raises(ClientError):
        s3.delete_object(Bucket=bucket, Key="data/old")
    set_rules(stand_in, bucket, rule("data/", enabled=False), rule("index/"))
    s3.delete_object(Bucket=bucket, Key="data/old")
    s3.delete_object(Bucket=bucket, Key="data/old")  # there is nothing left to destroy
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "locks/1"}, {"Key": "index/old"}]})
    (exposure,) = stand_in.ledger()["exposures"]
    assert (exposure["prefix"], exposure["to"]) == ("data/", None)
    set_rules(stand_in, bucket, rule("data/"), rule("index/"))
    ledger = stand_in.ledger()
    (exposure,) = ledger["exposures"]
    assert exposure["to"] - exposure["from"] == pytest.approx(exposure["seconds"])
    seen = [(entry["key"], entry["operation"], entry["key_id"]) for entry in ledger["destructive"]]
    assert seen == [("data/old", "DeleteObject", stand_in.token_id), ("locks/1", "DeleteObjects", stand_in.token_id)]
    stand_in.clear_log()
    assert stand_in.ledger() == {"exposures": [], "destructive": []}


def test_overwriting_is_destructive_and_creating_is_not(stand_in: StandIn) -> None:
    s3, bucket = s3_client(stand_in), new_bucket(stand_in, "overwrite", "data/")
    stand_in.settings(**HURRIED)
    s3.put_object(Bucket=bucket, Key="x", Body=b"1")
    s3.put_object(Bucket=bucket, Key="x", Body=b"2")
    s3.copy_object(Bucket=bucket, Key="x", CopySource={"Bucket": bucket, "Key": "data/old"})
    seen = [(entry["key"], entry["operation"]) for entry in stand_in.ledger()["destructive"]]
    assert seen == [("x", "PutObject"), ("x", "CopyObject")]


def test_gaps_between_rules_in_force() -> None:
    forever: dict[str, Any] = {"type": "Indefinite"}
    first, second = Enforcement("data/", forever, 10, 20), Enforcement("data/", forever, 25)
    whole = Enforcement("", forever, 18, 22)
    assert gaps("data/", [first, second], 30) == [(20, 25)]
    assert gaps("data/", [first, second, whole], 30) == [(22, 25)]
    assert gaps("data/", [first, second], 23) == [(20, None)]
    assert gaps("data/", [first], 15) == []
    assert gaps("other/", [first, second], 30) == []
    dated = Enforcement("data/", {"type": "Date", "date": "1970-01-01T00:00:15Z"}, 10)
    assert gaps("data/", [dated], 30) == [(15, None)]


# --- latency, faults, the log ---


def test_latency_is_borne_by_each_and_together(stand_in: StandIn) -> None:
    client, bucket = s3_client(stand_in, max_pool_connections=20), new_bucket(stand_in, "slow", "data/")
    stand_in.settings(latency=0.5)
    begin = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _n: client.head_object(Bucket=bucket, Key="data/old"), range(20)))
    assert 0.5 <= time.monotonic() - begin < 10  # one after the other they would take that


def test_a_key_is_written_once_in_a_while_where_that_is_limited(stand_in: StandIn) -> None:
    s3, bucket = s3_client(stand_in), new_bucket(stand_in, "often", "data/")
    stand_in.settings(write_seconds=600.0)
    s3.put_object(Bucket=bucket, Key="turn", Body=b"1")
    s3.put_object(Bucket=bucket, Key="other", Body=b"1")
    s3.delete_object(Bucket=bucket, Key="turn")
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="turn", Body=b"2")
    assert code_of(caught.value) == ("TooManyRequests", 429)
    # Refused by something else, a write is none; and the locks come first.
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="other", Body=b"", IfMatch='"0"')
    assert code_of(caught.value)[0] == "PreconditionFailed"
    assert held(s3, bucket, "data/old")
    stand_in.settings(write_seconds=0.0)
    s3.put_object(Bucket=bucket, Key="turn", Body=b"2")


def test_fault_answers_instead_of_doing(stand_in: StandIn) -> None:
    s3, bucket = s3_client(stand_in), new_bucket(stand_in, "fault")
    stand_in.fault(method="PUT", path=f"^/{bucket}/x", status=503, skip=1, times=2)
    statuses = []
    for number in range(4):
        try:
            s3.put_object(Bucket=bucket, Key=f"x{number}", Body=b"x")
            statuses.append(("", 200))
        except ClientError as error:
            statuses.append(code_of(error))
    failed = ("ServiceUnavailable", 503)
    assert statuses == [("", 200), failed, failed, ("", 200)]
    assert stand_in.objects(bucket) == ["x0", "x3"]


def test_fault_of_the_api(stand_in: StandIn) -> None:
    bucket = new_bucket(stand_in, "api-fault", "data/")
    stand_in.fault(method="PUT", path="/lock$", status=429, retry_after=7)
    stand_in.fault(method="GET", path="/lock$", status=502, body="<html>Bad gateway</html>", times=0)
    with pytest.raises(APIStatusError) as caught:
        set_rules(stand_in, bucket)
    assert (caught.value.status_code, caught.value.response.headers["retry-after"]) == (429, "7")
    for _each in range(3):
        with pytest.raises(APIStatusError) as caught:
            cloudflare_client(stand_in).r2.buckets.locks.get(bucket, account_id=stand_in.account_id)
        assert caught.value.response.text == "<html>Bad gateway</html>"
    stand_in.clear_faults()
    set_rules(stand_in, bucket)
    assert stand_in.rules(bucket) == []


def test_an_answer_can_be_cut_halfway(stand_in: StandIn) -> None:
    bucket = new_bucket(stand_in, "half")
    s3 = s3_client(stand_in)
    s3.put_object(Bucket=bucket, Key="big", Body=b"x" * 100_000)
    stand_in.fault(kind="GetObject", cut="half")
    with pytest.raises(BotoCoreError):
        s3.get_object(Bucket=bucket, Key="big")["Body"].read()
    assert len(s3.get_object(Bucket=bucket, Key="big")["Body"].read()) == 100_000


@pytest.mark.parametrize(("cut", "rules"), [("before", 1), ("after", 0)])
def test_cut_connections(stand_in: StandIn, cut: str, rules: int) -> None:
    bucket = new_bucket(stand_in, "cut", "data/")
    stand_in.fault(method="PUT", path="/lock$", cut=cut)
    with pytest.raises(APIConnectionError):
        set_rules(stand_in, bucket)
    assert len(stand_in.rules(bucket)) == rules
    stand_in.fault(kind="PutObject", cut=cut)
    with pytest.raises(ConnectionClosedError):
        s3_client(stand_in).put_object(Bucket=bucket, Key="new", Body=b"x")
    assert stand_in.objects(bucket) == (["data/old"] if cut == "before" else ["data/old", "new"])
    assert stand_in.requests()[-1]["status"] == 0


def test_error_after_the_change(stand_in: StandIn) -> None:
    s3, bucket = s3_client(stand_in), new_bucket(stand_in, "applied")
    stand_in.fault(kind="PutObject", status=500, applied=True)
    with pytest.raises(ClientError):
        s3.put_object(Bucket=bucket, Key="x", Body=b"x")
    assert stand_in.objects(bucket) == ["x"]


def test_delayed_request_holds_nobody_else_up(stand_in: StandIn) -> None:
    bucket = new_bucket(stand_in, "delay", "data/")
    hasty = s3_client(stand_in, read_timeout=0.5)
    stand_in.fault(kind="PutObject", delay=5)
    number = stand_in.last_request()
    with pytest.raises(ReadTimeoutError):
        hasty.put_object(Bucket=bucket, Key="x", Body=b"x")
    s3_client(stand_in).head_object(Bucket=bucket, Key="data/old")
    assert stand_in.objects(bucket) == ["data/old"]
    stand_in.wait_for_request(kind="PutObject", since=number)
    assert stand_in.objects(bucket) == ["data/old", "x"]


def test_log_tells_who_asked_for_what(stand_in: StandIn) -> None:
    bucket = new_bucket(stand_in, "log", "data/")
    number = stand_in.last_request()
    token = stand_in.create_token("host", bucket)
    client = s3_client(stand_in, token)
    client.get_object(Bucket=bucket, Key="data/old")
    with pytest.raises(ClientError):
        client.delete_object(Bucket=bucket, Key="data/old")
    cloudflare_client(stand_in).r2.buckets.locks.get(bucket, account_id=stand_in.account_id)
    seen = [
        (entry["kind"], entry["status"], entry["key_id"], entry["bucket"], entry["key"])
        for entry in stand_in.requests(since=number)
    ]
    assert seen == [
        ("GetObject", 200, token["id"], bucket, "data/old"),
        ("DeleteObject", 409, token["id"], bucket, "data/old"),
        ("rest", 200, stand_in.token_id, bucket, None),
    ]
    with pytest.raises(TimeoutError):
        stand_in.wait_for_request(0.2, kind="CopyObject")


def test_request_is_seen_before_it_is_answered(stand_in: StandIn) -> None:
    bucket = new_bucket(stand_in, "arrival", "data/")
    stand_in.fault(kind="DeleteObject", delay=3)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(s3_client(stand_in).delete_object, Bucket=bucket, Key="x")
        assert stand_in.wait_for_request(kind="DeleteObject", arrived=True)["status"] is None
        assert stand_in.wait_for_request(kind="DeleteObject")["status"] == 204


def test_unknown_settings_and_faults_are_refused(stand_in: StandIn) -> None:
    for call in (stand_in.settings, stand_in.fault):
        with pytest.raises(ValueError, match="colour"):
            call(colour="red")


def test_clock_of_the_server_is_its_own(stand_in: StandIn) -> None:
    bucket = new_bucket(stand_in, "clock")
    stand_in.settings(clock_offset=7200, max_skew=10**6)
    s3 = s3_client(stand_in)
    answer = s3.put_object(Bucket=bucket, Key="x", Body=b"x")
    stored = s3.head_object(Bucket=bucket, Key="x")["LastModified"].timestamp()
    assert 7100 < stored - time.time() < 7300
    assert answer["ResponseMetadata"]["HTTPHeaders"]["date"]
    set_rules(stand_in, bucket, rule("x", type="Age", maxAgeSeconds=3600))
    assert held(s3, bucket, "x")
    stand_in.settings(clock_offset=7200 + 3601)
    assert not held(s3, bucket, "x")


def test_requests_that_are_signed_long_ago_are_refused(stand_in: StandIn) -> None:
    bucket = new_bucket(stand_in, "skew", "data/")
    stand_in.settings(clock_offset=3600)
    with pytest.raises(ClientError) as caught:
        s3_client(stand_in).get_object(Bucket=bucket, Key="data/old")
    assert code_of(caught.value) == ("RequestTimeTooSkewed", 403)


# --- its end and its return ---


def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    with StandIn.start(tmp_path / "data") as stand_in:
        s3, bucket = s3_client(stand_in), new_bucket(stand_in, "kept", "data/")
        token = stand_in.create_token("host", bucket)
        s3.put_object(Bucket=bucket, Key="data/ü", Body=b"\n\0body", ContentType="text/x", Metadata={"a": "b"})
        s3.put_object(Bucket=bucket, Key="gone", Body=b"x")
        s3.delete_object(Bucket=bucket, Key="gone")
        upload = s3.create_multipart_upload(Bucket=bucket, Key="multi")["UploadId"]
        part = s3.upload_part(Bucket=bucket, Key="multi", UploadId=upload, PartNumber=1, Body=b"part")
        before = s3.head_object(Bucket=bucket, Key="data/ü")
        set_rules(stand_in, bucket, rule("data/", enabled=False))
        set_rules(stand_in, bucket, rule("data/"))
        ledger = stand_in.ledger()
        stand_in.kill()
    with StandIn.start(tmp_path / "data") as again:
        assert (again.account_id, again.api_token) == (stand_in.account_id, stand_in.api_token)
        s3 = s3_client(again, token)
        after = s3.head_object(Bucket=bucket, Key="data/ü")
        for name in ("ETag", "LastModified", "ContentType", "ContentLength", "Metadata"):
            assert after[name] == before[name]
        assert s3.get_object(Bucket=bucket, Key="data/ü")["Body"].read() == b"\n\0body"
        assert again.rules(bucket) == [rule("data/")]
        assert held(s3, bucket, "data/ü")
        assert again.ledger() == ledger
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        s3.complete_multipart_upload(Bucket=bucket, Key="multi", UploadId=upload, MultipartUpload=parts)
        assert again.objects(bucket) == ["data/old", "data/ü", "multi"]


def test_deleted_buckets_and_tokens_stay_deleted(tmp_path: Path) -> None:
    with StandIn.start(tmp_path / "data") as stand_in:
        api: Any = cloudflare_client(stand_in)
        bucket = new_bucket(stand_in, "short-lived")
        token = stand_in.create_token("short-lived")
        api.r2.buckets.delete(bucket, account_id=stand_in.account_id)
        api.accounts.tokens.delete(token["id"], account_id=stand_in.account_id)
        stand_in.kill()
    with StandIn.start(tmp_path / "data") as again:
        api = cloudflare_client(again)
        assert api.r2.buckets.list(account_id=again.account_id).buckets == []
        assert [entry.name for entry in api.accounts.tokens.list(account_id=again.account_id)] == ["root"]
