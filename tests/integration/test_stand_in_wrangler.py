# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in as wrangler, Cloudflare's own CLI, sees it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.stand_in.client import StandIn
from tests.stand_in.others import new_bucket
from tests.support.running import ROOT

NO_NPM = 3


@pytest.fixture(name="command", scope="module")
def fixture_command() -> list[str]:
    """What to run wrangler with."""
    done = subprocess.run(
        [ROOT / "tools" / "get_wrangler.sh"], capture_output=True, text=True, timeout=280, check=False
    )
    if done.returncode == NO_NPM:
        pytest.skip("WRANGLER WAS NOT TRIED: there is no npm on this machine.")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(name="lock")
def fixture_lock(command: list[str], shared_stand_in: StandIn, tmp_path: Path) -> Any:
    """Run wrangler r2 bucket lock."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "CI": "1",
        "CLOUDFLARE_API_BASE_URL": shared_stand_in.api_url,
        "CLOUDFLARE_API_TOKEN": shared_stand_in.api_token,
        "CLOUDFLARE_ACCOUNT_ID": shared_stand_in.account_id,
        "WRANGLER_SEND_METRICS": "false",
        "WRANGLER_HIDE_BANNER": "true",
    }

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*command, "r2", "bucket", "lock", *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.mark.sample(of="stories")
def test_locks_by_wrangler(shared_stand_in: StandIn, lock: Any, tmp_path: Path) -> None:
    bucket = new_bucket(shared_stand_in, "wrangler")
    lock("add", bucket, "first", "web1/data/", "--retention-indefinite", "--force")
    lock("add", bucket, "second", "web1/keys/", "--retention-days", "2", "--force")
    first = {"id": "first", "enabled": True, "prefix": "web1/data/", "condition": {"type": "Indefinite"}}
    age = {"type": "Age", "maxAgeSeconds": 172800}
    second = {"id": "second", "enabled": True, "prefix": "web1/keys/", "condition": age}
    assert shared_stand_in.rules(bucket) == [first, second]
    listed = lock("list", bucket).stdout
    assert "web1/data/" in listed
    assert "web1/keys/" in listed
    lock("remove", bucket, "--name", "first")
    assert shared_stand_in.rules(bucket) == [second]
    (tmp_path / "rules.json").write_text(json.dumps({"rules": [first]}))
    lock("set", bucket, "--file", str(tmp_path / "rules.json"), "--force")
    assert shared_stand_in.rules(bucket) == [first]


@pytest.mark.long
def test_missing_bucket_by_wrangler(lock: Any) -> None:
    done = lock("list", "no-such-bucket", check=False)
    assert done.returncode != 0
    assert "10006" in done.stdout + done.stderr
