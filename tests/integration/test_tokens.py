# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens of hosts are made and changed; Cloudflare's SDK and boto3 look at them. And the module r2_api_token_info."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import CloudflareLocks
from ansible_collections.holdfast.restic_r2.plugins.module_utils._tokens.api import Tokens
from ansible_collections.holdfast.restic_r2.plugins.module_utils._tokens.desired import shown
from ansible_collections.holdfast.restic_r2.plugins.module_utils._tokens.ensure import TokenResult, ensure, wish_of
from botocore.exceptions import ClientError

from tests.integration.examples import run_examples
from tests.stand_in.client import StandIn
from tests.stand_in.others import cloudflare_client, code_of, new_bucket, s3_client, set_token_status
from tests.support.running import Ansible

BUCKET = "backup-web1"


class Maker:
    """Makes the token of web1, as r2_host_token does."""

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self.hidden: list[str] = []

    def __call__(self, *, roll: bool = False, write: bool = True, token: str = "", **more: Any) -> TokenResult:
        there = self.stand_in
        client = CloudflareLocks(token or there.api_token, there.account_id, url=there.api_url, retry_timeout=10.0)
        wish = wish_of(
            {
                "name": "web1",
                "bucket": BUCKET,
                "jurisdiction": "default",
                "expires_on": None,
                "allowed_addresses": None,
                **more,
            },
            there.account_id,
        )
        return ensure(Tokens(client), wish, roll=roll, write=write, hide=self.hidden.append)

    def changed(self, **more: Any) -> bool:
        """Whether this would change the token, and did, and then would not again."""
        states = [self(write=write, **more) for write in (False, True, False)]
        found = [shown(state.before) != shown(state.after) for state in states]
        assert found in ([True, True, False], [False, False, False]), found
        return found[0]

    def tokens(self) -> dict[str, Any]:
        """All tokens of the account by their id, as Cloudflare's SDK reads them."""
        found = cloudflare_client(self.stand_in).accounts.tokens.list(account_id=self.stand_in.account_id)
        return {token.id: token for token in found if token.name != "root"}

    def answer(self, made: TokenResult, bucket: str = BUCKET) -> str:
        """What a write with the keys of a token comes to."""
        keys = {"access_key_id": made.after["id"], "secret_access_key": str(made.secret)}
        try:
            s3_client(self.stand_in, keys).put_object(Bucket=bucket, Key=f"other/{secrets.token_hex(4)}", Body=b"x")
        except ClientError as error:
            return code_of(error)[0]
        return "ok"


@pytest.fixture
def make(stand_in: StandIn) -> Maker:
    for bucket in (BUCKET, "backup-web2"):
        new_bucket(stand_in, bucket, "free/")
    return Maker(stand_in)


def test_token_reaches_its_bucket_and_nothing_else(make: Maker) -> None:
    made = make()
    rolled = make(roll=True)
    assert rolled.after["id"] == made.after["id"]
    assert make.answer(rolled) == "ok"
    assert make.answer(made) == "SignatureDoesNotMatch", "the rolled token still has its old secret"
    assert make.answer(rolled, "backup-web2") == "AccessDenied"
    (token,) = make.tokens().values()
    assert token.name == "holdfast/web1"
    (policy,) = token.policies
    assert policy.resources == {f"com.cloudflare.edge.r2.bucket.{make.stand_in.account_id}_default_{BUCKET}": "*"}
    assert [group.id for group in policy.permission_groups] == ["2efd5506f9c8494dacb1fa10a3e7d5b6"]
    assert len(make.hidden) == 2 and "cfat_" not in str((made, rolled))


def test_changes_are_written_and_what_is_not_named_stays(make: Maker) -> None:
    assert make.changed(allowed_addresses=["192.0.2.7"], expires_on="2099-01-31")
    assert make.changed(jurisdiction="eu", bucket="backup-web2")
    (token,) = make.tokens().values()
    assert "_eu_backup-web2" in str(token.policies)
    assert token.condition.request_ip.in_ == ["192.0.2.7/32"]
    assert token.expires_on.isoformat() == "2099-01-31T00:00:00+00:00"
    assert make.changed(expires_on="", allowed_addresses=[])
    (token,) = make.tokens().values()
    assert token.expires_on is None and not token.condition


def test_source_addresses_are_those_that_the_keys_work_from(make: Maker) -> None:
    made = make(allowed_addresses=["192.0.2.0/24"])
    assert make.answer(made) == "AccessDenied"
    make(allowed_addresses=["192.0.2.0/24", "127.0.0.0/8"])
    assert make.answer(made) == "ok"


def test_disabled_stays_disabled(make: Maker) -> None:
    made = make()
    set_token_status(make.stand_in, "web1", "disabled")
    assert make.answer(made) == "Unauthorized"
    assert make.changed(expires_on="2099-01-31") and make.answer(made) == "Unauthorized"


def test_foreign_and_ambiguous_tokens_are_left_alone(make: Maker) -> None:
    make.stand_in.create_token("web1", BUCKET)
    make()
    assert {token.name for token in make.tokens().values()} == {"web1", "holdfast/web1"}
    make.stand_in.create_token("holdfast/web1", BUCKET)
    before = make.tokens()
    with pytest.raises(HoldfastError, match="2 API tokens named"):
        make()
    assert make.tokens() == before


@pytest.mark.parametrize(
    "fault",
    [{"cut": "after"}, {"cut": "before"}, {"status": 500}, {"status": 502, "applied": True}, {"body": "<html>"}],
)
def test_lost_answer_leaves_one_token_with_known_keys(make: Maker, fault: Any) -> None:
    make.stand_in.fault(method="POST", path="/tokens", **{"status": 200, **fault} if "body" in fault else fault)
    made = make()
    assert list(make.tokens()) == [made.after["id"]]
    assert make.answer(made) == "ok"


def test_answer_to_a_roll_is_lost(make: Maker) -> None:
    make()
    make.stand_in.fault(method="PUT", path="/value", cut="after")
    assert make.answer(make(roll=True)) == "ok"


def test_permission_group_is_found_by_name_or_is_the_published_one(make: Maker) -> None:
    make.stand_in.fault(path="permission_groups", status=403, code=10000)
    make()
    make(name="web2", bucket="backup-web2")
    one, two = make.tokens().values()
    assert one.policies[0].permission_groups[0].id == two.policies[0].permission_groups[0].id


def test_more_tokens_than_fit_on_a_page(make: Maker, ansible: Ansible) -> None:
    for number in range(60):
        make.stand_in.create_token(f"other-{number}", BUCKET)
    made = make()
    assert not make.changed() and len(make.tokens()) == 61
    account = {
        "account_id": make.stand_in.account_id,
        "api_token": make.stand_in.api_token,
        "api_url": make.stand_in.api_url,
    }
    assert ansible.module("r2_api_token_info", **account)["tokens"] == [
        {"access_key_id": made.after["id"], **shown(made.after)}
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"expires_on": "soon"}, "is no date"),
        ({"allowed_addresses": ["192.0.2.300"]}, "is no source address"),
        ({"name": "a\nb"}, "is no name for a token"),
        ({"bucket": "No_Bucket"}, "is not a bucket name"),
        ({"token": "storage"}, "Account API Tokens Write"),
    ],
)
def test_bad_input_is_one_sentence(make: Maker, arguments: dict[str, Any], sentence: str) -> None:
    storage = make.stand_in.create_token("storage")["value"]
    with pytest.raises(HoldfastError) as refused:
        make(**{**arguments, **({"token": storage} if "token" in arguments else {})})
    assert sentence in str(refused.value) and storage not in str(refused.value)
    assert {token.name for token in make.tokens().values()} == {"storage"}


@pytest.mark.sample(of="examples")
def test_examples(ansible: Ansible, stand_in: StandIn) -> None:
    run = run_examples(ansible, stand_in, "r2_api_token_info")
    assert run.exit_code == 0 and run.changed == [], run.output
