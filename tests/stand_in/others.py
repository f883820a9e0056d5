# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients that others wrote, pointed at a stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from cloudflare import Cloudflare

from tests.stand_in.client import StandIn

INDEFINITE = {"type": "Indefinite"}


def s3_client(
    stand_in: StandIn,
    keys: Optional[Mapping[str, str]] = None,
    *,
    endpoint: Optional[str] = None,
    token: Optional[str] = None,
    **config: Any,
) -> Any:
    """A boto3 client; with keys of its own, or those of the token that may do everything."""
    found = keys or {"access_key_id": stand_in.access_key_id, "secret_access_key": stand_in.secret_access_key}
    return boto3.client(
        "s3",
        endpoint_url=endpoint or stand_in.s3_endpoint,
        region_name=config.pop("region", "auto"),
        aws_access_key_id=found["access_key_id"],
        aws_secret_access_key=found["secret_access_key"],
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **config),
    )


def cloudflare_client(stand_in: StandIn, value: Optional[str] = None) -> Any:
    """Cloudflare's own SDK."""
    return Cloudflare(api_token=value or stand_in.api_token, base_url=stand_in.api_url, max_retries=0)


def rule(prefix: str, *, name: Optional[str] = None, enabled: bool = True, **condition: Any) -> dict[str, Any]:
    """A lock rule."""
    return {"id": name or prefix, "enabled": enabled, "prefix": prefix, "condition": condition or INDEFINITE}


def set_rules(stand_in: StandIn, bucket: str, *rules: dict[str, Any]) -> None:
    """Replace the lock rules of a bucket."""
    client = cloudflare_client(stand_in)
    client.r2.buckets.locks.update(bucket, account_id=stand_in.account_id, rules=list(rules))


def new_bucket(stand_in: StandIn, name: str, *prefixes: str) -> str:
    """A bucket with an object below each prefix, and rules that hold them."""
    cloudflare_client(stand_in).r2.buckets.create(account_id=stand_in.account_id, name=name)
    client = s3_client(stand_in)
    for prefix in prefixes:
        client.put_object(Bucket=name, Key=f"{prefix}old", Body=b"old")
    if prefixes:
        set_rules(stand_in, name, *(rule(prefix) for prefix in prefixes))
    return name


def set_token_status(stand_in: StandIn, name: str, status: str) -> None:
    """Disable or enable the token of a host by hand."""
    tokens, account = cloudflare_client(stand_in).accounts.tokens, {"account_id": stand_in.account_id}
    (found,) = (token for token in tokens.list(**account) if token.name == f"holdfast/{name}")
    tokens.update(found.id, name=found.name, policies=found.policies, status=status, **account)


def code_of(error: ClientError) -> tuple[str, int]:
    """S3 error code and HTTP status of what boto3 raised."""
    return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
