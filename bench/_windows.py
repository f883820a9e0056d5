# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Windows in which nothing happens, opened and closed by the real keeper with 30 ms added to every request."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import cloudflare_client
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.session import WindowSession, WindowSpec

from bench._scene import LATENCY
from tests.stand_in.client import StandIn


@dataclass(frozen=True)
class Rig:
    """A stand-in, and buckets in it that look like those of locked repositories."""

    stand_in: StandIn
    folder: Path

    def add(self, bucket: str, *prefixes: str) -> list[WindowSpec]:
        """A bucket with a repository below each prefix; what opens a window on each of them."""
        stand_in = self.stand_in
        params = {
            "api_token": stand_in.api_token,
            "account_id": stand_in.account_id,
            "api_url": stand_in.api_url,
            "api_timeout": 30,
            "jurisdiction": "default",
        }
        keys = (stand_in.access_key_id, stand_in.secret_access_key)
        s3 = partial(S3, stand_in.s3_endpoint, *keys, bucket=bucket)
        cloudflare = partial(cloudflare_client, params)
        account = cloudflare()
        account.create_bucket(bucket)
        rules = [rule for prefix in prefixes for rule in lock_set(prefix)]
        for rule in rules:
            s3().put_if(rule["prefix"].replace("/", "/0123"), b"x")
        account.replace_lock_rules(bucket, rules)
        log = str(self.folder / "log")
        parts = ("index", "data")
        return [WindowSpec(bucket, prefix, parts, cloudflare, s3, log_path=log) for prefix in prefixes]


@contextmanager
def rig() -> Iterator[Rig]:
    """A stand-in without buckets. The rate limit of its API counts as ever, in a file of its own."""
    before = os.environ.get("ANSIBLE_HOME")
    with tempfile.TemporaryDirectory() as folder, StandIn.start(latency=LATENCY) as stand_in:
        os.environ["ANSIBLE_HOME"] = folder
        try:
            yield Rig(stand_in, Path(folder))
        finally:
            if before is None:
                del os.environ["ANSIBLE_HOME"]
            else:
                os.environ["ANSIBLE_HOME"] = before


def hold(spec: WindowSpec, times: int = 1) -> None:
    """Open a window and close it at once, so many times."""
    for _time in range(times):
        with WindowSession(spec):
            pass
