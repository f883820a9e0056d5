# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody does who has become root on a host: uses all that is found there against every repository.

Runs from that host's network until its standard input ends, then prints what was tried as JSON.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import boto3
from botocore.client import Config
from botocore.exceptions import ClientError

PARTS = ("config", "data/", "index/", "keys/", "snapshots/")


class Hostile:
    """One set of stolen keys, and what came of using them."""

    def __init__(self, loot: dict[str, Any]) -> None:
        self.loot = loot
        self.done: dict[str, str] = {}
        # An object of each part of each bucket: what is not there could be deleted under any lock.
        self.seen: dict[tuple[str, str], str] = {}
        self.s3 = boto3.client(
            "s3",
            endpoint_url=loot["endpoint"],
            region_name="auto",
            aws_access_key_id=loot["aws_access_key_id"],
            aws_secret_access_key=loot["aws_secret_access_key"],
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def attempt(self, what: str, action: Callable[[], Any]) -> None:
        """Try one thing; what once worked is not forgotten."""
        try:
            answer = action()
            outcome = "done" if not (isinstance(answer, dict) and answer.get("Errors")) else answer["Errors"][0]["Code"]
        except ClientError as error:
            outcome = error.response["Error"]["Code"]
        except urllib.error.HTTPError as error:
            outcome = str(error.code)
        if self.done.get(what) != "done":
            self.done[what] = outcome

    def strike(self, whose: str, bucket: str) -> None:
        """Everything that S3 keys can be used for against one bucket."""
        for part in PARTS:
            with contextlib.suppress(ClientError):
                listed = self.s3.list_objects_v2(Bucket=bucket, Prefix=part, MaxKeys=1)
                for entry in listed.get("Contents", []):
                    self.seen[bucket, part] = entry["Key"]
            key = self.seen.get((bucket, part), part + "0" * 64)
            self.attempt(f"{whose} overwrite {part}", lambda k=key: self.s3.put_object(Bucket=bucket, Key=k, Body=b""))
            self.attempt(f"{whose} delete {part}", lambda k=key: self.s3.delete_object(Bucket=bucket, Key=k))
            several = {"Objects": [{"Key": key}]}
            self.attempt(
                f"{whose} delete many {part}", lambda s=several: self.s3.delete_objects(Bucket=bucket, Delete=s)
            )
            self.attempt(f"{whose} read {part}", lambda k=key: self.s3.get_object(Bucket=bucket, Key=k))
        rule = {"ID": "all", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
        rules = {"Rules": [rule]}
        self.attempt(
            f"{whose} expire",
            lambda: self.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=rules),
        )
        self.attempt(f"{whose} delete bucket", lambda: self.s3.delete_bucket(Bucket=bucket))

    def unlock(self, bucket: str) -> None:
        """Ask the account's API to lift the locks, with each secret as its token."""
        for name in ("aws_access_key_id", "aws_secret_access_key", "password"):
            request = urllib.request.Request(
                f"{self.loot['api']}/r2/buckets/{bucket}/lock",
                data=b'{"rules": []}',
                method="PUT",
                headers={"Authorization": f"Bearer {self.loot[name]}", "Content-Type": "application/json"},
            )
            self.attempt(f"unlock with {name}", lambda r=request: urllib.request.urlopen(r, timeout=10))


def main() -> None:
    hostile = Hostile(json.loads(sys.stdin.readline()))
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while True:
        for whose, bucket in hostile.loot["buckets"].items():
            hostile.strike(whose, bucket)
            hostile.unlock(bucket)
        if ended.wait(0.2):
            break
    print(json.dumps(hostile.done))


if __name__ == "__main__":
    main()
