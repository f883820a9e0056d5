# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One bucket's lock document and the tokens of its hosts, in memory: keeper, fence and guard run over it in no time.

Time passes only when somebody sleeps. Each call has a label, such as "PUT lock" or "PUT token t1", and a test says what
happens to the calls of a label, one after the other.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.message import Message
from email.utils import format_datetime
from functools import partial
from typing import Any, Protocol
from unittest import mock
from urllib.error import HTTPError

from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks import change as _lock_change
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks import mutex as _mutex
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks import probe as _prober
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import CloudflareLocks
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3Error, S3Object
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import closer as _closer
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import control as _control
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import fence as _fence
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import guard as _relock
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import keeper as _keeper
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.control import Control
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.settings import WindowSpec

EPOCH = datetime(2026, 11, 1, tzinfo=timezone.utc)
ACCOUNT_ID = "0" * 32
BUCKET = "backup-web1"
LATENCY = 0.05


@dataclass(frozen=True)
class Lost:
    """No answer comes. What was asked takes effect at once, after so many seconds, or never (None)."""

    effect: float | None = 0.0


@dataclass(frozen=True)
class Refused:
    """An answer with this status and this code of the API."""

    status: int
    code: int = 10000


def token(token_id: str, name: str, status: str = "active", bucket: str = BUCKET) -> dict[str, Any]:
    """A token that reaches one bucket."""
    resource = f"com.cloudflare.edge.r2.bucket.{ACCOUNT_ID}_default_{bucket}"
    group = {"id": "2efd5506f9c8494dacb1fa10a3e7d5b6", "name": "Workers R2 Storage Bucket Item Write"}
    policy = {"id": "p", "effect": "allow", "resources": {resource: "*"}, "permission_groups": [group]}
    return {"id": token_id, "name": name, "status": status, "policies": [policy]}


class Account:
    """What Cloudflare and R2 hold, and what happens to those who ask.

    Attributes:
        script: What happens to the next calls of a label: Lost, Refused, a function that is called before, or None.
        stale: Rules that the next reads of the lock document get instead.
        calls: The labels of all calls, in order.
        at_call: What happens just before the call of this number, counted from 0.
        enforced: How long, in seconds, R2 takes the keys of a token after it was disabled.
        empty: Whether there is no object at all, so that no lock can be probed.
        told: What was so when a keeper told its parent "opened" or "closed".
    """

    def __init__(self, rules: list[dict[str, Any]], *tokens: dict[str, Any]) -> None:
        self.rules = rules
        self.tokens = {one["id"]: one for one in tokens}
        self.script: dict[str, list[Any]] = {}
        self.stale: list[list[dict[str, Any]]] = []
        self.calls: list[str] = []
        self.at_call: dict[int, Callable[[], object]] = {}
        self.now = self.asleep = 0.0
        self.later: list[tuple[float, Callable[[], object]]] = []
        self.enforced = 0.0
        self.disabled_at: dict[str, float] = {}
        self.mutex: tuple[str, float] | None = None
        self.empty = False
        self.told: dict[str, dict[str, Any]] = {}

    # Time ------------------------------------------------------------------------------------------------------------

    def clock(self) -> float:
        return self.now

    def awake(self) -> float:
        return self.now - self.asleep

    def sleep(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((entry for entry in self.later if entry[0] <= end), key=lambda entry: entry[0]):
            self.later.remove(due[0])
            self.now = max(self.now, due[0][0])
            due[0][1]()
        self.now = max(self.now, end)

    def suspend(self, seconds: float) -> None:
        """The machine of the node stands still for so long."""
        self.asleep += seconds
        self.sleep(seconds)

    def at(self, moment: float, work: Callable[[], object]) -> None:
        self.later.append((moment, work))

    def server_now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.now)

    # Cloudflare ------------------------------------------------------------------------------------------------------

    def client(self, **settings: Any) -> CloudflareLocks:
        settings = {"sleep": self.sleep, "monotonic": self.clock, **settings}
        return CloudflareLocks("token", ACCOUNT_ID, url="https://api.example", open_url=self.open_url, **settings)

    def open_url(self, url: str, *, method: str, data: bytes | None = None, **_unused: Any) -> Answer:
        self.sleep(LATENCY)
        path = re.sub(r"\?.*", "", url).rpartition("/accounts/" + ACCOUNT_ID)[2]
        body = json.loads(data) if data else None
        label, work = self._route(method, path, body)
        self.calls.append(label)
        self.at_call.pop(len(self.calls) - 1, lambda: None)()
        happens = self.happens(label)
        if callable(happens):
            happens()
        if isinstance(happens, Refused):
            raise self._refusal(url, happens)
        if isinstance(happens, Lost):
            if happens.effect is not None:
                self.at(self.now + happens.effect, work)
                self.sleep(0.0)
            raise TimeoutError("timed out")
        result = work()
        if result is None:
            raise self._refusal(url, Refused(404, 1003))
        return Answer(result, self._headers())

    def happens(self, label: str) -> Any:
        """What happens to this call."""
        return self.script[label].pop(0) if self.script.get(label) else None

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

    def _write_rules(self, rules: list[dict[str, Any]]) -> Any:
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
        body = {"success": False, "errors": [{"code": refused.code, "message": "no"}], "messages": [], "result": None}
        return HTTPError(url, refused.status, "no", self._headers(), io.BytesIO(json.dumps(body).encode()))

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


class Objects:
    """The bucket as S3 shows it: an object below every prefix, and the mutex."""

    def __init__(self, account: Account, token_id: str = "", **_settings: Any) -> None:
        self.account = account
        self.token_id = token_id

    def first_key(self, prefix: str) -> str | None:
        self.account.sleep(LATENCY)
        if self.account.empty:
            return None
        if self.token_id and not self.account.lets_in(self.token_id):
            raise S3Error("refused", status=403)
        return prefix + "object"

    def probe(self, key: str, *, present: bool = False) -> str:
        self.account.sleep(LATENCY)
        held = any(rule["enabled"] and key.startswith(rule["prefix"]) for rule in self.account.rules)
        return "locked" if held else "open"

    def put_if(self, _key: str, body: bytes, *, etag: str | None = None) -> str | None:
        found = self.account.mutex
        if (found[0] if found else None) != etag:
            return None
        self.account.mutex = (hashlib.md5(body).hexdigest(), self.account.now)
        return self.account.mutex[0]

    def head(self, key: str) -> S3Object | None:
        found = self.account.mutex
        return S3Object(key, 16, EPOCH + timedelta(seconds=found[1]), found[0]) if found else None

    def delete(self, _key: str) -> None:
        self.account.mutex = None


class Clock(Protocol):
    """What time it is, and how to wait."""

    now: float

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""


class Parent(Control):
    """A keeper's view of a parent that is done, or dead, at some moment."""

    def __init__(self, account: Clock, moment: float, reason: str = Control.CLOSE) -> None:
        self.account = account
        self.moment = moment
        self.wanted = reason
        self.workers = {}

    def wait(self, seconds: float) -> str | None:
        if self.account.now < self.moment:
            self.account.sleep(min(max(seconds, 0.0), self.moment - self.account.now))
        return self.wanted if self.account.now >= self.moment else None

    def calm(self) -> None:
        pass

    @contextmanager
    def interrupting(self, due: Callable[[], str | None]) -> Iterator[None]:
        yield

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        yield

    def interrupt_workers(self) -> None:
        pass

    def end_workers(self, seconds: float) -> None:
        pass


@contextmanager
def clocks_of(account: Account) -> Iterator[None]:
    """Everything of a keeper goes by the account's time."""
    modules = (_keeper, _closer, _prober, _mutex, _fence, _control, _lock_change, _relock)
    patches: list[Any] = [
        mock.patch.object(module, "elapsed", account.clock) for module in modules if hasattr(module, "elapsed")
    ]
    patches += [mock.patch.object(module, "awake", account.awake) for module in modules if hasattr(module, "awake")]
    patches += [
        mock.patch.object(_closer.time, "sleep", account.sleep),
        mock.patch.object(_closer, "Journal", mock.Mock()),
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in reversed(patches):
            patch.stop()


def spec_of(account: Account, kind: type[WindowSpec] = WindowSpec, **changes: Any) -> WindowSpec:
    values: dict[str, Any] = {
        "bucket": BUCKET,
        "prefix": "",
        "parts": ("index", "data"),
        "cloudflare": account.client,
        "s3": partial(Objects, account),
        "open_timeout": 60.0,
        "close_timeout": 900.0,
    }
    return kind(**{**values, **changes})


def keep(
    account: Account, spec: WindowSpec, moment: float, kind: type[_keeper.Keeper] = _keeper.Keeper
) -> dict[str, Any]:
    """Let a keeper live until its parent is done at this moment; returns its report."""
    status = os.open(os.devnull, os.O_WRONLY)

    class Telling(kind):  # type: ignore[misc, valid-type]
        def _tell(self, event: str) -> None:
            states = {one["id"]: one["status"] for one in account.tokens.values()}
            calls = list(account.calls)
            account.told[event] = {"now": account.now, "rules": account.rules, "tokens": states, "calls": calls}

    try:
        with clocks_of(account):
            keeper = Telling(spec, secrets.token_hex(8), Parent(account, moment), status)
            keeper.run()
            return keeper.report
    finally:
        os.close(status)
