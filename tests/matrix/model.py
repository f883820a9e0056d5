# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Interleavings of maintainers, guards, manual windows, foreign edits, deaths and lost answers over one lock document.

What runs is the real code of keeper, guard and client; see world.py.
"""

from __future__ import annotations

import math
import os
import random
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol
from unittest import mock

from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks import mutex as _mutex
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks import probe as _prober
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.change import change_rules
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.desired import plan
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.mutex import KEY, Mutex
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import is_ours, lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import LockStore
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import closer as _closer
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows import keeper as _keeper
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.control import Control
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.guard import relock
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.keeper import Keeper
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.spec import WindowSpec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.matrix.world import Actor, SharedBucket, World
from tests.support.api_in_memory import Parent

PREFIXES = ("a/", "b/", "c/")
COMMIT = ("snapshots",)


def mutex_for(world: World) -> Callable[[LockStore, str], Mutex]:
    bucket: Any = SharedBucket(world)
    return lambda cloudflare, _name: Mutex(lambda: bucket, cloudflare.server_time, world.sleep)


def maintainer(
    world: World, prefix: str, parts: tuple[str, ...], moment: float, reason: str
) -> Callable[[Actor], None]:
    def work(actor: Actor) -> None:
        spec = WindowSpec(
            "shared",
            prefix,
            parts,
            world.client,
            lambda **_settings: SharedBucket(world),  # type: ignore[arg-type]
            lease_seconds=60,
            cap_seconds=150,
            open_timeout=20,
            close_timeout=900,
            # Deletes are the proof in the window of a commit, which is over soon after it has begun.
            proved=parts != COMMIT,
        )
        parent, soon = Parent(world, moment, reason), (0.3, 1.2)[world.decide(2)]

        class Telling(Keeper):
            def _tell(self, event: str) -> None:
                if event == "opened" and not spec.proved:
                    parent.moment = min(moment, world.now + soon)

        status = os.open(os.devnull, os.O_WRONLY)
        try:
            keeper = Telling(spec, secrets.token_hex(8), parent, status)
            keeper.run()
            world.check_end(actor, keeper.report)
        finally:
            os.close(status)

    return work


def guard(world: World, rounds: int, pause: float) -> Callable[[Actor], None]:
    def work(actor: Actor) -> None:
        for _round in range(rounds):
            relock(world.client(retry_timeout=30), "shared", mutex_for(world))
            actor.sleep(pause)

    return work


def site(world: World, prefix: str) -> Callable[[Actor], None]:
    """Adds the rules of one more repository. Once they are there, they are never lost."""

    def work(actor: Actor) -> None:
        account = world.client(retry_timeout=30)
        rules = lock_set(prefix)

        def change(current: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return plan(current, rules, state="present", now=account.server_time())

        with suppress(HoldfastError):
            change_rules(account, "shared", change, mutex_for(world))
            world.need(actor, {rule["id"] for rule in rules})

    return work


def hostile(world: World, moments: list[float]) -> Callable[[Actor], None]:
    """A host that deletes the mutex or takes it; all that it can do to the lock document."""

    def work(actor: Actor) -> None:
        bucket = SharedBucket(world)
        for moment in moments:
            actor.sleep(moment)
            if world.decide(2):
                bucket.delete(KEY)
            else:
                bucket.put_if(KEY, os.urandom(16), etag=world.mutex[0] if world.mutex else None)

    return work


def editor(world: World) -> Callable[[Actor], None]:
    """Somebody who changes a rule of theirs, at one blow."""

    def work(actor: Actor) -> None:
        for number in range(3):
            actor.sleep(20.0)
            world.put(
                [
                    dict(rule, condition={"type": "Age", "maxAgeSeconds": number + 2}) if not is_ours(rule) else rule
                    for rule in world.rules
                ],
                actor.name,
            )

    return work


def play(decisions: bytes) -> World:
    """One schedule, from a locked document to one that must be locked again. The same bytes always play the same."""
    random.seed(0)  # pauses are random
    world = World(decisions, PREFIXES)
    quiet = mock.Mock()
    clocks = [mock.patch.object(module, "elapsed", world.clock) for module in (_keeper, _closer, _prober, _mutex)]
    with mock.patch.object(_closer, "SystemLog", quiet), mock.patch.object(_closer.time, "sleep", world.sleep):
        for clock in clocks:
            clock.start()
        try:
            for prefix in PREFIXES:
                reason = (Control.CLOSE, Control.PARENT_GONE)[world.decide(2)]
                parts = (("index", "data"), COMMIT)[world.decide(2)]
                moment = float(world.decide(200))
                world.add(f"maintainer of {prefix}", maintainer(world, prefix, parts, moment, reason), moment / 4)
            world.add(
                "manual window", maintainer(world, "a/", ("keys",), 1000.0, Control.CLOSE), float(world.decide(100))
            )
            for number in range(2):
                world.add(f"guard {number}", guard(world, 4, 30.0), float(world.decide(60)))
            world.add("editor", editor(world))
            world.add("site", site(world, "d/"), float(world.decide(200)))
            if world.decide(4) == 1:
                world.hostile = True
                world.add("hostile host", hostile(world, [float(world.decide(40)) for _visit in range(4)]))
            world.run()
            _settle(world)
        finally:
            for clock in clocks:
                clock.stop()
    return world


def _settle(world: World) -> None:
    """Everybody is done or dead: what was under way arrives, the leases run out, and the guard runs twice."""
    world.arrive(math.inf)
    world.now += 1000.0
    world.decisions = iter(b"")
    world.actors.clear()
    for number in range(2):
        world.add(f"last guard {number}", guard(world, 1, 0.0))
        world.run()
    if not world.locked():
        world.violations.append("something is not locked in the end")


class Played(Protocol):
    """A schedule that was played to its end."""

    violations: list[str]


def violations(schedules: int, chosen_by: str, play: Callable[[bytes], Played] = play) -> tuple[int, list[str]]:
    """Play so many schedules; returns how many were, and the violations of the shortest that had any."""
    found: dict[bytes, list[str]] = {}
    played = 0

    @seed(chosen_by)
    @settings(
        max_examples=schedules,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.binary(min_size=400, max_size=1500))
    def schedule(decisions: bytes) -> None:
        nonlocal played
        played += 1
        world = play(decisions)
        if world.violations:
            found[decisions] = world.violations
        assert not world.violations

    try:
        schedule()
    except AssertionError:
        shortest = min(found, key=len)
        return played, [f"{shortest.hex()}: {sentence}" for sentence in found[shortest]]
    return played, []
