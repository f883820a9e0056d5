# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cloudflare's API in memory and in virtual time: keeper, fence and guard run over it in no time.

Time passes only while a client sleeps. A test says what happens to the calls of a label, one after the other.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol
from unittest import mock

from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks import change as _lock_change
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks import mutex as _mutex
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks import probe as _prober
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import closer as _closer
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import control as _control
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import fence as _fence
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import guard as _relock
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import keeper as _keeper
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.control import Control
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.spec import WindowSpec

from tests.support.fake_api import BUCKET, FakeApi, FakeBucket


class Account(FakeApi):
    """What Cloudflare and R2 hold, in virtual time.

    Attributes:
        script: What happens to the next calls of a label: Lost, Refused, a function that is called before, or None.
        at_call: What happens just before the call of this number, counted from 0.
        told: What was so when a keeper told its parent "opened" or "closed".
    """

    def __init__(self, rules: list[dict[str, Any]], *tokens: dict[str, Any]) -> None:
        super().__init__(rules, *tokens)
        self.script: dict[str, list[Any]] = {}
        self.at_call: dict[int, Callable[[], object]] = {}
        self.now = self.asleep = 0.0
        self.later: list[tuple[float, Callable[[], object]]] = []
        self.told: dict[str, dict[str, Any]] = {}

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
        if moment <= self.now:
            self.sleep(0.0)

    def asked(self, label: str) -> None:
        super().asked(label)
        self.at_call.pop(len(self.calls) - 1, lambda: None)()

    def happens(self, label: str) -> Any:
        return self.script[label].pop(0) if self.script.get(label) else None


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


@contextmanager
def clocks_of(account: FakeApi) -> Iterator[None]:
    """Everything of a keeper goes by the account's time."""
    modules = (_keeper, _closer, _prober, _mutex, _fence, _control, _lock_change, _relock)
    patches: list[Any] = [
        mock.patch.object(module, "elapsed", account.clock) for module in modules if hasattr(module, "elapsed")
    ]
    patches += [mock.patch.object(module, "awake", account.awake) for module in modules if hasattr(module, "awake")]
    patches += [
        mock.patch.object(_closer.time, "sleep", account.sleep),
        mock.patch.object(_closer, "SystemLog", mock.Mock()),
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in reversed(patches):
            patch.stop()


def spec_of(account: FakeApi, kind: type[WindowSpec] = WindowSpec, **changes: Any) -> WindowSpec:
    values: dict[str, Any] = {
        "bucket": BUCKET,
        "prefix": "",
        "parts": ("index", "data"),
        "cloudflare": account.client,
        "s3": partial(FakeBucket, account),
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
