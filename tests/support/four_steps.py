# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules against a stand-in, with the four steps of every change: check, do, check again, do again."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from tests.stand_in.client import StandIn
from tests.support.running import Ansible


class Modules:
    """Runs modules with the account and the token of a stand-in.

    Attributes:
        calls: The REST calls of the last run: method and what comes after /r2 in the path.
    """

    def __init__(self, ansible: Ansible, stand_in: StandIn) -> None:
        self.ansible = ansible
        self.stand_in = stand_in
        self.calls: list[str] = []
        self._connection = {
            "account_id": stand_in.account_id,
            "api_token": stand_in.api_token,
            "api_url": stand_in.api_url,
        }

    def try_(self, name: str, /, *, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        """The result of a module, failed or not."""
        since = self.stand_in.last_request()
        there = {"AWS_ENDPOINT_URL_S3": self.stand_in.s3_endpoint}
        arguments = {**self._connection, **arguments}
        result = self.ansible.module(name, check_mode=check_mode, environment=there, **arguments)
        asked = [one for one in self.stand_in.requests(since) if one["kind"] == "rest"]
        self.calls = [f"{one['method']} {one['path'].rpartition('/r2')[2]}" for one in asked]
        return result

    def run(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        result = self.try_(name, **arguments)
        assert not result.get("failed"), result
        return result

    def fail(self, name: str, /, **arguments: Any) -> str:
        """The message of a module that must fail, and must not have written anything."""
        result = self.try_(name, **arguments)
        assert result.get("failed"), result
        assert "Traceback" not in str(result)
        return str(result["msg"])

    def four_steps(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        """Make a change; the result of doing it."""
        check = self.run(name, check_mode=True, **arguments)
        assert check["changed"] is True, check
        assert not self.wrote, self.calls
        done = self.run(name, **arguments)
        assert done["changed"] is True, done
        assert done["diff"]["before"] != done["diff"]["after"]
        for check_mode in (True, False):
            again = self.run(name, check_mode=check_mode, **arguments)
            assert again["changed"] is False, again
            assert again["diff"]["before"] == again["diff"]["after"]
            assert not self.wrote, self.calls
        return done

    @property
    def wrote(self) -> bool:
        """Whether the last run sent more than reads."""
        return any(not call.startswith("GET ") for call in self.calls)

    def put(self, bucket: str, *keys: str) -> None:
        """Store objects."""
        stand_in = self.stand_in
        s3 = boto3.client(
            "s3",
            endpoint_url=stand_in.s3_endpoint,
            aws_access_key_id=stand_in.access_key_id,
            aws_secret_access_key=stand_in.secret_access_key,
            region_name="auto",
            # R2 takes one write of a key in a second: the second one has to be tried for longer.
            config=Config(retries={"mode": "standard", "total_max_attempts": 10}),
        )
        for key in keys:
            s3.put_object(Bucket=bucket, Key=key, Body=b"x")
