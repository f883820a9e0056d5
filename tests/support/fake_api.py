# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fake of Cloudflare's API and of a bucket that windows, fences and guards are tested with.

The real clients ask it, below them there is no network. Each call has a label, such as "PUT lock" or "PUT token t1". A
subclass says what time it is, what happens to a call, and where the rules are kept. That it answers as the stand-in does is
held by tests/integration/test_fake_api.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.message import Message
from email.utils import format_datetime
from functools import partial
from typing import Any, Optional
from urllib.error import HTTPError

from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import CloudflareLocks
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3Error, S3Object

EPOCH = datetime(2026, 11, 1, tzinfo=timezone.utc)
ACCOUNT_ID = "0" * 32
BUCKET = "backup-web1"
LATENCY = 0.05

Rule = dict[str, Any]


@dataclass(frozen=True)
class Lost:
    """No answer comes. What was asked takes effect at once, after so many seconds, or never (None)."""

    effect: float | None = 0.0


@dataclass(frozen=True)
class Refused:
    """An answer with this status and this code of the API, and perhaps the seconds after which to ask again."""

    status: int
    code: int = 10000
    retry_after: int | None = None


def token(token_id: str, name: str, status: str = "active", bucket: str = BUCKET) -> dict[str, Any]:
    """A token that reaches one bucket."""
    resource = f"com.cloudflare.edge.r2.bucket.{ACCOUNT_ID}_default_{bucket}"
    group = {"id": "2efd5506f9c8494dacb1fa10a3e7d5b6", "name": "Workers R2 Storage Bucket Item Write"}
    policy = {"id": "p", "effect": "allow", "resources": {resource: "*"}, "permission_groups": [group]}
    return {"id": token_id, "name": name, "status": status, "policies": [policy]}


class FakeApi:
    """What Cloudflare and R2 hold, and how they answer.

    Attributes:
        rules: The lock document of the one bucket.
        tokens: The tokens of the account, by id.
        mutex: The ETag of the mutex of the bucket, and when it was written; None when there is no such object.
        now: The time, in seconds since EPOCH.
        stale: Rules that the next reads of the lock document get instead.
        calls: The labels of all calls, in order.
        enforced: How long, in seconds, R2 takes the keys of a token after it was disabled.
        empty: Whether there is no object at all, so that no lock can be probed.
        never_open: Prefixes on which R2 enforces a lock whatever the document says.
    """

    rules: list[Rule]
    mutex: Optional[tuple[str, float]]
    calls: list[str]
    never_open: list[str]
    now: float

    def __init__(self, rules: list[Rule], *tokens: dict[str, Any]) -> None:
        self.rules = rules
        self.tokens = {one["id"]: one for one in tokens}
        self.mutex = None
        self.calls = []
        self.never_open = []
        self.stale: list[list[Rule]] = []
        self.enforced = 0.0
        self.disabled_at: dict[str, float] = {}
        self.empty = False

    # What a subclass decides -----------------------------------------------------------------------------------------

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""
        raise NotImplementedError

    def clock(self) -> float:
        return self.now

    def awake(self) -> float:
        """The same without the time in which the machine of the node stood still."""
        return self.now

    def server_now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.now)

    def at(self, moment: float, work: Callable[[], object]) -> None:
        """Do this at that time."""
        raise NotImplementedError

    def happens(self, label: str) -> Any:
        """What happens to this call: Lost, Refused, a function that is called before, or None."""

    def asked(self, label: str) -> None:
        self.calls.append(label)

    # Cloudflare ------------------------------------------------------------------------------------------------------

    def client(self, **settings: Any) -> CloudflareLocks:
        """The real client, which asks here."""
        settings = {"sleep": self.sleep, "monotonic": self.clock, **settings}
        return CloudflareLocks("token", ACCOUNT_ID, url="https://api.example", open_url=self.open_url, **settings)

    def open_url(self, url: str, *, method: str, data: bytes | None = None, **_unused: Any) -> Answer:
        """One request, as open_url() of Ansible makes it."""
        self.sleep(LATENCY)
        path = re.sub(r"\?.*", "", url).rpartition("/accounts/" + ACCOUNT_ID)[2]
        label, work = self._route(method, path, json.loads(data) if data else None)
        self.asked(label)
        happens = self.happens(label)
        if callable(happens):
            happens()
        if isinstance(happens, Refused):
            raise self._refusal(url, happens)
        if isinstance(happens, Lost):
            if happens.effect is not None:
                self.at(self.now + happens.effect, work)
            raise TimeoutError("timed out")
        result = work()
        if result is None:
            raise self._refusal(url, Refused(404, 1003))
        return Answer(result, self._headers())

    def _route(self, method: str, path: str, body: Any) -> tuple[str, Callable[[], Any]]:
        if path.endswith("/lock"):
            return f"{method} lock", partial(self._write_rules, body["rules"]) if body else self._read_rules
        if path == "/tokens":
            return f"{method} tokens", lambda: [dict(one) for one in self.tokens.values()]
        if path == "/tokens/permission_groups":
            return f"{method} groups", list
        token_id = path.rpartition("/")[2]
        label = f"{method} token {token_id}"
        if method == "PUT":
            return label, partial(self._write_token, token_id, body)
        return label, lambda: dict(self.tokens[token_id]) if token_id in self.tokens else None

    def _read_rules(self) -> Any:
        return {"rules": self.stale.pop(0) if self.stale else self.rules}

    def _write_rules(self, rules: list[Rule]) -> Any:
        self.rules = rules
        return {}

    def _write_token(self, token_id: str, body: dict[str, Any]) -> Any:
        if token_id not in self.tokens:
            return None
        self.tokens[token_id] = {"status": "active", **body, "id": token_id}
        if body.get("status") == "disabled":
            self.disabled_at[token_id] = self.now
        return dict(self.tokens[token_id])

    def _headers(self) -> Message:
        headers = Message()
        headers["Date"] = format_datetime(self.server_now().replace(microsecond=0), usegmt=True)
        return headers

    def _refusal(self, url: str, refused: Refused) -> HTTPError:
        headers = self._headers()
        if refused.retry_after is not None:
            headers["Retry-After"] = str(refused.retry_after)
        body = {"success": False, "errors": [{"code": refused.code, "message": "no"}], "messages": [], "result": None}
        return HTTPError(url, refused.status, "no", headers, io.BytesIO(json.dumps(body).encode()))

    def lets_in(self, token_id: str) -> bool:
        """Whether R2 takes the keys of a token."""
        found = self.tokens.get(token_id)
        if found is None:
            return False
        return found["status"] == "active" or self.now < self.disabled_at.get(token_id, 0.0) + self.enforced


class Answer:
    """What open_url() returns."""

    code = 200

    def __init__(self, result: Any, headers: Message) -> None:
        self.headers = headers
        self._content = json.dumps({"success": True, "errors": [], "messages": [], "result": result}).encode()

    def read(self) -> bytes:
        return self._content

    def close(self) -> None:
        pass


class FakeBucket:
    """The bucket as the client of S3 shows it: an object below every prefix, and the mutex."""

    def __init__(self, api: FakeApi, token_id: str = "", **_settings: Any) -> None:
        self.api = api
        self.token_id = token_id

    def first_key(self, prefix: str) -> str | None:
        self.api.sleep(LATENCY)
        if self.api.empty:
            return None
        if self.token_id and not self.api.lets_in(self.token_id):
            raise S3Error("refused", status=403)
        return prefix + "object"

    def probe(self, key: str, *, present: bool = False) -> str:
        self.api.sleep(LATENCY)
        prefixes = [rule["prefix"] for rule in self.api.rules if rule["enabled"]]
        return "locked" if any(key.startswith(prefix) for prefix in [*prefixes, *self.api.never_open]) else "open"

    def put_if(self, key: str, body: bytes, *, etag: str | None = None) -> str | None:
        self.api.sleep(LATENCY)
        found = self.api.mutex
        if (found[0] if found else None) != etag:
            return None
        self.api.mutex = (hashlib.md5(body).hexdigest(), self.api.now)
        return self.api.mutex[0]

    def head(self, key: str) -> S3Object | None:
        self.api.sleep(LATENCY)
        found = self.api.mutex
        written = self.api.server_now() - timedelta(seconds=self.api.now - found[1]) if found else None
        return S3Object(key, 16, written, found[0]) if found and written else None

    def delete(self, key: str) -> None:
        self.api.sleep(LATENCY)
        self.api.mutex = None
