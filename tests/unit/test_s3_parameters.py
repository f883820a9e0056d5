# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From options to endpoint and keys, and from boto3's errors to ours."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2 import s3 as _s3
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3, S3Error, endpoint, key_pair

ACCOUNT = "0123456789abcdef0123456789abcdef"


class Token:
    def token_id(self) -> str:
        return "looked-up"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"account_id": ACCOUNT}, f"https://{ACCOUNT}.r2.cloudflarestorage.com"),
        ({"account_id": ACCOUNT, "jurisdiction": "default"}, f"https://{ACCOUNT}.r2.cloudflarestorage.com"),
        ({"account_id": ACCOUNT, "jurisdiction": "eu"}, f"https://{ACCOUNT}.eu.r2.cloudflarestorage.com"),
        ({"account_id": ACCOUNT, "s3_endpoint": "http://127.0.0.1:1/"}, "http://127.0.0.1:1"),
    ],
)
def test_endpoint(params: dict[str, Any], expected: str) -> None:
    assert endpoint(params) == expected


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"account_id": "x"},
        {"account_id": ACCOUNT + "/"},
        {"s3_endpoint": "x.example"},
        {"s3_endpoint": "https://x.example/bucket"},  # as the dashboard shows it
        {"s3_endpoint": "https://x.example?a"},
        {"s3_endpoint": "https://user:secret@x.example"},
    ],
)
def test_no_endpoint(params: dict[str, Any]) -> None:
    with pytest.raises(S3Error) as caught:
        endpoint(params)
    assert "secret" not in str(caught.value)


def test_key_pair() -> None:
    secret = hashlib.sha256(b"value").hexdigest()
    given = {"access_key_id": "a", "secret_access_key": "s", "session_token": "t", "api_token": "value"}
    assert key_pair(given) == ("a", "s", "t")
    assert key_pair({"access_key_id": "a", "api_token": "value"}) == ("a", secret, None)
    assert key_pair({"api_token": "value"}, Token()) == ("looked-up", secret, None)
    assert key_pair({"access_key_id": "a", "api_token": "value\n"}) == ("a", secret, None)
    for params in ({}, {"access_key_id": "a"}, {"secret_access_key": "s"}, {"api_token": "value"}):
        with pytest.raises(S3Error):
            key_pair(params)


@pytest.mark.parametrize("name", ["access_key_id", "secret_access_key", "session_token"])
def test_a_key_with_a_line_end_is_not_shown(name: str) -> None:
    keys = {"access_key_id": "a", "secret_access_key": "s", "session_token": "t", name: "never\nshown"}
    with pytest.raises(S3Error, match=f"^{name} holds characters") as caught:
        key_pair(keys)
    assert "never" not in str(caught.value)


def test_boto3_missing_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_s3.boto3, "__version__", "1.35.99")
    with pytest.raises(S3Error, match=r"boto3 1\.35\.99 is too old; 1\.36\.0 or later"):
        S3("http://127.0.0.1:1", "a", "b", bucket="bucket")
    monkeypatch.setattr(_s3, "BOTO3_IMPORT_ERROR", "ImportError")
    with pytest.raises(S3Error, match="boto3 is not installed"):
        S3("http://127.0.0.1:1", "a", "b", bucket="bucket")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (S3Error("x", code="ObjectLockedByBucketPolicy", status=409), True),
        (S3Error("x", code="10069", status=403), True),
        (S3Error("x", text="The object is locked by the bucket policy", status=403), True),
        (S3Error("x", text="refused (10069)", status=403), True),
        # The name of an object is in the sentence, and anybody can choose it.
        (S3Error("data/locked by the bucket policy (10069)", code="OperationAborted", status=409), False),
        (S3Error("x", code="AccessDenied", status=403), False),
        (S3Error("x", code="PreconditionFailed", status=412), False),
    ],
)
def test_a_lock_is_told_by_code_or_text(error: S3Error, expected: bool) -> None:
    assert error.locked is expected
