# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fence holds for everybody: every token that reaches the bucket, and every request that was on its way when it went up."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.temporary_credentials import Parent, sign
from botocore.exceptions import ClientError

from tests.integration.test_fence import Fenced
from tests.stand_in.client import StandIn
from tests.stand_in.others import cloudflare_client, code_of, s3_client
from tests.support.maintenance import PREFIX, LockedRepository


@pytest.fixture(name="fenced")
def fixture_fenced(site: LockedRepository) -> Fenced:
    return Fenced(site)


def token_module(fenced: Fenced, state: str, **more: Any) -> dict[str, Any]:
    bed = fenced.site.bed
    given = {"name": "web1", "bucket": bed.bucket, "prefix": PREFIX, "record_dir": str(bed.record_dir), **more}
    return bed.ansible.module("r2_host_token", **fenced.account, state=state, **given)


def pair_of(result: dict[str, Any]) -> dict[str, str]:
    with open(result["keys_file"], encoding="utf-8") as stream:
        return dict(json.load(stream))


def status_of(fenced: Fenced, token_id: str) -> str:
    client = cloudflare_client(fenced.stand_in)
    return str(client.accounts.tokens.get(token_id, account_id=fenced.stand_in.account_id).status)


def delete_all(stand_in: StandIn, bucket: str, keys: dict[str, str]) -> str:
    """Try to delete the whole repository; the code of the refusal, or "answered" with what the locks left."""
    objects = [{"Key": key} for key in stand_in.objects(bucket) if "/locks/" not in key]
    try:
        s3_client(stand_in, keys).delete_objects(Bucket=bucket, Delete={"Objects": objects})
    except ClientError as error:
        return code_of(error)[0]
    return "answered"


@pytest.mark.sample(of="stories")
def test_every_token_that_reaches_the_window_is_kept_out_of_it(fenced: Fenced) -> None:
    """The one in use, the one before it, the one that a failed rotation left on the host, and that of another host."""
    bed, stand_in = fenced.site.bed, fenced.stand_in
    pairs = {"former": fenced.keys}
    token_module(fenced, "staged")
    pairs["used"] = pair_of(token_module(fenced, "promoted"))
    pairs["staged"] = pair_of(token_module(fenced, "staged"))
    pairs["neighbour"] = pair_of(token_module(fenced, "present", name="web2", prefix="web2/"))
    assert len({pair["access_key_id"] for pair in pairs.values()}) == 4
    before = {name: delete_all(stand_in, bed.bucket, pair) for name, pair in pairs.items()}
    assert before == dict.fromkeys(pairs, "answered") and fenced.site.destroyed() == [], "the locks hold, the keys work"

    since = stand_in.last_request()
    stand_in.fault(kind="DeleteObjects", delay=15.0)
    process = fenced.start()
    stand_in.wait_for_request(kind="DeleteObjects", arrived=True, since=since, timeout=120)
    inside = {name: delete_all(stand_in, bed.bucket, pair) for name, pair in pairs.items()}
    promoted = token_module(fenced, "promoted")
    after = {name: delete_all(stand_in, bed.bucket, pair) for name, pair in pairs.items()}
    result = json.loads(process.communicate(timeout=600)[0])

    assert inside == after == dict.fromkeys(pairs, "Unauthorized")
    assert promoted["failed"] and "is disabled" in promoted["msg"]
    assert "failed" not in result and len(result["removed"]) == 3, result
    assert fenced.site.exposed(), "there was no window"
    assert {entry["key_id"] for entry in fenced.site.destroyed()} == {stand_in.token_id}
    (told,) = result["fences"]
    assert set(told["tokens"]) == {pair["access_key_id"] for pair in pairs.values()} and told["without"] is None
    assert {status_of(fenced, token_id) for token_id in told["tokens"]} == {"active"}
    assert token_module(fenced, "promoted")["changed"]


@pytest.mark.sample(of="stories")
def test_what_a_host_has_signed_before_does_not_work_behind_the_fence(fenced: Fenced) -> None:
    """A URL, and credentials that it has signed itself below its token, both good for longer than the window is open."""
    bed, stand_in = fenced.site.bed, fenced.stand_in
    where = {"Bucket": bed.bucket, "Key": f"{PREFIX}locks/signed"}
    url = s3_client(stand_in, fenced.keys).generate_presigned_url("delete_object", Params=where, ExpiresIn=3600)
    parent = Parent(stand_in.account_id, fenced.keys["access_key_id"], fenced.keys["secret_access_key"])
    period = int(time.time()) - 1, int(time.time()) + 3600
    made = sign(parent, stand_in.s3_endpoint, bed.bucket, "", "read_write", period)
    pair = {"access_key_id": made.access_key_id, "secret_access_key": made.secret_access_key}
    below = s3_client(stand_in, pair, token=made.session_token)

    def tried() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="DELETE")) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
        try:
            below.delete_object(**where)
        except ClientError as error:
            return status, code_of(error)[0]
        return status, "answered"

    assert tried() == (204, "answered")
    since = stand_in.last_request()
    stand_in.fault(kind="DeleteObjects", delay=6.0)
    process = fenced.start()
    stand_in.wait_for_request(kind="DeleteObjects", arrived=True, since=since, timeout=120)
    inside = tried()
    result = json.loads(process.communicate(timeout=600)[0])
    assert inside == (401, "Unauthorized")
    assert "failed" not in result and len(result["removed"]) == 3, result
    assert tried() == (204, "answered")


@pytest.mark.long
def test_keys_from_the_inventory_are_behind_the_fence_by_their_access_key_id(site: LockedRepository) -> None:
    """The token was made by hand, under a name of its owner's."""
    bed, stand_in = site.bed, site.bed.stand_in
    made = stand_in.create_token("made by hand", bucket=bed.bucket)
    keys = {"host_access_key_id": made["access_key_id"], "host_secret_access_key": made["secret_access_key"]}
    result = site.prune(**keys)
    assert "failed" not in result and result["removed"], result
    assert [told["tokens"] for told in result["fences"]] == [[made["id"]]]
    client = cloudflare_client(stand_in)
    assert client.accounts.tokens.get(made["id"], account_id=stand_in.account_id).status == "active"


def without_token_permissions(site: LockedRepository) -> dict[str, Any]:
    storage = site.bed.stand_in.create_token("storage")["value"]
    return {"fence_api_token": storage}


def with_temporary_credentials(site: LockedRepository) -> dict[str, Any]:
    bed = site.bed
    parent = bed.stand_in.create_token("parent", bucket=bed.bucket)
    asked = {name: parent[name] for name in ("access_key_id", "secret_access_key")}
    where = {"s3_endpoint": bed.stand_in.s3_endpoint, "bucket": bed.bucket, "prefix": PREFIX.rstrip("/")}
    made = bed.ansible.module("r2_temporary_credentials", account_id=bed.stand_in.account_id, **where, **asked)
    return {f"host_{name}": made[name] for name in ("access_key_id", "secret_access_key", "session_token")}


def with_keys_of_the_node(site: LockedRepository) -> dict[str, Any]:
    node = site.bed.stand_in
    return {"host_access_key_id": node.token_id, "host_secret_access_key": node.secret_access_key}


def with_keys_of_a_token_that_is_not_listed(site: LockedRepository) -> dict[str, Any]:
    """As those of a user's token are not."""
    made = site.bed.stand_in.create_token("by hand", bucket=site.bed.bucket)
    body = json.dumps({"success": True, "errors": [], "messages": [], "result": []})
    site.bed.stand_in.fault(method="GET", path=r"/tokens\?", status=200, body=body, times=0)
    return {"host_access_key_id": made["access_key_id"], "host_secret_access_key": made["secret_access_key"]}


@pytest.mark.long
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (without_token_permissions, "'Account API Tokens Write'"),
        (with_temporary_credentials, "temporary credentials"),
        (with_keys_of_the_node, "keys of the node itself"),
        (with_keys_of_a_token_that_is_not_listed, "belong to none of the account's tokens"),
    ],
)
def test_nothing_is_unlocked_where_hosts_cannot_be_kept_out_unless_asked_for_by_name(
    site: LockedRepository, given: Callable[[LockedRepository], dict[str, Any]], said: str
) -> None:
    arguments = given(site)
    refused = site.prune(**arguments)
    assert refused["failed"] and said in refused["msg"] and "set fence to never" in refused["msg"], refused
    assert site.exposed() == [] and site.destroyed() == []
    if given is without_token_permissions:
        result = site.prune(**arguments, fence="never")
        assert "failed" not in result and result["removed"] and result["fences"][0]["without"]


@pytest.mark.long
def test_keys_that_r2_does_not_take_any_more_need_no_fence(site: LockedRepository) -> None:
    made = site.bed.stand_in.create_token("removed", bucket=site.bed.bucket)
    client = cloudflare_client(site.bed.stand_in)
    client.accounts.tokens.delete(made["id"], account_id=site.bed.stand_in.account_id)
    keys = {"host_access_key_id": made["access_key_id"], "host_secret_access_key": made["secret_access_key"]}
    result = site.prune(**keys)
    assert "failed" not in result and result["removed"] and result["fences"][0]["without"], result


class InFlight:
    """A request of the host's whose token was judged before the fence, and which takes effect in the window."""

    def __init__(self, fenced: Fenced, kind: str, judged_again: bool) -> None:
        self.fenced = fenced
        self.stand_in = fenced.stand_in
        self.bucket = fenced.site.bed.bucket
        self.client = s3_client(self.stand_in, fenced.keys, read_timeout=300)
        self.kind = kind
        # The pack of the newest backup, which stays.
        listed = self.client.list_objects_v2(Bucket=self.bucket, Prefix=f"{PREFIX}data/")["Contents"]
        self.key = max(listed, key=lambda entry: entry["LastModified"])["Key"]
        self.outcome = "no answer"
        self.stand_in.fault(kind=kind, in_flight="twice" if judged_again else "once")
        if kind == "CompleteMultipartUpload":
            self._begin_upload()
        self.since = self.stand_in.last_request()
        self.thread = threading.Thread(target=self._run)

    def _send(self) -> None:
        if self.kind == "DeleteObjects":
            self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": self.key}]})
        elif self.kind == "PutObject":
            self.client.put_object(Bucket=self.bucket, Key=self.key, Body=b"another content")
        else:
            self.client.complete_multipart_upload(
                Bucket=self.bucket, Key=self.upload["Key"], UploadId=self.upload["UploadId"], MultipartUpload=self.parts
            )

    def _run(self) -> None:
        try:
            self._send()
            self.outcome = "done"
        except ClientError as error:
            self.outcome = code_of(error)[0]

    def _begin_upload(self) -> None:
        """Upload the parts of an object that takes the place of a pack."""
        self.upload = self.client.create_multipart_upload(Bucket=self.bucket, Key=self.key)
        where = {**{name: self.upload[name] for name in ("Bucket", "Key", "UploadId")}, "PartNumber": 1}
        part = self.client.upload_part(**where, Body=b"another content")
        self.parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}

    def through_the_window(self) -> dict[str, Any]:
        """Send it, maintain the repository meanwhile, and let it go on once the window is open; what maintenance says."""
        self.thread.start()
        self.stand_in.wait_for_request(in_flight=True, arrived=True, since=self.since, timeout=60)
        since = self.stand_in.last_request()
        process = self.fenced.start()
        try:
            self.stand_in.wait_for_request(method="PUT", path="/tokens/", since=since, timeout=120)
            self.stand_in.fault(kind="DeleteObjects", delay=6.0)
            self.stand_in.wait_for_request(kind="DeleteObjects", arrived=True, since=since, timeout=120)
        finally:
            self.stand_in.clear_faults()
        self.thread.join(timeout=60)
        return dict(json.loads(process.communicate(timeout=600)[0]))


def kinds(*sampled: str) -> list[Any]:
    every = ("DeleteObjects", "PutObject", "CompleteMultipartUpload")
    return [pytest.param(kind, marks=() if kind in sampled else pytest.mark.proof) for kind in every]


@pytest.mark.sample(of="stories")
@pytest.mark.parametrize("kind", kinds("PutObject"))
def test_request_in_flight_that_r2_judges_when_it_ends_is_refused(fenced: Fenced, kind: str) -> None:
    request = InFlight(fenced, kind, judged_again=True)
    result = request.through_the_window()
    assert request.outcome == "Unauthorized"
    assert "failed" not in result and len(result["removed"]) == 3, result
    assert {finding["code"] for finding in result["findings"]} <= {"unfinished_uploads"}
    assert {entry["key_id"] for entry in fenced.site.destroyed()} == {fenced.stand_in.token_id}


@pytest.mark.sample(of="stories")
@pytest.mark.parametrize("kind", kinds("DeleteObjects", "CompleteMultipartUpload"))
def test_request_in_flight_that_r2_judges_only_when_it_begins_is_told_by_the_listing_after(
    fenced: Fenced, kind: str
) -> None:
    """No fence reaches it any more. Maintenance says what has become of which object, and fails."""
    request = InFlight(fenced, kind, judged_again=False)
    result = request.through_the_window()
    harmed = [entry["key"] for entry in fenced.site.destroyed() if entry["key_id"] == fenced.token_id]
    assert request.outcome == "done" and harmed == [request.key]
    assert result["failed"], result
    code = "lost" if kind == "DeleteObjects" else "replaced"
    (told,) = [finding for finding in result["findings"] if finding["code"] == code]
    assert request.key in told["evidence"] and told["severity"] == "block"


@pytest.mark.sample(of="stories")
def test_upload_in_flight_while_the_fence_goes_up_loses_nothing(fenced: Fenced) -> None:
    """A backup stores a pack, an index, a snapshot: what arrives late is there afterwards, and what is kept is whole."""
    key = f"{PREFIX}data/00/{'00' * 32}"
    fenced.stand_in.fault(kind="PutObject", path=key, in_flight="once")
    since = fenced.stand_in.last_request()
    client = s3_client(fenced.stand_in, fenced.keys, read_timeout=300)
    sent = {"Bucket": fenced.site.bed.bucket, "Key": key, "Body": b"of a backup"}
    thread = threading.Thread(target=client.put_object, kwargs=sent)
    thread.start()
    fenced.stand_in.wait_for_request(in_flight=True, arrived=True, since=since, timeout=60)
    process = fenced.start()
    fenced.stand_in.wait_for_request(method="PUT", path="/tokens/", since=since, timeout=120)
    fenced.stand_in.fault(kind="DeleteObjects", delay=6.0)
    fenced.stand_in.wait_for_request(kind="DeleteObjects", arrived=True, since=since, timeout=120)
    fenced.stand_in.clear_faults()
    thread.join(timeout=60)
    result = json.loads(process.communicate(timeout=600)[0])
    assert "failed" not in result and len(result["removed"]) == 3, result
    assert key in fenced.stand_in.objects(fenced.site.bed.bucket)
    assert fenced.site.bed.restic.succeed(["check", "--read-data"])
