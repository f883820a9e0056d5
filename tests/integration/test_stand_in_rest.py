# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in's REST side, as Cloudflare's own Python SDK sees it."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from itertools import count
from typing import Any, Callable, Optional
from urllib.error import HTTPError

import pytest
from cloudflare import APIStatusError

from tests.stand_in.client import StandIn
from tests.stand_in.others import cloudflare_client, new_bucket, rule, s3_client, set_rules

NUMBERS = count()
BUCKET_ITEM_WRITE = "2efd5506f9c8494dacb1fa10a3e7d5b6"


@pytest.fixture(name="account")
def fixture_account(shared_stand_in: StandIn) -> dict[str, str]:
    """The account, as an argument of most calls."""
    return {"account_id": shared_stand_in.account_id}


@pytest.fixture(name="buckets")
def fixture_buckets(shared_stand_in: StandIn) -> Any:
    """The SDK's buckets, with all rights."""
    return cloudflare_client(shared_stand_in).r2.buckets


@pytest.fixture(name="tokens")
def fixture_tokens(shared_stand_in: StandIn) -> Any:
    """The SDK's tokens of the account."""
    return cloudflare_client(shared_stand_in).accounts.tokens


def refused(call: Callable[..., Any], *arguments: Any, **values: Any) -> tuple[int, int]:
    """HTTP status and Cloudflare's code of the error that a call ends with."""
    with pytest.raises(APIStatusError) as caught:
        call(*arguments, **values)
    body: Any = caught.value.body
    assert body["success"] is False
    return caught.value.status_code, body["errors"][0]["code"]


def raw(stand_in: StandIn, path: str, method: str = "GET", body: Any = None, **headers: str) -> Any:
    """What the API answers to a request that no SDK would send, or where the SDK hides the answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{stand_in.api_url}{path}", data=data, method=method)
    for name, value in {"authorization": f"Bearer {stand_in.api_token}", **headers}.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def test_bucket_from_creation_to_deletion(shared_stand_in: StandIn, account: dict[str, str], buckets: Any) -> None:
    made = buckets.create(name="life", location_hint="weur", storage_class="InfrequentAccess", **account)
    assert (made.location, made.storage_class, made.jurisdiction) == ("WEUR", "InfrequentAccess", "default")
    assert buckets.get("life", **account).name == "life"
    assert buckets.edit("life", storage_class="Standard", **account).storage_class == "Standard"
    assert refused(buckets.create, name="life", **account) == (409, 10004)
    s3_client(shared_stand_in).put_object(Bucket="life", Key="x", Body=b"x")
    assert refused(buckets.delete, "life", **account) == (409, 10008)
    s3_client(shared_stand_in).delete_object(Bucket="life", Key="x")
    buckets.delete("life", **account)
    assert refused(buckets.get, "life", **account) == (404, 10006)
    assert buckets.create(name="life", location_hint="apac", **account).location == "WEUR"


def test_bucket_names_are_checked(account: dict[str, str], buckets: Any) -> None:
    for name in ("ab", "-abc", "abc-", "a_b", "UPPER", "a" * 64):
        assert refused(buckets.create, name=name, **account) == (400, 10005)


def test_buckets_are_listed_by_pages(stand_in: StandIn) -> None:
    api: Any = cloudflare_client(stand_in).r2.buckets
    names = [f"page-{number:02}" for number in range(25)]
    for name in names:
        api.create(name=name, account_id=stand_in.account_id)
    found, cursor = [], ""
    for expected in (10, 10, 5):
        path = f"/accounts/{stand_in.account_id}/r2/buckets?per_page=10" + (f"&cursor={cursor}" if cursor else "")
        _status, document = raw(stand_in, path)
        assert len(document["result"]["buckets"]) == expected
        found += [entry["name"] for entry in document["result"]["buckets"]]
        cursor = document["result_info"].get("cursor", "")
    assert (found, cursor) == (names, "")
    assert [entry.name for entry in api.list(account_id=stand_in.account_id, name_contains="-07").buckets] == [
        "page-07"
    ]
    desc = api.list(account_id=stand_in.account_id, direction="desc", per_page=2).buckets
    assert [entry.name for entry in desc] == names[:-3:-1]


def test_jurisdictions_are_apart(shared_stand_in: StandIn, account: dict[str, str], buckets: Any) -> None:
    buckets.create(name="both", **account)
    assert buckets.create(name="both", cf_r2_jurisdiction="eu", **account).jurisdiction == "eu"
    buckets.create(name="only-eu", cf_r2_jurisdiction="eu", **account)
    assert refused(buckets.get, "only-eu", **account) == (404, 10006)
    assert [entry.name for entry in buckets.list(cf_r2_jurisdiction="eu", **account).buckets] == ["both", "only-eu"]
    buckets.locks.update("both", cf_r2_jurisdiction="eu", rules=[rule("x")], **account)
    assert shared_stand_in.rules("both") == []
    path = f"/accounts/{shared_stand_in.account_id}/r2/buckets/both"
    assert raw(shared_stand_in, path, cf_r2_jurisdiction="")[0] == 500


def test_jurisdiction_of_an_endpoint_is_in_its_name(
    shared_stand_in: StandIn, account: dict[str, str], buckets: Any
) -> None:
    buckets.create(name="place", cf_r2_jurisdiction="eu", **account)
    host = f"http://{shared_stand_in.account_id}.{{}}r2.cloudflarestorage.com"
    proxies = {"http": shared_stand_in.url}
    s3_client(shared_stand_in, endpoint=host.format("eu."), proxies=proxies).put_object(
        Bucket="place", Key="k", Body=b"x"
    )
    assert shared_stand_in.objects("place", "eu") == ["k"]
    elsewhere = s3_client(shared_stand_in, endpoint=host.format(""), proxies=proxies)
    with pytest.raises(elsewhere.exceptions.NoSuchBucket):
        elsewhere.get_object(Bucket="place", Key="k")


def test_lock_document(shared_stand_in: StandIn, account: dict[str, str], buckets: Any) -> None:
    buckets.create(name="locks", **account)
    path = f"/accounts/{shared_stand_in.account_id}/r2/buckets/locks/lock"
    empty: dict[str, Any] = {"success": True, "errors": [], "messages": [], "result": {}}
    assert raw(shared_stand_in, path)[1]["result"] == {"rules": []}
    shared_stand_in.settings(bare_lock_document=True)
    assert raw(shared_stand_in, path) == (200, empty)
    shared_stand_in.settings(bare_lock_document=False)
    rules = [
        {"id": "b", "enabled": True, "condition": {"type": "Indefinite"}},
        {"id": "a", "enabled": False, "prefix": "x/", "condition": {"type": "Age", "maxAgeSeconds": 60}},
        {"id": "c", "enabled": True, "prefix": "y", "condition": {"type": "Date", "date": "2030-01-01T00:00:00Z"}},
    ]
    assert raw(shared_stand_in, path, "PUT", {"rules": rules}) == (200, empty)
    assert raw(shared_stand_in, path)[1]["result"] == {"rules": rules}
    assert [entry.id for entry in buckets.locks.get("locks", **account).rules] == ["b", "a", "c"]
    buckets.locks.update("locks", rules=[], **account)
    assert raw(shared_stand_in, path)[1]["result"] == {"rules": []}


@pytest.mark.parametrize(
    "broken",
    [
        {"id": None},
        {"enabled": "yes"},
        {"prefix": 1},
        {"condition": {"type": "Forever"}},
        {"condition": None},
        {"condition": {"type": "Age"}},
        {"condition": {"type": "Date", "date": "soon"}},
    ],
    ids=str,
)
def test_broken_rules_change_nothing(shared_stand_in: StandIn, broken: dict[str, Any]) -> None:
    name = new_bucket(shared_stand_in, f"broken-{next(NUMBERS)}", "data/")
    before = shared_stand_in.rules(name)
    path = f"/accounts/{shared_stand_in.account_id}/r2/buckets/{name}/lock"
    status, document = raw(shared_stand_in, path, "PUT", {"rules": [{**rule("new/"), **broken}]})
    assert (status, document["success"]) == (400, False)
    assert shared_stand_in.rules(name) == before


def test_only_a_thousand_rules(shared_stand_in: StandIn, account: dict[str, str], buckets: Any) -> None:
    buckets.create(name="many", **account)
    rules = [rule(f"{number}/") for number in range(1001)]
    assert refused(buckets.locks.update, "many", rules=rules, **account)[0] == 400
    buckets.locks.update("many", rules=rules[:1000], **account)
    assert len(shared_stand_in.rules("many")) == 1000


def test_lifecycle_is_one_document_for_both_sides(
    shared_stand_in: StandIn, account: dict[str, str], buckets: Any
) -> None:
    buckets.create(name="cycle", **account)
    s3 = s3_client(shared_stand_in)
    default = s3.get_bucket_lifecycle_configuration(Bucket="cycle")["Rules"]
    assert [(entry["ID"], entry["AbortIncompleteMultipartUpload"]) for entry in default] == [
        ("Default Multipart Abort Rule", {"DaysAfterInitiation": 7})
    ]
    rules = [
        {
            "ID": "old",
            "Status": "Enabled",
            "Filter": {"Prefix": "tmp/"},
            "Expiration": {"Days": 3},
            "Transitions": [{"Days": 1, "StorageClass": "STANDARD_IA"}],
        }
    ]
    s3.put_bucket_lifecycle_configuration(Bucket="cycle", LifecycleConfiguration={"Rules": rules})
    (seen,) = buckets.lifecycle.get("cycle", **account).rules
    assert (seen.id, seen.conditions.prefix, seen.delete_objects_transition.condition.max_age) == (
        "old",
        "tmp/",
        259200,
    )
    shape = {
        "id": "abort",
        "enabled": True,
        "conditions": {"prefix": ""},
        "abortMultipartUploadsTransition": {"condition": {"type": "Age", "maxAge": 86400}},
    }
    buckets.lifecycle.update("cycle", rules=[shape], **account)
    (back,) = s3.get_bucket_lifecycle_configuration(Bucket="cycle")["Rules"]
    assert (back["ID"], back["AbortIncompleteMultipartUpload"]) == ("abort", {"DaysAfterInitiation": 1})


def test_public_domain_is_off_until_asked_for(account: dict[str, str], buckets: Any) -> None:
    buckets.create(name="public", **account)
    domain = buckets.domains.managed
    assert domain.list("public", **account).enabled is False
    assert domain.update("public", enabled=True, **account).enabled is True
    assert domain.list("public", **account).enabled is True


def test_objects_by_rest_obey_the_locks_too(shared_stand_in: StandIn, account: dict[str, str], buckets: Any) -> None:
    name = new_bucket(shared_stand_in, "rest-objects", "data/")
    path = f"/accounts/{shared_stand_in.account_id}/r2/buckets/{name}/objects"
    s3_client(shared_stand_in).put_object(Bucket=name, Key="free/x", Body=b"x")
    for method, body in (("DELETE", None), ("PUT", "new")):
        status, document = raw(shared_stand_in, f"{path}/data/old", method, body)
        assert (status, document["errors"][0]["code"]) == (409, 10069)
    _status, job = raw(shared_stand_in, f"{path}?prefix=", "DELETE")
    assert job["result"]["prefixDelete"] == {"prefix": "", "deletedObjects": 1, "isBucketClear": True}
    assert [entry["key"] for entry in raw(shared_stand_in, path)[1]["result"]] == ["data/old"]


# --- tokens ---


def policy(account_id: str, bucket: str, group: str) -> dict[str, Any]:
    """A policy for one bucket."""
    resource = f"com.cloudflare.edge.r2.bucket.{account_id}_default_{bucket}"
    return {"effect": "allow", "resources": {resource: "*"}, "permission_groups": [{"id": group}]}


def test_token_from_creation_to_deletion(shared_stand_in: StandIn, account: dict[str, str], tokens: Any) -> None:
    bucket = new_bucket(shared_stand_in, "token-bucket", "data/")
    (group,) = tokens.permission_groups.list(name="Workers R2 Storage Bucket Item Write", **account)
    assert group.id == BUCKET_ITEM_WRITE
    made = tokens.create(name="host", policies=[policy(account["account_id"], bucket, group.id)], **account)
    keys = {"access_key_id": made.id, "secret_access_key": hashlib.sha256(made.value.encode()).hexdigest()}
    s3_client(shared_stand_in, keys).put_object(Bucket=bucket, Key="new", Body=b"x")
    own = cloudflare_client(shared_stand_in, made.value)
    assert own.accounts.tokens.verify(**account).status == "active"
    assert made.id in [entry.id for entry in tokens.list(**account)]
    assert tokens.get(made.id, **account).value is None if hasattr(tokens.get(made.id, **account), "value") else True
    update = {"name": "renamed", "policies": [policy(account["account_id"], bucket, group.id)], **account}
    assert tokens.update(made.id, status="disabled", **update).status == "disabled"
    assert own.accounts.tokens.verify(**account).status == "disabled"
    assert tokens.update(made.id, **update).status == "active"
    value = tokens.value.update(made.id, **account)
    assert refused(own.accounts.tokens.verify, **account) == (401, 9109)
    assert cloudflare_client(shared_stand_in, value).accounts.tokens.verify(**account).id == made.id
    tokens.delete(made.id, **account)
    assert refused(cloudflare_client(shared_stand_in, value).accounts.tokens.verify, **account) == (401, 9109)


def test_tokens_are_listed_by_pages(stand_in: StandIn) -> None:
    for number in range(25):
        stand_in.create_token(f"token {number}")
    listed = cloudflare_client(stand_in).accounts.tokens.list(account_id=stand_in.account_id, per_page=10)
    assert [entry.name for entry in listed] == ["root", *(f"token {number}" for number in range(25))]


def test_each_owner_verifies_its_own_tokens(shared_stand_in: StandIn, account: dict[str, str]) -> None:
    root = cloudflare_client(shared_stand_in)
    assert root.accounts.tokens.verify(**account).id == shared_stand_in.token_id
    assert refused(root.user.tokens.verify) == (401, 1000)
    groups = root.user.tokens.permission_groups.list(name="Workers R2 Storage Read")
    resources = {f"com.cloudflare.api.account.{shared_stand_in.account_id}": "*"}
    policies: Any = [{"effect": "allow", "resources": resources, "permission_groups": [{"id": next(iter(groups)).id}]}]
    made: Any = root.user.tokens.create(name="user's", policies=policies)
    own = cloudflare_client(shared_stand_in, made.value)
    assert own.user.tokens.verify().id == made.id
    assert refused(own.accounts.tokens.verify, **account) == (401, 1000)


def test_host_tokens_cannot_touch_the_account(shared_stand_in: StandIn, account: dict[str, str]) -> None:
    bucket = new_bucket(shared_stand_in, "host-token", "data/")
    own: Any = cloudflare_client(shared_stand_in, shared_stand_in.create_token("host", bucket)["value"])
    before = shared_stand_in.rules(bucket)
    denied = (403, 10000)
    assert refused(own.r2.buckets.locks.get, bucket, **account) == denied
    assert refused(own.r2.buckets.locks.update, bucket, rules=[], **account) == denied
    assert refused(own.r2.buckets.delete, bucket, **account) == denied
    assert refused(own.r2.buckets.create, name="another", **account) == denied
    assert refused(own.r2.buckets.lifecycle.update, bucket, rules=[], **account) == denied
    assert refused(own.r2.buckets.domains.managed.update, bucket, enabled=True, **account) == denied
    assert refused(own.accounts.tokens.create, name="more", policies=[], **account) == denied
    assert shared_stand_in.rules(bucket) == before


def test_reading_tokens_cannot_write(shared_stand_in: StandIn, account: dict[str, str]) -> None:
    bucket = new_bucket(shared_stand_in, "reading", "data/")
    own: Any = cloudflare_client(shared_stand_in, shared_stand_in.create_token("reader", write=False)["value"])
    assert len(own.r2.buckets.locks.get(bucket, **account).rules) == 1
    assert refused(own.r2.buckets.locks.update, bucket, rules=[], **account) == (403, 10000)


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, (400, 9106)), ("Bearer !", (400, 6003)), ("Basic abc", (400, 6003)), (f"Bearer {'x' * 40}", (401, 9109))],
    ids=["none", "malformed", "other kind", "unknown"],
)
def test_bad_authorization(shared_stand_in: StandIn, header: Optional[str], expected: tuple[int, int]) -> None:
    status, document = raw(
        shared_stand_in, f"/accounts/{shared_stand_in.account_id}/r2/buckets", authorization=header or ""
    )
    assert (status, document["errors"][0]["code"]) == expected


def test_wrong_account_and_wrong_route(shared_stand_in: StandIn) -> None:
    for path in (f"/accounts/{'0' * 32}/r2/buckets", "/nowhere"):
        status, document = raw(shared_stand_in, path)
        assert (status, document["errors"][0]["code"], document["result"]) == (404, 7003, None)


def test_too_many_calls_block_everything_for_a_while(stand_in: StandIn) -> None:
    stand_in.settings(rate_limit=5, rate_period=300, block_seconds=2)
    api: Any = cloudflare_client(stand_in)
    for _each in range(5):
        api.r2.buckets.list(account_id=stand_in.account_id)
    with pytest.raises(APIStatusError) as caught:
        api.r2.buckets.list(account_id=stand_in.account_id)
    assert caught.value.status_code == 429
    assert caught.value.response.headers["retry-after"] == "2"
    assert caught.value.response.json()["errors"][0]["code"] == 971
    other: Any = cloudflare_client(stand_in, stand_in.create_token("other")["value"])
    assert refused(other.r2.buckets.list, account_id=stand_in.account_id) == (429, 971)
    # The SDK waits as long as it is told to.
    assert api.with_options(max_retries=1).r2.buckets.list(account_id=stand_in.account_id).buckets == []


def test_s3_is_not_under_the_limit_of_the_api(stand_in: StandIn) -> None:
    bucket = new_bucket(stand_in, "unlimited", "data/")
    stand_in.settings(rate_limit=0)
    assert refused(cloudflare_client(stand_in).r2.buckets.list, account_id=stand_in.account_id) == (429, 971)
    assert s3_client(stand_in).get_object(Bucket=bucket, Key="data/old")["Body"].read() == b"old"
    stand_in.clear_faults()
    stand_in.settings(rate_limit=1200)
    set_rules(stand_in, bucket)
