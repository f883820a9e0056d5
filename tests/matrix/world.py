# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A world of one lock document in which the real keeper, guard and client run, one step of one of them at a time.

Each actor is a thread that stands still at every request and at every wait. Who goes on, what gets lost, who dies and
how time passes is decided by a string of bytes, so that Hypothesis can look for the worst and tell it shortly.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.mutex import FRESH
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import is_ours, lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import windows

from tests.support.fake_api import EPOCH, LATENCY, FakeApi, FakeBucket, Lost, Refused, Rule

FOREIGN = {"id": "logs", "enabled": True, "prefix": "logs/", "condition": {"type": "Age", "maxAgeSeconds": 1}}
TOO_LONG = 20000
# Who shares a bucket looks again for so many seconds after closing; what was read before that is stale.
STALLED = 2.0
# The lease of the maintainers here, in seconds; the server tells its time to the second.
LONGEST = 61


class Died(BaseException):
    """The actor's process was killed."""


class Actor:
    """One process of the world."""

    def __init__(self, world: Schedule, name: str, work: Callable[[Actor], None], start: float) -> None:
        self.world = world
        self.name = name
        self.wake = start
        self.dead = self.done = False
        self.seen: list[Rule] = []
        self.seen_at = start
        self.asleep = 0.0
        self.error: BaseException | None = None
        self.turn = threading.Semaphore(0)
        self._work = work
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.turn.acquire()
        try:
            if not self.dead:
                self._work(self)
        except Died:
            pass
        except BaseException as error:  # noqa: BLE001 - told by the world, in the main thread
            self.error = error
        self.done = True
        self.world.back.release()

    def stop_until(self, wake: float) -> None:
        """Let the others go on; returns when it is this actor's turn again, not before that time."""
        self.wake = wake
        self.world.back.release()
        self.turn.acquire()
        if self.dead:
            raise Died

    def sleep(self, seconds: float) -> None:
        self.stop_until(self.world.now + seconds)


class Schedule:
    """The clock, and the order of things."""

    def __init__(self, decisions: bytes) -> None:
        self.decisions = iter(decisions)
        self.now = 0.0
        self.offset = timedelta()
        # What takes effect later, and when.
        self.later: list[tuple[float, Callable[[], object]]] = []
        self.actors: list[Actor] = []
        self.back = threading.Semaphore(0)
        self.current: Actor | None = None
        self.violations: list[str] = []
        self.steps = 0

    def decide(self, options: int) -> int:
        """The next decision; once they have run out, always the first option."""
        return next(self.decisions, 0) % options

    def byte(self) -> int:
        return next(self.decisions, 0)

    def clock(self) -> float:
        return self.now

    def awake(self) -> float:
        """The same without the time in which the process stood still with its machine."""
        return self.now - (self.current.asleep if self.current else 0.0)

    def server_now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.now) + self.offset

    def at(self, moment: float, work: Callable[[], object]) -> None:
        if moment <= self.now:
            work()
        else:
            self.later.append((moment, work))

    def add(self, name: str, work: Callable[[Actor], None], start: float = 0.0) -> None:
        self.actors.append(Actor(self, name, work, start))

    # Running ---------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until nobody is left who could do anything."""
        while living := [actor for actor in self.actors if not actor.done]:
            self.steps += 1
            if self.steps > TOO_LONG:
                self.violations.append("it never ends")
                break
            self._let_time_pass(living)
            ready = [actor for actor in living if actor.wake <= self.now]
            if ready:
                self._step(ready[self.decide(len(ready))])
        for actor in self.actors:
            actor.dead = True
            actor.turn.release()
            if actor.error is not None:
                self.violations.append(f"{actor.name} failed: {type(actor.error).__name__}: {actor.error}")

    def _let_time_pass(self, living: list[Actor]) -> None:
        self.strike(self.byte(), living)
        self.now = max(self.now + LATENCY, min(actor.wake for actor in living))
        self.arrive(self.now)

    def strike(self, happening: int, living: list[Actor]) -> None:
        """What befalls one of them between two steps, or all."""
        if happening >= 250:
            victim = living[self.decide(len(living))]
            victim.dead, victim.wake = True, self.now
        elif happening >= 245:
            self.now += 40.0

    def arrive(self, moment: float) -> None:
        """What was to take effect by then does."""
        now = self.now
        for entry in sorted((entry for entry in self.later if entry[0] <= moment), key=lambda entry: entry[0]):
            self.later.remove(entry)
            self.now = min(now, entry[0])
            entry[1]()
        self.now = now

    def _step(self, actor: Actor) -> None:
        self.current = actor
        actor.turn.release()
        self.back.acquire()
        self.current = None

    def sleep(self, seconds: float) -> None:
        assert self.current is not None
        self.current.sleep(seconds)


class World(Schedule, FakeApi):
    """The document of a bucket that several repositories share."""

    def __init__(self, decisions: bytes, prefixes: tuple[str, ...]) -> None:
        Schedule.__init__(self, decisions)
        FakeApi.__init__(self, [dict(FOREIGN), *(rule for prefix in prefixes for rule in lock_set(prefix))])
        self.closed: dict[str, str] = {}
        self.prefixes = prefixes
        self.needed = {rule["id"] for rule in self.rules} - {FOREIGN["id"]}
        # The clocks of the nodes have nothing to do with that of the server, which alone counts.
        self.offset = timedelta(hours=self.decide(3) - 1)
        self.hostile = False
        self.turn_owner = ""

    # The document ----------------------------------------------------------------------------------------------------

    def put(self, rules: list[Rule], writer: str, late_and_alone: bool = False) -> None:
        """Take over a document, and look whether it may be so.

        A write without the mutex, which closing may make, that takes effect long after its answer was lost, or
        whose process stood still after it had read, can undo anything: nobody can know of it. Windows that it opens have
        a lease and are for the guard, lost rules are for verify.
        """
        disabled = {rule["id"] for rule in rules if is_ours(rule) and not rule["enabled"]}
        leased = {f"holdfast/{window.prefix}" for window in windows(rules) if window.lease is not None}
        for name in sorted(disabled):
            if not any(name.startswith(prefix) for prefix in leased):
                self.violations.append(f"{name} is disabled without a lease")
        if late_and_alone:
            self.needed &= {rule["id"] for rule in rules}
            self.closed.clear()
        if self.needed - {rule["id"] for rule in rules}:
            self.violations.append(f"{writer} lost a rule")
        for window in windows(rules):
            owner = self.closed.get(window.holder or "")
            if owner is not None:
                self.violations.append(f"{writer} opened the window of {owner} again, which was closed for good")
            if window.lease is not None and window.lease > self.server_now() + timedelta(seconds=LONGEST):
                self.violations.append(f"{writer} wrote a lease beyond the longest")
        self.rules = [dict(rule) for rule in rules]

    def has_turn(self, actor: Actor) -> bool:
        """Whether the actor has the mutex, still fresh: an actor that stood still since may begin no write."""
        taken = self.mutex[1] if self.mutex else self.now - 2 * FRESH
        return self.turn_owner == actor.name and self.now - taken <= FRESH

    def locked(self) -> bool:
        enabled = {rule["id"] for rule in self.rules if rule["enabled"]}
        return self.needed <= enabled and not windows(self.rules)

    def need(self, actor: Actor, ids: set[str]) -> None:
        """From now on these rules must be there."""
        self.needed |= ids
        if ids - {rule["id"] for rule in self.rules}:
            self.violations.append(f"{actor.name} says that rules are there, and they are not")

    def check_end(self, actor: Actor, report: dict[str, Any]) -> None:
        """A keeper has ended: what it says must be so, and stay so."""
        holders = [window.holder for window in windows(self.rules)]
        if report["holder"] in holders and report["in_force"] is not False:
            self.violations.append(f"{actor.name} left its window open and says {report['ended_by']}, in force")
        self.closed[report["holder"]] = actor.name
        if report["in_force"] is False:
            self.violations.append(f"{actor.name} gave up closing: {report['error']}")

    # Requests --------------------------------------------------------------------------------------------------------

    def happens(self, label: str) -> Any:
        fault, write = self.byte(), label.startswith("PUT")
        if 200 <= fault < 210:
            return Lost(None)
        if 210 <= fault < 220:
            return Lost(0.0 if write else None)
        if 220 <= fault < 230:
            # Up to 30 seconds late: a keeper looks again for as long, and what comes later is the guard's.
            return Lost(3.0 * (fault - 219) if write else None)
        if 230 <= fault < 240:
            return Refused(500, 10001)
        if 240 <= fault < 245:
            return Refused(429, 971, retry_after=300)
        return None

    def _route(self, method: str, path: str, body: Any) -> tuple[str, Callable[[], Any]]:
        label = super()._route(method, path, body)[0]
        actor = self.current
        assert actor is not None
        if method == "GET":
            return label, partial(self._read, actor)
        foreign = [rule for rule in actor.seen if not is_ours(rule)]
        if [rule for rule in body["rules"] if not is_ours(rule)] != foreign:
            self.violations.append(f"{actor.name} changed a foreign rule")
        # A hostile host may take the mutex away while a write is on its way, which is the same as having none.
        alone = self.hostile or not self.has_turn(actor)
        return label, partial(self._effect, body["rules"], actor.name, alone, self.now, actor.seen_at)

    def _read(self, actor: Actor) -> Any:
        actor.seen, actor.seen_at = [dict(rule) for rule in self.rules], self.now
        return {"rules": self.rules}

    def _effect(self, rules: list[Rule], writer: str, alone: bool, sent: float, seen: float) -> Any:
        self.put(rules, writer, alone and (self.now > sent or sent - seen > STALLED))
        return {}


class SharedBucket(FakeBucket):
    """Remembers whose the mutex is."""

    api: World

    def put_if(self, key: str, body: bytes, *, etag: str | None = None) -> str | None:
        written = super().put_if(key, body, etag=etag)
        if written:
            self.api.turn_owner = self.api.current.name if self.api.current else ""
        return written


def leases(rules: list[Rule]) -> Iterator[datetime]:
    """The leases in a document."""
    return (window.lease for window in windows(rules) if window.lease is not None)
