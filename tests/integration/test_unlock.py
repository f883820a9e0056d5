# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Windows by hand: the module and its playbook against the stand-in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import CloudflareLocks
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3

from tests.stand_in.client import StandIn
from tests.support.running import Ansible

BUCKET = "backup-web1"


@pytest.fixture
def account(stand_in: StandIn) -> dict[str, Any]:
    """A locked bucket with an object in every part, and the options that reach it."""
    cloudflare = CloudflareLocks(stand_in.api_token, stand_in.account_id, url=stand_in.api_url)
    cloudflare.create_bucket(BUCKET)
    s3 = S3(stand_in.s3_endpoint, stand_in.access_key_id, stand_in.secret_access_key, bucket=BUCKET)
    for rule in lock_set(""):
        s3.call("put_object", Key=rule["prefix"] + "object", Body=b"x")
    cloudflare.replace_lock_rules(BUCKET, lock_set(""))
    return {
        "account_id": stand_in.account_id,
        "api_token": stand_in.api_token,
        "api_url": stand_in.api_url,
        "s3_endpoint": stand_in.s3_endpoint,
    }


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this never came about"
        time.sleep(0.05)


def disabled(stand_in: StandIn) -> list[str]:
    return [rule["prefix"] for rule in stand_in.rules(BUCKET) if not rule["enabled"]]


@pytest.mark.long
def test_window_outlives_the_module_and_closes_at_its_lease(
    ansible: Ansible, stand_in: StandIn, account: dict[str, Any]
) -> None:
    asked = {**account, "bucket": BUCKET, "parts": ["keys"], "reason": "test", "seconds": 10}
    foreseen = ansible.module("r2_bucket_unlock", check_mode=True, **asked)
    assert foreseen["changed"] is True and disabled(stand_in) == []
    result = ansible.module("r2_bucket_unlock", **asked)
    assert result["changed"] is True and result["window"]["prefixes"] == ["keys/"]
    assert disabled(stand_in) == ["keys/", f"window/{result['window']['holder']}"]
    again = ansible.module("r2_bucket_unlock", **asked)
    assert again["failed"] is True and "is open until" in again["msg"]
    wait(lambda: stand_in.rules(BUCKET) == lock_set(""))
    (exposure,) = stand_in.ledger()["exposures"]
    assert exposure["prefix"] == "keys/" and exposure["to"] is not None


@pytest.mark.long
def test_window_is_closed_earlier_by_the_guard(ansible: Ansible, stand_in: StandIn, account: dict[str, Any]) -> None:
    asked = {**account, "bucket": BUCKET, "parts": ["keys"], "reason": "test", "seconds": 10}
    assert "failed" not in ansible.module("r2_bucket_unlock", **asked)
    closed = ansible.module(
        "r2_bucket_relock", **{name: account[name] for name in ("account_id", "api_token", "api_url")}, force=True
    )
    assert closed["closed"] == 1 and stand_in.rules(BUCKET) == lock_set("")
    # The keeper comes to the same end and leaves it at that.
    since = stand_in.last_request()
    stand_in.wait_for_request(method="GET", path="/lock", since=since, timeout=60)
    assert stand_in.rules(BUCKET) == lock_set("")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"seconds": 100000}, "between 10 and 14400"),
        ({"bucket": "no-such-bucket"}, "no such bucket"),
        ({"parts": []}, "parts"),
    ],
)
def test_what_makes_no_sense_opens_nothing(
    ansible: Ansible, stand_in: StandIn, account: dict[str, Any], wrong: dict[str, Any], sentence: str
) -> None:
    asked = {**account, "bucket": BUCKET, "parts": ["keys"], "reason": "test", "seconds": 10, **wrong}
    result = ansible.module("r2_bucket_unlock", **asked)
    assert result["failed"] is True and sentence in result["msg"] and "Traceback" not in result["msg"]
    assert stand_in.rules(BUCKET) == lock_set("")


def test_token_that_may_not_write_is_told_at_once(ansible: Ansible, stand_in: StandIn, account: dict[str, Any]) -> None:
    """Its keys may not probe either, so that there is no other proof than that nothing was changed."""
    token = stand_in.create_token("reader", write=False)
    asked = {**account, "api_token": token["value"], "bucket": BUCKET, "parts": ["keys"], "reason": "test"}
    result = ansible.module("r2_bucket_unlock", **asked)
    assert "lacks the permission" in result["msg"] and "could not be proved" not in result["msg"]
    assert stand_in.rules(BUCKET) == lock_set("")


@pytest.mark.sample(of="stories")
def test_playbook_wants_one_host_parts_and_a_reason(
    ansible: Ansible, stand_in: StandIn, account: dict[str, Any]
) -> None:
    inventory = {"holdfast": {"hosts": {"web1": {}, "web2": {}}}}
    variables = {
        "holdfast_account_id": account["account_id"],
        "holdfast_api_token": account["api_token"],
        "holdfast_api_url": account["api_url"],
        "holdfast_s3_endpoint": account["s3_endpoint"],
        "holdfast_password": "unused",
        "holdfast_unlock_parts": ["keys"],
        "holdfast_unlock_seconds": 10,
    }
    name = "holdfast.restic_r2.unlock"
    assert ansible.playbook(name, inventory, variables=variables).exit_code != 0
    assert ansible.playbook(name, inventory, "--limit", "web1", variables=variables).exit_code != 0
    assert disabled(stand_in) == []
    variables["holdfast_unlock_reason"] = "test"
    run = ansible.playbook(name, inventory, "--limit", "web1", variables=variables)
    assert run.exit_code == 0, run.output
    assert "backup-web1: keys/ not locked until" in run.output
    assert account["api_token"] not in run.output
    wait(lambda: stand_in.rules(BUCKET) == lock_set(""))
