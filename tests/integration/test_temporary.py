# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module r2_temporary_credentials; the stand-in checks what it signs, boto3 uses it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.temporary_credentials import (
    TemporaryError,
    period_of,
)
from botocore.exceptions import ClientError

from tests.integration.examples import documentation, run_examples
from tests.stand_in.client import StandIn
from tests.stand_in.others import code_of, new_bucket, s3_client
from tests.support.running import Ansible

BUCKET = "backups"


def answer(stand_in: StandIn, made: dict[str, Any], key: str, bucket: str = BUCKET) -> str:
    """What a write comes to."""
    try:
        s3_client(stand_in, made, token=made["session_token"]).put_object(Bucket=bucket, Key=key, Body=b"x")
    except ClientError as error:
        return code_of(error)[0]
    return "ok"


def test_credentials_reach_what_they_are_for_until_they_end(ansible: Ansible, stand_in: StandIn) -> None:
    for bucket in (BUCKET, "others"):
        new_bucket(stand_in, bucket)
    parent = stand_in.create_token("parent")
    asked: dict[str, Any] = {
        "account_id": stand_in.account_id,
        "s3_endpoint": stand_in.s3_endpoint,
        "access_key_id": parent["access_key_id"],
        "secret_access_key": parent["secret_access_key"],
        "bucket": BUCKET,
        "prefix": "web1",
    }
    made = ansible.module("r2_temporary_credentials", **asked)
    assert set(made) - {"changed", "invocation"} == set(documentation("r2_temporary_credentials", "RETURN"))
    assert parent["secret_access_key"] not in str(made)
    again = ansible.module("r2_temporary_credentials", **asked)
    assert again["session_token"] == made["session_token"], "a second run changes something on the host"
    assert answer(stand_in, made, "web1/data/x") == "ok"
    assert answer(stand_in, made, "web2/data/x") == answer(stand_in, made, "x", "others") == "AccessDenied"
    reader = ansible.module("r2_temporary_credentials", **asked, permission="read_only")
    assert answer(stand_in, reader, "web1/data/x") == "AccessDenied"
    changed = {**made, "session_token": made["session_token"][:-8] + "AAAAAAA="}
    assert answer(stand_in, changed, "web1/data/x") == "Unauthorized"
    stand_in.settings(clock_offset=604_900.0, max_skew=1_000_000.0)
    assert answer(stand_in, made, "web1/data/x") == "Unauthorized"

    wrong = [({"valid_seconds": 604801}, "are not made"), ({"refresh_seconds": 500000}, "at most half")]
    for arguments, sentence in [*wrong, ({"session_token": "x"}, "cannot be the parent")]:
        result = ansible.module("r2_temporary_credentials", **{**asked, **arguments})
        assert result["failed"] and sentence in result["msg"]


def test_examples(ansible: Ansible, stand_in: StandIn) -> None:
    run = run_examples(ansible, stand_in, "r2_temporary_credentials")
    assert run.exit_code == 0, run.output


@pytest.mark.parametrize("now", [0.0, 86399.9, 86400.0, 1.7e9 + 0.5])
def test_whoever_gets_them_has_time_left(now: float) -> None:
    begin, end = period_of(now, 604800, 86400)
    assert begin <= now < begin + 86400 and end - now > 604800 - 86400 - 1
    with pytest.raises(TemporaryError):
        period_of(now, 899, 10)
