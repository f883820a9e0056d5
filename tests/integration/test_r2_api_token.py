# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules r2_api_token and r2_api_token_info, run as Ansible runs them; Cloudflare's SDK and boto3 look at it."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.examples import documentation, run_examples
from tests.stand_in.client import StandIn
from tests.stand_in.others import cloudflare_client, code_of, new_bucket, s3_client
from tests.support.four_steps import Modules
from tests.support.running import Ansible

BUCKET = "backup-web1"
WEB1 = {"name": "web1", "bucket": BUCKET}


@pytest.fixture
def modules(ansible: Ansible, stand_in: StandIn) -> Modules:
    for bucket in (BUCKET, "backup-web2"):
        new_bucket(stand_in, bucket, "free/")
    return Modules(ansible, stand_in)


def tokens(stand_in: StandIn) -> dict[str, Any]:
    """All tokens of the account by their id, as Cloudflare's SDK reads them."""
    found = cloudflare_client(stand_in).accounts.tokens.list(account_id=stand_in.account_id)
    return {token.id: token for token in found if token.name != "root"}


def answer(stand_in: StandIn, keys: dict[str, Any], bucket: str = BUCKET) -> str:
    """What a write with these keys comes to."""
    try:
        s3_client(stand_in, keys).put_object(Bucket=bucket, Key=f"other/{secrets.token_hex(4)}", Body=b"x")
    except ClientError as error:
        return code_of(error)[0]
    return "ok"


def test_token_reaches_its_bucket_and_nothing_else(modules: Modules, stand_in: StandIn) -> None:
    made = modules.four_steps("r2_api_token", **WEB1)
    keys = modules.run("r2_api_token", **WEB1, roll=True)
    assert keys["access_key_id"] == made["access_key_id"] and "secret_access_key" in made
    assert answer(stand_in, keys) == "ok"
    assert answer(stand_in, made) == "SignatureDoesNotMatch", "the rolled token still has its old secret"
    assert answer(stand_in, keys, "backup-web2") == "AccessDenied"
    (token,) = tokens(stand_in).values()
    assert token.name == "holdfast/web1"
    (policy,) = token.policies
    assert policy.resources == {f"com.cloudflare.edge.r2.bucket.{stand_in.account_id}_default_{BUCKET}": "*"}
    assert [group.id for group in policy.permission_groups] == ["2efd5506f9c8494dacb1fa10a3e7d5b6"]


def test_value_is_never_told(modules: Modules) -> None:
    for roll in (False, True):
        result = modules.run("r2_api_token", **WEB1, roll=roll)
        assert "cfat_" not in str(result) and "value" not in result["token"]
        assert len(result["secret_access_key"]) == 64


def test_changes_are_written_and_what_is_not_named_stays(modules: Modules, stand_in: StandIn) -> None:
    modules.run("r2_api_token", **WEB1, allowed_addresses=["192.0.2.7"], expires_on="2099-01-31")
    modules.four_steps("r2_api_token", **WEB1, permission="read_only")
    modules.four_steps("r2_api_token", **WEB1, permission="read_only", denied_addresses=["198.51.100.0/24"])
    (token,) = tokens(stand_in).values()
    assert token.condition.request_ip.in_ == ["192.0.2.7/32"]
    assert token.condition.request_ip.not_in == ["198.51.100.0/24"]
    assert token.expires_on.isoformat() == "2099-01-31T00:00:00+00:00"
    gone = modules.four_steps("r2_api_token", **WEB1, expires_on="", allowed_addresses=[], denied_addresses=[])
    assert gone["token"]["expires_on"] is None and "secret_access_key" not in gone
    (token,) = tokens(stand_in).values()
    assert token.expires_on is None and not token.condition
    moved = modules.four_steps("r2_api_token", name="web1", bucket="backup-web2", jurisdiction="eu")
    assert "_eu_backup-web2" in str(moved["token"]["policies"])


def test_source_addresses_are_those_that_the_keys_work_from(modules: Modules, stand_in: StandIn) -> None:
    keys = modules.run("r2_api_token", **WEB1, allowed_addresses=["192.0.2.0/24"])
    assert answer(stand_in, keys) == "AccessDenied"
    modules.run("r2_api_token", **WEB1, allowed_addresses=["192.0.2.0/24", "127.0.0.0/8"])
    assert answer(stand_in, keys) == "ok"
    modules.run("r2_api_token", **WEB1, denied_addresses=["127.0.0.1"])
    assert answer(stand_in, keys) == "AccessDenied"
    modules.run("r2_api_token", **WEB1, allowed_addresses=[], denied_addresses=[])
    assert answer(stand_in, keys) == "ok"


def test_disabled_stays_disabled_until_enabled(modules: Modules, stand_in: StandIn) -> None:
    keys = modules.run("r2_api_token", **WEB1, expires_on="2099-01-31")
    modules.four_steps("r2_api_token", name="web1", state="disabled")
    assert answer(stand_in, keys) == "Unauthorized"
    assert modules.run("r2_api_token", **WEB1)["changed"] is False
    done = modules.four_steps("r2_api_token", **WEB1, state="enabled")
    assert done["token"]["expires_on"] == "2099-01-31T00:00:00Z"
    assert answer(stand_in, keys) == "ok"


def test_absent(modules: Modules, stand_in: StandIn) -> None:
    modules.run("r2_api_token", **WEB1)
    modules.four_steps("r2_api_token", name="web1", state="absent")
    assert tokens(stand_in) == {}
    assert "There is no API token" in modules.fail("r2_api_token", name="web1", state="disabled")


@pytest.mark.parametrize("state", ["present", "disabled", "absent"])
def test_foreign_and_ambiguous_tokens_are_left_alone(modules: Modules, stand_in: StandIn, state: str) -> None:
    stand_in.create_token("web1", BUCKET)
    modules.try_("r2_api_token", **WEB1, state=state)
    assert {token.name for token in tokens(stand_in).values()} - {"holdfast/web1"} == {"web1"}
    for _each in range(2 - (state == "present")):
        stand_in.create_token("holdfast/web1", BUCKET)
    before = tokens(stand_in)
    assert "2 API tokens named" in modules.fail("r2_api_token", **WEB1, state=state)
    assert tokens(stand_in) == before and not modules.wrote


@pytest.mark.parametrize(
    "fault",
    [{"cut": "after"}, {"cut": "before"}, {"status": 500}, {"status": 502, "applied": True}, {"body": "<html>"}],
)
def test_lost_answer_leaves_one_token_with_known_keys(modules: Modules, stand_in: StandIn, fault: Any) -> None:
    stand_in.fault(method="POST", path="/tokens", **{"status": 200, **fault} if "body" in fault else fault)
    keys = modules.run("r2_api_token", **WEB1)
    assert list(tokens(stand_in)) == [keys["access_key_id"]]
    assert answer(stand_in, keys) == "ok"


def test_answer_to_a_roll_is_lost(modules: Modules, stand_in: StandIn) -> None:
    modules.run("r2_api_token", **WEB1)
    stand_in.fault(method="PUT", path="/value", cut="after")
    assert answer(stand_in, modules.run("r2_api_token", **WEB1, roll=True)) == "ok"


def test_permission_group_is_found_by_name_or_is_the_published_one(modules: Modules, stand_in: StandIn) -> None:
    stand_in.fault(path="permission_groups", status=403, code=10000)
    modules.run("r2_api_token", **WEB1)
    modules.run("r2_api_token", name="web2", bucket="backup-web2")
    one, two = tokens(stand_in).values()
    assert one.policies[0].permission_groups[0].id == two.policies[0].permission_groups[0].id


def test_more_tokens_than_fit_on_a_page(modules: Modules, stand_in: StandIn) -> None:
    for number in range(60):
        stand_in.create_token(f"other-{number}", BUCKET)
    modules.run("r2_api_token", **WEB1)
    assert modules.run("r2_api_token", **WEB1)["changed"] is False
    assert [token["name"] for token in modules.run("r2_api_token_info")["tokens"]] == ["web1"]
    assert len(tokens(stand_in)) == 61


def test_bad_input_is_one_sentence(modules: Modules, stand_in: StandIn) -> None:
    storage = stand_in.create_token("storage")["value"]
    cases = [
        ({"expires_on": "soon"}, "is no date"),
        ({"allowed_addresses": ["192.0.2.300"]}, "is no source address"),
        ({"name": "a\nb"}, "is no name for a token"),
        ({"bucket": "No_Bucket"}, "is not a bucket name"),
        ({"api_token": storage}, "Account API Tokens Write"),
    ]
    for arguments, sentence in cases:
        message = modules.fail("r2_api_token", **{**WEB1, **arguments})
        assert sentence in message and storage not in message, message
    assert {token.name for token in tokens(stand_in).values()} == {"storage"}


@pytest.mark.sample(of="examples")
def test_examples(ansible: Ansible, modules: Modules, stand_in: StandIn) -> None:
    run = run_examples(ansible, stand_in, "r2_api_token")
    assert run.exit_code == 0, run.output
    assert [result.changed for result in run.of(action="holdfast.restic_r2.r2_api_token")] == [True] * 4
    run = run_examples(ansible, stand_in, "r2_api_token_info")
    assert run.exit_code == 0 and run.changed == [], run.output


def test_everything_returned_is_documented(modules: Modules) -> None:
    result = modules.run("r2_api_token", **WEB1)
    assert set(result) - {"changed", "diff", "invocation"} == set(documentation("r2_api_token", "RETURN"))
    (listed,) = modules.run("r2_api_token_info", name="web1")["tokens"]
    assert listed == {"access_key_id": result["access_key_id"], **result["token"]}
