# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bucket, its lock document and the tokens of its hosts, in which fences, windows and guards run step by step.

The API is the fake of the unit tests; what happens to each request is decided here. A write is taken for late when it
takes effect long after its writer had its last answer: nobody can know of it, and what it undoes is for the guard.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.fences import fence_of, fences
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import is_ours, lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import windows
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3Error
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.control import Ending
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.fence import SPREAD_SECONDS

from tests.matrix.world import FOREIGN, STALLED, Actor, Schedule
from tests.support.fake_api import LATENCY, FakeApi, FakeBucket, Lost, Refused, Rule, token

# How much of the rare may befall one schedule: more than that, and nothing else happens in it.
BUDGET = {"kill": 2, "suspend": 3, "outage": 1, "refuse": 4}
# A read shows what was there so many seconds ago at most.
STALE = 1.0
HOSTS = ("t1", "t2")
# This one was disabled by a person before.
OFF = "t9"


@dataclass(frozen=True)
class Sent:
    """A write on its way."""

    actor: Actor
    # When the actor had its last answer, and when what it had read was the newest.
    answered: float
    basis: float


class FencedWorld(Schedule, FakeApi):
    """See above. Prefixes are of the repositories in the bucket: one that is empty has the bucket to itself."""

    def __init__(self, decisions: bytes, prefixes: tuple[str, ...]) -> None:
        Schedule.__init__(self, decisions)
        rules = [dict(FOREIGN), *(rule for prefix in prefixes for rule in lock_set(prefix))]
        hosts = [token(one, f"holdfast/{one}") for one in HOSTS]
        FakeApi.__init__(self, rules, *hosts, token(OFF, "holdfast/off", "disabled"))
        self.prefixes = prefixes
        self.needed = {rule["id"] for rule in rules}
        self.budget = dict(BUDGET)
        self.outage, self.writes_only = 0.0, False
        self.recovering: set[str] = set()
        self.before: list[Rule] = rules
        self.changed_at = self.late_at = -math.inf
        self.answered: dict[str, float] = {}
        self.basis: dict[str, float] = {}
        self.read_token: dict[str, dict[str, Any] | None] = {}
        self.sent: Sent | None = None
        # By holder: who keeps it, the fence that a window is behind, and who has removed the window.
        self.keepers: dict[str, str] = {}
        self.behind: dict[str, str] = {}
        self.removers: dict[str, set[str]] = {}
        self.closed: dict[str, str] = {}
        # Why keepers that are not closing have to close by now.
        self.dues: dict[str, Callable[[], str | None]] = {}
        # Who was killed, who has written which fence, and the tokens of fences that a late write has overwritten.
        self.killed: set[str] = set()
        self.fencers: dict[str, str] = {}
        self.erased: dict[str, tuple[str, ...]] = {}
        # Who uses force, and who was shown something stale.
        self.forcing: set[str] = set()
        self.misled: set[str] = set()

    def blame(self, sentence: str) -> None:
        self.violations.append(f"{self.now:.1f} s: {sentence}")

    # What befalls processes and requests -----------------------------------------------------------------------------

    def sleep(self, seconds: float) -> None:
        """As the clock of a keeper's process does, wake up with the reason to close that came meanwhile."""
        super().sleep(seconds)
        due = self.dues.get(self.current.name) if self.current else None
        reason = due() if due else None
        if reason:
            raise Ending(reason)

    def spend(self, what: str) -> bool:
        self.budget[what] -= 1
        return self.budget[what] >= 0

    def strike(self, happening: int, living: list[Actor]) -> None:
        # There always is a next guard.
        living = [actor for actor in living if actor.name != "guard 1"]
        if not living:
            return
        if happening >= 250 and self.spend("kill"):
            victim = living[self.decide(len(living))]
            victim.dead, victim.wake = True, self.now
            self.killed.add(victim.name)
        elif 240 <= happening < 250 and self.spend("suspend"):
            victim, seconds = living[self.decide(len(living))], (20.0, 70.0, 400.0, 1000.0)[self.decide(4)]
            victim.asleep += seconds
            victim.wake = max(victim.wake, self.now + seconds)
            self.recovering.add(victim.name)
        elif 236 <= happening < 240 and self.spend("outage"):
            self.outage = self.now + (30.0, 70.0, 100.0, 200.0)[self.decide(4)]
            self.writes_only = self.decide(2) == 1
            self.recovering |= set() if self.writes_only else {actor.name for actor in living}
        elif happening >= 200:
            # A rotation renames it.
            self.tokens[HOSTS[0]] = {**self.tokens[HOSTS[0]], "name": f"holdfast/former/{self.steps}"}

    def happens(self, label: str) -> Any:
        actor = self.current
        assert actor is not None
        fault, write = self.byte(), label.startswith("PUT")
        if self.now < self.outage and not self.writes_only:
            return Lost(None)
        if self.now < self.outage and label == "PUT lock":
            return Refused(429, 971)
        if actor.name in self.recovering:
            # Networks and services come back in stages.
            self.recovering.discard(actor.name)
            return (None, Lost(None), Refused(403), Refused(429, 971))[fault % 4]
        if 200 <= fault < 210:
            return Lost(None)
        if 210 <= fault < 220:
            return Lost(0.0)
        if 220 <= fault < 230:
            return Lost(3.0 * (fault - 219) if write else None)
        if 230 <= fault < 234:
            return Refused(500, 10001)
        if 234 <= fault < 240 and self.spend("refuse"):
            return Refused(404, 10006) if label.endswith("lock") and fault % 2 else Refused(403)
        if 240 <= fault < 245:
            return Refused(429, 971)
        return None

    # Requests --------------------------------------------------------------------------------------------------------

    def _route(self, method: str, path: str, body: Any) -> tuple[str, Callable[[], Any]]:
        label, work = super()._route(method, path, body)
        actor = self.current
        assert actor is not None
        if method != "PUT":
            return label, partial(self._read, actor, label, work)
        if label == "PUT lock":
            self._look_at_document(actor, body["rules"])
        else:
            self._look_at_token(actor, body)
        self.read_token[actor.name] = None
        sent = Sent(actor, self.answered.get(actor.name, self.now), self.basis.get(actor.name, self.now))
        return label, partial(self._effect, sent, work)

    def _read(self, actor: Actor, label: str, work: Callable[[], Any]) -> Any:
        self.read_token[actor.name] = None
        result = work()
        self.answered[actor.name] = self.now
        if label == "GET lock":
            stale = self.now - self.changed_at <= STALE and self.byte() % 8 == 7
            rules = self.before if stale else self.rules
            actor.seen, actor.seen_at = [dict(rule) for rule in rules], self.now
            self.misled |= {actor.name} if stale else set()
            self.basis[actor.name] = self.changed_at if stale else self.now
            return {"rules": rules}
        if label.startswith("GET token t"):
            self.read_token[actor.name] = result
        return result

    def _effect(self, sent: Sent, work: Callable[[], Any]) -> Any:
        self.sent = sent
        try:
            result = work()
        finally:
            self.sent = None
        self.answered[sent.actor.name] = self.now
        return result

    # What is written, beside what was read ----------------------------------------------------------------------------

    def _look_at_document(self, actor: Actor, rules: list[Rule]) -> None:
        """Whatever others do meanwhile: nobody leaves out, of what it has read, what is not its own."""
        if any(rule not in rules for rule in actor.seen if not is_ours(rule)):
            self.blame(f"{actor.name} changed a foreign rule")
        if actor.name in self.forcing:
            return
        for fence in fences(actor.seen):
            keeper = self.keepers.get(fence.holder, actor.name)
            if keeper != actor.name and not fence.overdue(self.server_now()) and fence not in fences(rules):
                self.blame(f"{actor.name} removed the fence of {keeper}")
        left = {window.holder for window in windows(rules)}
        for window in windows(actor.seen):
            keeper = self.keepers.get(window.holder or "", actor.name)
            if keeper != actor.name and window.live(self.server_now()) and window.holder not in left:
                self.blame(f"{actor.name} closed the window of {keeper}")

    def _look_at_token(self, actor: Actor, body: dict[str, Any]) -> None:
        """A token is written as it was read just before, but for its status."""
        read = self.read_token.get(actor.name)
        if read is None or any(read.get(name) != body.get(name) for name in ("name", "expires_on", "condition")):
            self.blame(f"{actor.name} wrote a token that it had not read just before")

    # What takes effect -----------------------------------------------------------------------------------------------

    def _write_rules(self, rules: list[Rule]) -> Any:
        assert self.sent is not None
        writer, late = self.sent.actor.name, self.now - self.sent.basis > STALLED
        for fence in fences(rules):
            self.fencers.setdefault(fence.holder, writer)
        if late:
            self.needed &= {rule["id"] for rule in rules}
            self.closed.clear()
            self.late_at = self.now
            left = {fence.holder for fence in fences(rules)}
            self.erased.update({fence.holder: fence.tokens for fence in fences(self.rules) if fence.holder not in left})
        there = {window.holder: window for window in windows(self.rules)}
        will_be = {window.holder: window for window in windows(rules)}
        for holder in there.keys() - will_be.keys():
            self.removers.setdefault(holder or "", set()).add(writer)
        for holder, window in will_be.items():
            if holder in self.closed:
                self.blame(f"{writer} opened the window of {self.closed[holder]} again, which was closed for good")
            if window.lease is None:
                self.blame(f"{writer} left {window.parts} unlocked without a lease")
            if holder in self.behind and holder not in there and not late:
                self._look_at_opening(writer, window, rules)
        self.before, self.changed_at = self.rules, self.now
        self.rules = [dict(rule) for rule in rules]
        return {}

    def _look_at_opening(self, writer: str, window: Any, rules: list[Rule]) -> None:
        """A window behind a fence: the fence is there for longer, and no key of a host is taken anywhere any more."""
        fence = fence_of(rules, window.prefix)
        if fence is None or fence.holder != self.behind[window.holder] or fence.lease < window.lease:
            self.blame(f"{writer} opened a window without its fence")
        for one in HOSTS:
            if self.tokens[one]["status"] == "active":
                self.blame(f"{writer} opened a window while the token {one} is active")
            elif self.now < self.disabled_at[one] + SPREAD_SECONDS:
                self.blame(f"{writer} opened a window while keys of {one} may still be taken")

    def _write_token(self, token_id: str, body: dict[str, Any]) -> Any:
        assert self.sent is not None
        writer, before = self.sent.actor.name, self.tokens[token_id]["status"]
        self.tokens[token_id] = {"status": "active", **body, "id": token_id}
        status = self.tokens[token_id]["status"]
        if status == "disabled" and before != status:
            self.disabled_at[token_id] = self.now
        if token_id == OFF and status == "active":
            self.blame(f"{writer} enabled a token that a person had disabled")
        fenced = [window for window in windows(self.rules) if window.holder in self.behind]
        if status == "active" and fenced and self.now - self.sent.answered <= STALLED + SPREAD_SECONDS / 2:
            self.blame(f"{writer} enabled the token {token_id} while a window is open, held by {fenced[0].holder}")
        return dict(self.tokens[token_id])

    # Objects ---------------------------------------------------------------------------------------------------------

    def objects(self, token_id: str = "", **_settings: Any) -> Any:
        return GuardedBucket(self, token_id)

    # Looking back ----------------------------------------------------------------------------------------------------

    def check_end(self, actor: Actor, report: dict[str, Any]) -> None:
        """A keeper has ended: what it says must be so, and stay so."""
        holder = report["holder"]
        held = {window.holder for window in windows(self.rules)} | {fence.holder for fence in fences(self.rules)}
        if report["in_force"] is False:
            self.blame(f"{actor.name} gave up: {report['error']}")
        elif holder in held and self.now - self.late_at > STALE:  # else nobody may see yet what a late write did
            self.blame(f"{actor.name} left what it held, and says {report['ended_by']}")
        if report["closed_by_other"] and self.removers.get(holder) == {actor.name} and actor.name not in self.misled:
            self.blame(f"{actor.name} says that somebody else closed the window that it closed")
        self.closed[holder] = actor.name

    def need(self, ids: set[str]) -> None:
        """From now on these rules must be there, but for what a late write has undone and nobody may see yet."""
        if self.now - self.late_at <= STALE:
            ids = ids & {rule["id"] for rule in self.rules}
        self.needed |= ids
        if ids - {rule["id"] for rule in self.rules}:
            self.blame("site says that rules are there, and they are not")

    def check_settled(self) -> None:
        """Nobody is left, and the guard has run."""
        enabled = {rule["id"] for rule in self.rules if rule["enabled"]}
        if not self.needed <= enabled or windows(self.rules):
            self.blame("something is not locked in the end")
        if fences(self.rules):
            self.blame("a fence is left in the end")
        # Where a late write has overwritten a fence and then its keeper died, nobody is left who knows. The host tells.
        unknown = {
            one for holder, tokens in self.erased.items() if self.fencers[holder] in self.killed for one in tokens
        }
        for one in HOSTS:
            if self.tokens[one]["status"] != "active" and one not in unknown:
                self.blame(f"the token {one} is left disabled")


class GuardedBucket(FakeBucket):
    """Keys that are not taken are refused whatever there is."""

    def first_key(self, prefix: str) -> str | None:
        if self.token_id and not self.api.lets_in(self.token_id):
            self.api.sleep(LATENCY)
            raise S3Error("refused", status=403)
        return super().first_key(prefix)
