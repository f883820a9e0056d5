# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fake of the API in a file, for tests of the keeper's processes: what they share is killed with none of them."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, Optional

from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.session import WindowSession, WindowSpec

from tests.support.fake_api import BUCKET, FakeApi, FakeBucket, Lost, Refused, Rule
from tests.support.fork import Fork
from tests.support.waiting import happens

# What may be written down to happen to a call.
FAULTS: dict[str, Any] = {
    "fine": None,
    "lost": Lost(None),
    "answer lost": Lost(0.0),
    "denied": Refused(403),
    "slow": partial(time.sleep, 600),
}


def kept(name: str) -> Any:
    """An attribute that is a part of the file."""

    def get(self: ApiInFile) -> Any:
        return self.state[name]

    def put(self: ApiInFile, value: Any) -> None:
        with self.change() as state:
            state[name] = value

    return property(get, put)


class ApiInFile(FakeApi):
    """The API in a file, because several processes share it; in real time, five hours ahead of our clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.change() as state:
            state.update(faults={}, mutexes=[])
        super().__init__(lock_set("web1/"))

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
    def mutex(self) -> Optional[tuple[str, float]]:
        return (self.state["mutexes"] or [None])[-1]

    @mutex.setter
    def mutex(self, value: Optional[tuple[str, float]]) -> None:
        with self.change() as state:
            state["mutexes"].append(value)

    rules: list[Rule] = kept("rules")
    calls: list[str] = kept("calls")
    never_open: list[str] = kept("never_open")

    @property
    def now(self) -> float:  # type: ignore[override]
        return time.time()

    def server_now(self) -> datetime:
        return datetime.now(timezone.utc) + timedelta(hours=5)

    def sleep(self, seconds: float) -> None:
        """Here an answer comes at once."""

    def at(self, moment: float, work: Callable[[], object]) -> None:
        work()

    def asked(self, label: str) -> None:
        with self.change() as state:
            state["calls"].append(label)

    def happens(self, label: str) -> Any:
        with self.change() as state:
            left = state["faults"].get(label) or []
            return FAULTS[left.pop(0)] if left else None

    @property
    def disabled(self) -> list[str]:
        return [rule["prefix"] for rule in self.rules if not rule["enabled"]]

    def wait(self, condition: Callable[[], bool]) -> float:
        """Wait for it; how many seconds that took. If it does not come, tell what was called and what keepers wrote down."""
        start, log = time.monotonic(), self.path.with_suffix(".log")
        if not happens(condition):
            written = log.read_text(encoding="utf-8") if log.exists() else "nothing"
            raise AssertionError(f"This did not come about. Called: {self.calls}. Written down: {written}")
        return time.monotonic() - start


def spec_of(api: ApiInFile, **changes: Any) -> WindowSpec:
    values: dict[str, Any] = {
        "bucket": BUCKET,
        "prefix": "web1",
        "parts": ("index", "data"),
        "cloudflare": api.client,
        "s3": lambda **_settings: FakeBucket(api),
        # A minute, so that a busy machine is not taken for a failure; who waits for a failure sets less.
        "open_timeout": 60.0,
        "close_timeout": 60.0,
        "log_path": str(api.path.with_suffix(".log")),
    }
    return WindowSpec(**{**values, **changes})


def in_child(spec: WindowSpec, work: Callable[[WindowSession], None]) -> tuple[int, int]:
    """Run a window in a process of its own, as a module would; returns its pid and a pipe that tells the holder."""
    reading, writing = os.pipe()

    def hold() -> int:
        with WindowSession(spec) as window:
            os.write(writing, f"{window.keeper_pid}\n".encode())
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
