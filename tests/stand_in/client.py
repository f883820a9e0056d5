# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in from the outside: start it, set it, ask it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
from pathlib import Path
from types import TracebackType
from typing import Any, Optional
from urllib.parse import urlsplit

from tests.support.preloaded import STAND_IN, Forked


class StandIn:
    """A running stand-in, in a process of its own."""

    def __init__(self, process: Forked, ready: dict[str, str]) -> None:
        self._process = process
        self.url = ready["url"]
        self.account_id = ready["account_id"]
        self.api_token = ready["api_token"]
        self.token_id = ready["token_id"]

    @classmethod
    def start(
        cls,
        data: Optional[Path] = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        account_id: Optional[str] = None,
        api_token: Optional[str] = None,
        **settings: Any,
    ) -> StandIn:
        """Start one; without a folder its data ends with it."""
        arguments = ["--host", host, "--port", str(port)]
        for option, value in (("--data", data), ("--account-id", account_id), ("--api-token", api_token)):
            arguments += [option, str(value)] if value else []
        reading, writing = os.pipe()
        with open(reading, encoding="utf-8") as told, open(writing, "wb") as telling, open(os.devnull, "rb") as nothing:
            process = Forked(STAND_IN, arguments, os.environ, [nothing.fileno(), telling.fileno(), 2])
            telling.close()
            line = told.readline()
        if not line:
            raise RuntimeError("The stand-in did not start; its own message is on stderr.")
        found = cls(process, json.loads(line))
        if settings:
            found.settings(**settings)
        return found

    def __enter__(self) -> StandIn:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.stop()

    @property
    def api_url(self) -> str:
        """Base URL of the REST API."""
        return f"{self.url}/client/v4"

    @property
    def s3_endpoint(self) -> str:
        """Endpoint of the S3 API."""
        return self.url

    @property
    def access_key_id(self) -> str:
        """S3 access key of the token that may do everything."""
        return self.token_id

    @property
    def secret_access_key(self) -> str:
        """S3 secret of the token that may do everything."""
        return hashlib.sha256(self.api_token.encode()).hexdigest()

    def ask(self, route: str, /, *, timeout: float = 60.0, **values: Any) -> Any:
        """Call one of the routes below /_stand_in/."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=timeout)
        try:
            connection.request("POST", f"/_stand_in/{route}", json.dumps(values))
            answer = connection.getresponse()
            document = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(document["error"])
        return document

    def settings(self, **values: Any) -> dict[str, Any]:
        """Change settings (see settings.py); returns all."""
        return dict(self.ask("settings", **values))

    def fault(self, **values: Any) -> None:
        """Set a fault (see faults.py)."""
        self.ask("fault", **values)

    def clear_faults(self) -> None:
        """Take all faults away, and a block by the rate limit with them."""
        self.ask("clear_faults")

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """The request log after that number."""
        return list(self.ask("requests", since=since))

    def last_request(self) -> int:
        """The number of the newest request."""
        found = self.requests()
        return int(found[-1]["n"]) if found else 0

    def wait_for_request(
        self, timeout: float = 30.0, *, since: int = 0, arrived: bool = False, **wanted: Any
    ) -> dict[str, Any]:
        """Wait until a request was answered (arrived: until it came in); path and agent are regular expressions."""
        found = self.ask("wait", timeout=timeout + 10, wanted=wanted, since=since, arrived=arrived, seconds=timeout)
        if found is None:
            raise TimeoutError(f"No request {wanted} came within {timeout} s.")
        return dict(found)

    def ledger(self) -> dict[str, list[dict[str, Any]]]:
        """Exposures and destructive requests."""
        return dict(self.ask("ledger"))

    def clear_log(self) -> None:
        """Forget requests, past exposures and destructive requests."""
        self.ask("clear_log")

    def set_upload_time(self, bucket: str, key: str, time: str) -> None:
        """Change when an object was stored."""
        self.ask("set_upload_time", bucket=bucket, key=key, time=time)

    def copy_bucket(self, source: str, target: str) -> None:
        """Put every object of a bucket into another that exists, as it is, in spite of all lock rules."""
        self.ask("copy_bucket", source=source, target=target)

    def create_token(
        self, name: str, bucket: Optional[str] = None, write: bool = True, jurisdiction: str = "default"
    ) -> dict[str, str]:
        """Make a token for one bucket, or for R2 as a whole: id, value, access_key_id, secret_access_key."""
        return dict(self.ask("create_token", name=name, bucket=bucket, write=write, jurisdiction=jurisdiction))

    def objects(self, bucket: str, jurisdiction: str = "default") -> list[str]:
        """The keys of a bucket."""
        return list(self.ask("objects", bucket=bucket, jurisdiction=jurisdiction))

    def rules(self, bucket: str, jurisdiction: str = "default") -> list[dict[str, Any]]:
        """The lock rules of a bucket as they are written down."""
        return list(self.ask("rules", bucket=bucket, jurisdiction=jurisdiction))

    def _end(self, number: int) -> None:
        self._process.send_signal(number)
        assert self._process.wait(60) is not None, f"the stand-in did not end by signal {number}"

    def stop(self) -> None:
        """End it in an orderly way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._end(signal.SIGKILL)
