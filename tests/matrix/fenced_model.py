# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Interleavings of maintenance behind fences, windows by hand, guards and other writers, in a bucket of one host or of two.

What runs is the real code of fence, keeper, guard and clients; see fenced_world.py.
"""

from __future__ import annotations

import math
import os
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.change import change_rules
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.desired import plan
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.fences import fence_of
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.mutex import Mutex
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import LockStore
from ansible_collections.holdfast.restic_r2.plugins.module_utils._tokens.api import Tokens
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.control import Control
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.fence import FenceKeeper, FenceSpec
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.guard import relock
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.keeper import Keeper
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.spec import WindowSpec

from tests.matrix.fenced_world import HOSTS, FencedWorld
from tests.matrix.world import Actor
from tests.support.api_in_memory import Parent, clocks_of, spec_of
from tests.support.fake_api import BUCKET

Work = Callable[[Actor], None]
LEASES: dict[str, Any] = {"lease_seconds": 60.0, "cap_seconds": 150.0}
LOGS = {"id": "more-logs", "enabled": True, "prefix": "more/", "condition": {"type": "Age", "maxAgeSeconds": 1}}


class Caller(Parent):
    """Also lets what is due interrupt the keeper at its next step, as the timer of its process does."""

    @contextmanager
    def interrupting(self, due: Callable[[], str | None]) -> Iterator[None]:
        world: Any = self.account
        name = world.current.name
        world.dues[name] = due
        try:
            yield
        finally:
            world.dues.pop(name, None)


def keep(world: FencedWorld, actor: Actor, kind: type[Keeper], spec: WindowSpec, holder: str, parent: Parent) -> None:
    """One keeper's life."""
    world.keepers[holder] = actor.name
    status = os.open(os.devnull, os.O_WRONLY)
    try:
        keeper = kind(spec, holder, parent, status)
        keeper.run()
        world.check_end(actor, keeper.report)
    finally:
        os.close(status)


def maintenance(world: FencedWorld, prefix: str, seconds: float, reason: str) -> Work:
    """A fence, and behind it a window for so long; reason says whether the parent ends both, or dies."""

    def work(actor: Actor) -> None:
        tokens = _reaching(world, prefix)
        if not tokens:
            return
        holder, parent = secrets.token_hex(8), Caller(world, math.inf, reason)

        class Telling(FenceKeeper):
            def _tell(self, event: str) -> None:
                if event == "opened":
                    window = _window_behind(world, prefix, holder, seconds, reason, parent, actor)
                    world.add(f"window of {actor.name}", window, world.now)

        keep(world, actor, Telling, _fence(world, prefix, tokens), holder, parent)

    return work


def _reaching(world: FencedWorld, prefix: str) -> list[str]:
    """The tokens that work, and those that are disabled for a maintenance that died."""
    with suppress(HoldfastError):
        account = world.client(retry_timeout=30)
        left = fence_of(account.lock_rules(BUCKET), prefix)
        states = {token["id"]: token["status"] for token in Tokens(account).all()}
        return [one for one in HOSTS if states[one] == "active" or (left and one in left.tokens)]
    return []


def _fence(world: FencedWorld, prefix: str, tokens: list[str]) -> FenceSpec:
    spec = spec_of(
        world,
        FenceSpec,
        s3=world.objects,
        prefix=prefix,
        parts=(),
        tokens=tuple(tokens),
        makers=world.client,
        reaching=lambda found: [token for token in found if token["id"] in HOSTS],
        host_s3=lambda **_settings: world.objects(HOSTS[0]),
        lease_seconds=240.0,
        cap_seconds=700.0,
    )
    assert isinstance(spec, FenceSpec)
    return spec


def _window_behind(
    world: FencedWorld, prefix: str, fence: str, seconds: float, reason: str, parent: Parent, fenced: Actor
) -> Work:
    holder = secrets.token_hex(8)

    def work(actor: Actor) -> None:
        world.behind[holder] = fence
        spec = spec_of(world, s3=world.objects, prefix=prefix, proved=False, behind=fence, **LEASES)
        keep(world, actor, Keeper, spec, holder, Caller(world, world.now + seconds, reason))
        # Now the parent is done with its fence, or has died, and the fence's keeper wakes up.
        parent.moment = world.now
        fenced.wake = min(fenced.wake, world.now)

    return work


def by_hand(world: FencedWorld, prefix: str, seconds: float) -> Work:
    """A window that is behind no fence."""

    def work(actor: Actor) -> None:
        spec = spec_of(world, s3=world.objects, prefix=prefix, parts=("keys",), **LEASES)
        keep(world, actor, Keeper, spec, secrets.token_hex(8), Caller(world, world.now + seconds))

    return work


def guard(world: FencedWorld, rounds: int, force: bool = False) -> Work:
    """So many rounds of the guard at least. Without force, it goes on for as long as others are at work, as its timer does."""

    def others_at_work() -> bool:
        return not force and any(not other.done for other in world.actors if "guard" not in other.name)

    def work(actor: Actor) -> None:
        if force:
            world.forcing.add(actor.name)
        number = 0
        while number < rounds or others_at_work():
            actor.sleep(60.0 if number else 0.0)
            relock(world.client(retry_timeout=30), BUCKET, mutex_for(world), force=force)
            number += 1

    return work


def mutex_for(world: FencedWorld) -> Callable[[LockStore, str], Mutex]:
    return lambda cloudflare, _name: Mutex(world.objects, cloudflare.server_time, world.sleep)


def site(world: FencedWorld) -> Work:
    """Adds rules, of the user's own or of one more repository. Once they are there, they are never lost."""
    rules = [LOGS] if world.prefixes == ("",) else lock_set("d/")

    def work(_actor: Actor) -> None:
        account = world.client(retry_timeout=30)

        def change(current: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return plan(current, rules, state="present", now=account.server_time())

        with suppress(HoldfastError):
            change_rules(account, BUCKET, change, mutex_for(world))
            world.need({str(rule["id"]) for rule in rules})

    return work


def play(decisions: bytes) -> FencedWorld:
    """One schedule, from a locked document and tokens that work to the same. The same bytes always play the same."""
    random.seed(0)  # pauses are random
    world = FencedWorld(decisions, ("",) if decisions[:1] < b"\x80" else ("a/", "b/"))
    # Tokens of the guard pause by a default, which is the real clock's.
    pausing = mock.patch.object(Tokens.__init__, "__defaults__", (world.sleep,))
    with clocks_of(world), pausing:
        _set_up(world)
        world.run()
        _settle(world)
    return world


def _set_up(world: FencedWorld) -> None:
    world.enforced = 25.0 * world.decide(3)
    world.empty = world.decide(3) == 1
    for number in range(2):
        reason = (Control.CLOSE, Control.PARENT_GONE)[world.decide(4) == 3]
        seconds = (5.0 + world.decide(90), 0.3, 1.2)[world.decide(3)]
        work = maintenance(world, world.prefixes[number % len(world.prefixes)], seconds, reason)
        world.add(f"maintenance {number}", work, float(world.decide(30)) + 200.0 * number * world.decide(3))
    for number in range(2):
        world.add(f"guard {number}", guard(world, 5), float(world.decide(60)))
    world.add("site", site(world), float(world.decide(200)))
    other = world.decide(4)
    if other == 1:
        world.add("window by hand", by_hand(world, world.prefixes[0], 10.0 + world.decide(60)), 2.0 * world.decide(100))
    if other == 2:
        # Who forces everything while others are at work answers for those that die just then.
        world.budget["kill"] = 0
        world.add("guard by force", guard(world, 1, force=True), 20.0 + world.decide(200))


def _settle(world: FencedWorld) -> None:
    """Everybody is done or dead: what was under way takes effect, the leases run out, and the guard runs twice."""
    world.arrive(math.inf)
    world.now += 1000.0
    world.decisions, world.outage = iter(b""), 0.0
    world.recovering.clear()
    world.actors.clear()
    for number in range(2):
        world.add(f"last guard {number}", guard(world, 1), world.now)
        world.run()
    world.check_settled()
