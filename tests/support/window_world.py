# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bucket in a file, for tests of the keeper's processes: what they share is killed with none of them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import LockUpdate
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.api import Denied, Unreachable
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3Object
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.session import WindowSession, WindowSpec

from tests.support.fork import Fork
from tests.support.waiting import happens


class World:
    """The lock document, what was called, and what goes wrong: in a file, because several processes share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.change() as state:
            state.update(rules=lock_set("web1/"), calls=[], faults={}, lag=0, enforced_open=[])

    @contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        # Replaced as a whole, because the processes that share it are killed at any moment.
        with open(self.path.with_suffix(".lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
            yield state
            new = self.path.with_suffix(".new")
            new.write_text(json.dumps(state), encoding="utf-8")
            new.replace(self.path)

    @property
    def state(self) -> dict[str, Any]:
        with self.change() as state:
            return state

    @property
    def disabled(self) -> list[str]:
        return [rule["prefix"] for rule in self.state["rules"] if not rule["enabled"]]

    def wait(self, condition: Callable[[], bool]) -> float:
        """Wait for it; how many seconds that took. If it does not come, tell what was called and what keepers wrote down."""
        start, log = time.monotonic(), self.path.with_suffix(".log")
        if not happens(condition):
            written = log.read_text(encoding="utf-8") if log.exists() else "nothing"
            raise AssertionError(f"This did not come about. Called: {self.state['calls']}. Written down: {written}")
        return time.monotonic() - start


class FakeCloudflare:
    """What the keeper needs of the client, over the file."""

    jurisdiction = "default"
    lost_answers = 0

    def __init__(self, world: World, **settings: Any) -> None:
        self.world = world
        self.retry_timeout = settings["retry_timeout"]
        self.priority = 0

    def server_time(self) -> datetime:
        return datetime.now(timezone.utc) + timedelta(hours=5)

    def _call(self, name: str) -> None:
        with self.world.change() as state:
            state["calls"].append(name)
            fault = state["faults"].get(name) or []
            happens = fault.pop(0) if fault else None
        if happens == "slow":
            time.sleep(600)
        if happens == "lost":
            raise Unreachable("No answer.")
        if happens == "denied":
            raise Denied("The token may not do this.")

    def lock_rules(self, bucket: str, *, retry_timeout: float | None = None) -> list[dict[str, Any]]:
        self._call("GET")
        return self.world.state["rules"]

    def replace_lock_rules(
        self, bucket: str, rules: list[dict[str, Any]], *, answered: Callable[[], object] = lambda: None
    ) -> list[dict[str, Any]]:
        self._call("PUT")
        with self.world.change() as state:
            state["rules"] = rules
        answered()
        self._call("after PUT")
        return self.lock_rules(bucket)

    def update_lock_rules(
        self, bucket: str, change: Any, *, ready: Any, always: Any = None, known: Any = None, **_settings: Any
    ) -> LockUpdate:
        before = self.lock_rules(bucket) if known is None else known
        after = change(before)
        if after == before and not (always and always(before)):
            return LockUpdate(before, after, False)
        assert ready(before), "this world has no rivals"
        return LockUpdate(before, self.replace_lock_rules(bucket, after), True)


class FakeS3:
    """Objects below every prefix; locked as the document says, or as the world overrules it."""

    def __init__(self, world: World) -> None:
        self.world = world

    def first_key(self, prefix: str) -> str | None:
        return prefix + "object"

    def put_if(self, key: str, body: bytes, *, etag: str | None = None) -> str | None:
        with self.world.change() as state:
            if state.get("mutex") != etag:
                return None
            state["mutex"], state["mutex_time"] = hashlib.md5(body).hexdigest(), time.time()
            return str(state["mutex"])

    def head(self, key: str) -> S3Object | None:
        state = self.world.state
        moment = datetime.fromtimestamp(state.get("mutex_time", 0), timezone.utc) + timedelta(hours=5)
        return S3Object(key, 16, moment, state["mutex"]) if state.get("mutex") else None

    def delete(self, key: str) -> None:
        with self.world.change() as state:
            state["mutex"] = None

    def probe(self, key: str, *, present: bool = False) -> str:
        state = self.world.state
        if any(key.startswith(prefix) for prefix in state.get("never_open", [])):
            return "locked"
        locked = any(rule["enabled"] and key.startswith(rule["prefix"]) for rule in state["rules"])
        return "locked" if locked else "open"


def spec_of(world: World, **changes: Any) -> WindowSpec:
    values: dict[str, Any] = {
        "bucket": "backup-web1",
        "prefix": "web1",
        "parts": ("index", "data"),
        "cloudflare": lambda **settings: FakeCloudflare(world, **settings),
        "s3": lambda **settings: FakeS3(world),
        # A minute, so that a busy machine is not taken for a failure; who waits for a failure sets less.
        "open_timeout": 60.0,
        "close_timeout": 60.0,
        "grace_seconds": 60.0,
        "log_path": str(world.path.with_suffix(".log")),
    }
    return WindowSpec(**{**values, **changes})


def in_child(spec: WindowSpec, work: Callable[[WindowSession], None]) -> tuple[int, int]:
    """Run a window in a process of its own, as a module would; returns its pid and a pipe that tells the holder."""
    reading, writing = os.pipe()

    def hold() -> int:
        with WindowSession(spec) as window:
            os.write(writing, f"{window._pid}\n".encode())
            work(window)
        return 0

    child = Fork(hold)
    os.close(writing)
    return child.pid, reading


def in_a_process_of_one_thread(test: Callable[[], None]) -> None:
    """Run what blocks signals as a module's process does: in one with more threads, another one would get them."""

    def alone() -> int:
        test()
        return 0

    assert Fork(alone).wait() == 0, "see the traceback above"
