# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in's temporary credentials: asked for by REST, and signed by nobody but the parent's key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from itertools import count
from typing import Any, Callable

import pytest
from botocore.exceptions import ClientError

from tests.stand_in.client import StandIn
from tests.stand_in.others import cloudflare_client, code_of, new_bucket, s3_client

NUMBERS = count()


@pytest.fixture(name="bucket")
def fixture_bucket(shared_stand_in: StandIn) -> str:
    """A bucket of the test's own, with data/old held by a rule and free/old not."""
    name = new_bucket(shared_stand_in, f"temporary-{next(NUMBERS)}", "data/")
    s3_client(shared_stand_in).put_object(Bucket=name, Key="free/old", Body=b"old")
    return name


def refused(call: Callable[..., Any], **values: Any) -> tuple[str, int]:
    """The error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(**values)
    return code_of(caught.value)


def temporary(stand_in: StandIn, bucket: str, parent: dict[str, str], **more: Any) -> Any:
    """Temporary credentials, asked for with the parent's value."""
    made: Any = cloudflare_client(stand_in, parent["value"]).r2.temporary_credentials.create(
        account_id=stand_in.account_id,
        bucket=bucket,
        parent_access_key_id=parent["id"],
        ttl_seconds=900,
        **{"permission": "object-read-write", **more},
    )
    keys = {"access_key_id": made.access_key_id, "secret_access_key": made.secret_access_key}
    return s3_client(stand_in, keys, token=made.session_token)


def test_temporary_credentials(shared_stand_in: StandIn, bucket: str) -> None:
    parent = shared_stand_in.create_token("parent", bucket)
    client = temporary(shared_stand_in, bucket, parent, prefixes=["free/"])
    client.put_object(Bucket=bucket, Key="free/new", Body=b"x")
    assert refused(client.get_object, Bucket=bucket, Key="data/old") == ("AccessDenied", 403)
    reader = temporary(shared_stand_in, bucket, parent, permission="object-read-only")
    assert reader.get_object(Bucket=bucket, Key="data/old")["Body"].read() == b"old"
    assert refused(reader.delete_object, Bucket=bucket, Key="free/old") == ("AccessDenied", 403)
    cloudflare_client(shared_stand_in).accounts.tokens.delete(parent["id"], account_id=shared_stand_in.account_id)
    assert refused(reader.get_object, Bucket=bucket, Key="data/old") == ("Unauthorized", 401)


def signed_locally(stand_in: StandIn, bucket: str, parent: dict[str, str], lifetime: float = 900, **more: Any) -> Any:
    """Credentials that nobody asked R2 for."""

    def part(data: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()

    now = time.time()
    host = stand_in.url.removeprefix("http://")
    claims = {
        "bucket": bucket,
        "scope": "object-read-write",
        "sub": stand_in.account_id,
        "iss": parent["id"],
        "aud": host,
        "iat": now,
        "exp": now + lifetime,
        **more,
    }
    text = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}"
    digest = hmac.new(parent["secret_access_key"].encode(), text.encode(), hashlib.sha256).digest()
    jwt = f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
    keys = {"access_key_id": parent["id"], "secret_access_key": hashlib.sha256(jwt.encode()).hexdigest()}
    return s3_client(stand_in, keys, token=base64.b64encode(f"jwt/{jwt}".encode()).decode())


def test_locally_signed_credentials_without_the_right_to_delete(shared_stand_in: StandIn, bucket: str) -> None:
    parent = shared_stand_in.create_token("parent", bucket)
    client = signed_locally(shared_stand_in, bucket, parent, actions=["PutObject", "GetObject"])
    client.put_object(Bucket=bucket, Key="free/new", Body=b"x")
    assert refused(client.delete_object, Bucket=bucket, Key="free/new") == ("AccessDenied", 403)
    late = signed_locally(shared_stand_in, bucket, parent, lifetime=-1)
    assert refused(late.get_object, Bucket=bucket, Key="data/old") == ("Unauthorized", 401)
    long = signed_locally(shared_stand_in, bucket, parent, lifetime=604801)
    assert refused(long.get_object, Bucket=bucket, Key="data/old") == ("Unauthorized", 401)
    narrow = signed_locally(shared_stand_in, bucket, parent, paths={"prefixPaths": ["data/"], "objectPaths": []})
    assert narrow.list_objects_v2(Bucket=bucket, Prefix="data/")["KeyCount"] == 1
    assert refused(narrow.list_objects_v2, Bucket=bucket, Prefix="") == ("AccessDenied", 403)
    forged = signed_locally(shared_stand_in, bucket, {**parent, "secret_access_key": "0" * 64})
    assert refused(forged.get_object, Bucket=bucket, Key="data/old") == ("Unauthorized", 401)
