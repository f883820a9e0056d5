# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fake of the API that windows are tested with answers as the stand-in does: each case runs against both."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.mutex import KEY
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import CloudflareLocks
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3, S3Error
from ansible_collections.holdfast.restic_r2.plugins.module_utils._tokens.api import Tokens

from tests.stand_in.client import StandIn
from tests.support.api_in_memory import Account
from tests.support.fake_api import BUCKET, FakeBucket, token

RULES = lock_set("web1/")


@dataclass
class Service:
    """One of both, with the same in it: a locked bucket, an object below each prefix, and the token of a host."""

    cloudflare: CloudflareLocks
    bucket: str
    s3: Any
    hosts: Any
    token_id: str

    @property
    def tokens(self) -> Tokens:
        return Tokens(self.cloudflare, lambda _seconds: None)


def fake() -> Service:
    account = Account(RULES, token("t" * 32, "holdfast/web1"))
    return Service(
        account.client(retry_timeout=1.0), BUCKET, FakeBucket(account), FakeBucket(account, "t" * 32), "t" * 32
    )


def real(stand_in: StandIn) -> Service:
    bucket = f"fake-{secrets.token_hex(4)}"
    cloudflare = CloudflareLocks(stand_in.api_token, stand_in.account_id, url=stand_in.api_url, retry_timeout=1.0)
    cloudflare.create_bucket(bucket)
    s3 = S3(stand_in.s3_endpoint, stand_in.access_key_id, stand_in.secret_access_key, bucket=bucket)
    for rule in RULES:
        s3.call("put_object", Key=rule["prefix"] + "object", Body=b"x")
    cloudflare.replace_lock_rules(bucket, RULES)
    made = stand_in.create_token("holdfast/web1", bucket=bucket)
    hosts = S3(stand_in.s3_endpoint, made["access_key_id"], made["secret_access_key"], bucket=bucket)
    return Service(cloudflare, bucket, s3, hosts, made["id"])


@pytest.fixture(params=["fake", "stand-in"])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    if request.param == "fake":
        yield fake()
    else:
        stand_in = request.getfixturevalue("stand_in")
        stand_in.settings(write_seconds=0)
        yield real(stand_in)


def test_the_document_is_what_was_written_last(service: Service) -> None:
    changed = [dict(rule, enabled=rule["prefix"] != "web1/data/") for rule in RULES]
    assert service.cloudflare.lock_rules(service.bucket) == RULES
    answered: list[str] = []
    found = service.cloudflare.replace_lock_rules(service.bucket, changed, answered=lambda: answered.append("yes"))
    assert found == changed == service.cloudflare.lock_rules(service.bucket) and answered == ["yes"]
    service.cloudflare.server_time()


def test_a_probe_tells_what_is_in_force(service: Service) -> None:
    changed = [dict(rule, enabled=rule["prefix"] != "web1/data/") for rule in RULES]
    assert service.s3.first_key("web1/data/") == "web1/data/object"
    assert service.s3.probe("web1/data/object") == "locked"
    service.cloudflare.replace_lock_rules(service.bucket, changed)
    assert service.s3.probe("web1/data/object") == "open"
    assert service.s3.probe("web1/index/object") == "locked"


def test_the_mutex_is_written_by_condition(service: Service) -> None:
    assert service.s3.head(KEY) is None
    first = service.s3.put_if(KEY, b"0123456789abcdef")
    assert first and service.s3.put_if(KEY, b"fedcba9876543210") is None
    found = service.s3.head(KEY)
    assert (found.etag, found.size) == (first, 16)
    assert service.cloudflare.lock_rules(service.bucket) == RULES  # tells the time
    assert abs((found.last_modified - service.cloudflare.server_time()).total_seconds()) < 60
    second = service.s3.put_if(KEY, b"fedcba9876543210", etag=first)
    assert second and second != first and service.s3.put_if(KEY, b"0123456789abcdef", etag=first) is None
    service.s3.delete(KEY)
    assert service.s3.head(KEY) is None and service.s3.put_if(KEY, b"0123456789abcdef", etag=second) is None


def test_a_token_that_is_disabled_opens_nothing(service: Service) -> None:
    tokens = service.tokens
    assert service.token_id in {one["id"] for one in tokens.all()}
    assert service.hosts.first_key("web1/data/") == "web1/data/object"
    assert tokens.set_status(service.token_id, "disabled")["status"] == "active"
    assert (tokens.get(service.token_id) or {})["status"] == "disabled"
    with pytest.raises(S3Error):
        service.hosts.first_key("web1/data/")
    tokens.set_status(service.token_id, "active")
    assert service.hosts.first_key("web1/data/") == "web1/data/object"


def test_a_token_that_is_gone_is_none(service: Service) -> None:
    assert service.tokens.get("0" * 32) is None
