# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A world of one lock document in which the real keeper, guard and client run, one step of one of them at a time.

Each actor is a thread that stands still at every request and at every wait. Who goes on, what gets lost, who dies and
how time passes is decided by a string of bytes, so that Hypothesis can look for the worst and tell it shortly.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.message import Message
from email.utils import format_datetime
from functools import partial
from typing import Any
from urllib.error import HTTPError

from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.mutex import FRESH
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import is_ours, lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import windows
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3Object

Rule = dict[str, Any]

EPOCH = datetime(2026, 11, 1, tzinfo=timezone.utc)
FOREIGN = {"id": "logs", "enabled": True, "prefix": "logs/", "condition": {"type": "Age", "maxAgeSeconds": 1}}
LATENCY = 0.05
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
        for entry in sorted((entry for entry in self.later if entry[0] <= moment), key=lambda entry: entry[0]):
            self.later.remove(entry)
            entry[1]()

    def _step(self, actor: Actor) -> None:
        self.current = actor
        actor.turn.release()
        self.back.acquire()
        self.current = None

    def sleep(self, seconds: float) -> None:
        assert self.current is not None
        self.current.sleep(seconds)


class World(Schedule):
    """The document of a bucket that several repositories share."""

    def __init__(self, decisions: bytes, prefixes: tuple[str, ...]) -> None:
        super().__init__(decisions)
        self.closed: dict[str, str] = {}
        self.prefixes = prefixes
        self.rules: list[Rule] = [dict(FOREIGN), *(rule for prefix in prefixes for rule in lock_set(prefix))]
        self.needed = {rule["id"] for rule in self.rules} - {FOREIGN["id"]}
        # The clocks of the nodes have nothing to do with that of the server, which alone counts.
        self.offset = timedelta(hours=self.decide(3) - 1)
        self.hostile = False
        self.turn_object: tuple[str, float] | None = None
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
        taken = self.turn_object[1] if self.turn_object else self.now - 2 * FRESH
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

    # Cloudflare, as open_url() finds it ------------------------------------------------------------------------------

    def open_url(self, url: str, *, method: str, data: bytes | None = None, **_unused: Any) -> Answer:
        """One request of the actor whose turn it is."""
        actor = self.current
        assert actor is not None
        actor.sleep(LATENCY)
        fault = self.byte()
        if method == "PUT":
            rules = json.loads(data or b"")["rules"]
            foreign = [rule for rule in actor.seen if not is_ours(rule)]
            if [rule for rule in rules if not is_ours(rule)] != foreign:
                self.violations.append(f"{actor.name} changed a foreign rule")
            # A hostile host may take the mutex away while a write is on its way, which is the same as having none.
            alone = self.hostile or not self.has_turn(actor)
            if fault < 200 or 210 <= fault < 220:
                self.put(rules, actor.name, alone and self.now - actor.seen_at > STALLED)
            elif 220 <= fault < 230:
                # Up to 30 seconds late: a keeper looks again for as long, and what comes later is the guard's.
                late = partial(self.put, rules, actor.name, alone)
                self.later.append((self.now + 3.0 * (fault - 219), late))
        if 200 <= fault < 230:
            raise TimeoutError("timed out")
        if 230 <= fault < 240:
            raise self._refusal(url, 500, 10001)
        if 240 <= fault < 245:
            raise self._refusal(url, 429, 971)
        if method == "GET":
            actor.seen, actor.seen_at = [dict(rule) for rule in self.rules], self.now
        return Answer({"rules": self.rules} if method == "GET" else {}, self._headers())

    def _headers(self) -> Message:
        headers = Message()
        headers["Date"] = format_datetime(self.server_now().replace(microsecond=0), usegmt=True)
        return headers

    def _refusal(self, url: str, status: int, code: int) -> HTTPError:
        headers = self._headers()
        if status == 429:
            headers["Retry-After"] = "300"
        body = {"success": False, "errors": [{"code": code, "message": "no"}], "messages": [], "result": None}
        return HTTPError(url, status, "no", headers, io.BytesIO(json.dumps(body).encode()))


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


class Bucket:
    """The S3 side: an object below every prefix, and the mutex."""

    def __init__(self, world: World) -> None:
        self.world = world

    def first_key(self, prefix: str) -> str:
        return prefix + "object"

    def probe(self, key: str, *, present: bool = False) -> str:
        self.world.sleep(LATENCY)
        held = any(rule["enabled"] and key.startswith(rule["prefix"]) for rule in self.world.rules)
        return "locked" if held else "open"

    def put_if(self, _key: str, body: bytes, *, etag: str | None = None) -> str | None:
        self.world.sleep(LATENCY)
        found = self.world.turn_object
        if (found[0] if found else None) != etag:
            return None
        self.world.turn_object = (hashlib.md5(body).hexdigest(), self.world.now)
        self.world.turn_owner = self.world.current.name if self.world.current else ""
        return self.world.turn_object[0]

    def head(self, key: str) -> S3Object | None:
        self.world.sleep(LATENCY)
        found = self.world.turn_object
        if found is None:
            return None
        return S3Object(key, 16, EPOCH + timedelta(seconds=found[1]) + self.world.offset, found[0])

    def delete(self, _key: str) -> None:
        self.world.sleep(LATENCY)
        self.world.turn_object = None


def leases(rules: list[Rule]) -> Iterator[datetime]:
    """The leases in a document."""
    return (window.lease for window in windows(rules) if window.lease is not None)
