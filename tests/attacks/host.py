# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that an attacker finds on a host: an S3 key pair for its bucket, the repository's password, and restic."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Repository, Restic
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.repository_format import Key, name_of

PARTS = ("config", "keys/", "data/", "index/", "snapshots/")
# What no lock prevents, because every backup does it at its end.
LOCK_REMOVED = "delete a lock"


class Host:
    """A host that somebody has taken over.

    Args:
        endpoint: Where its bucket is.
        bucket: Its bucket.
        pair: Its access key id and its secret access key.
        password: The password of its repository.
        restic_path: Its restic.
        home: A folder of its own.
    """

    def __init__(
        self, endpoint: str, bucket: str, pair: tuple[str, str], password: str, restic_path: str, home: Path
    ) -> None:
        self.bucket = bucket
        self.password = password
        self.home = home
        repository = Repository(
            endpoint=endpoint,
            bucket=bucket,
            prefix="",
            access_key_id=pair[0],
            secret_access_key=pair[1],
            session_token=None,
            password=password,
        )
        self.restic = Restic(repository, path=restic_path, cache_dir=str(home / "cache"))
        self.s3 = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="auto",
            aws_access_key_id=pair[0],
            aws_secret_access_key=pair[1],
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )
        self.added: set[str] = set()
        self.refused: dict[str, int] = {}
        self.done: dict[str, int] = {}

    # Reading ---------------------------------------------------------------------------------------------------------

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """The sizes of the objects, by key."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", ())}

    def ask_restic(self, *args: str) -> Any:
        """The JSON that restic prints, without leaving a lock."""
        return json.loads(self.restic.succeed([*args, "--no-lock", "-q"]).stdout)

    @cached_property
    def master(self) -> Key:
        """The key with which everything in the repository is encrypted."""
        return Key.from_json(self.ask_restic("cat", "masterkey"))

    def packs(self) -> dict[str, list[dict[str, Any]]]:
        """What the index says: the blobs of each pack."""
        found = {}
        for key in self.sizes("index/"):
            for pack in self.ask_restic("cat", "index", key.removeprefix("index/"))["packs"]:
                found[pack["id"]] = pack["blobs"]
        return found

    # Adding, which no lock prevents ----------------------------------------------------------------------------------

    def put(self, key: str, content: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)
        self.added.add(key)

    def put_named(self, part: str, content: bytes) -> str:
        """Put an object where restic looks for this content; its name."""
        name = name_of(content)
        self.put(f"data/{name[:2]}/{name}" if part == "data" else f"{part}/{name}", content)
        return name

    def put_many(self, part: str, contents: Iterable[bytes]) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda content: self.put_named(part, content), contents))

    # Destroying, which it should ------------------------------------------------------------------------------------

    def attempt(self, what: str, call: Callable[..., Any], **arguments: Any) -> bool:
        """Try something, and count what came of it; whether it was done."""
        try:
            answer = call(**arguments)
        except ClientError:
            self.refused[what] = self.refused.get(what, 0) + 1
            return False
        errors = len(answer.get("Errors") or ())
        if errors:
            self.refused[what] = self.refused.get(what, 0) + errors
            return False
        self.done[what] = self.done.get(what, 0) + 1
        return True
