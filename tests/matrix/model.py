# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Interleavings of maintainers, guards, manual windows, foreign edits, deaths and lost answers over one lock document.

`python -m tests.matrix.model [number of schedules]`. What runs is the real code of keeper, guard and client; see world.py.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

from ansible_collections.holdfast.restic_r2.plugins.module_utils import _keeper, _prober, _turn
from ansible_collections.holdfast.restic_r2.plugins.module_utils._cloudflare import Cloudflare
from ansible_collections.holdfast.restic_r2.plugins.module_utils._control import Control
from ansible_collections.holdfast.restic_r2.plugins.module_utils._keeper import Keeper
from ansible_collections.holdfast.restic_r2.plugins.module_utils._lock_rules import is_ours
from ansible_collections.holdfast.restic_r2.plugins.module_utils._relock import relock
from ansible_collections.holdfast.restic_r2.plugins.module_utils._window_spec import WindowSpec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.matrix.scene import fail, write_result
from tests.matrix.world import Actor, Bucket, World

SCHEDULES = 2000
PREFIXES = ("a/", "b/", "c/")
ACCOUNT = "0" * 32


class Parent(Control):
    """The keeper's view of a parent that is done, or dead, at some moment."""

    def __init__(self, actor: Actor, moment: float, reason: str) -> None:
        self.actor = actor
        self.moment = moment
        self.wanted = reason
        self.guarded = {}

    def wait(self, seconds: float) -> str | None:
        world = self.actor.world
        end = world.now + max(seconds, 0.0)
        if world.now < self.moment:
            self.actor.stop_until(min(end, self.moment))
        return self.wanted if world.now >= self.moment else None

    def interrupt_guarded(self) -> None:
        pass

    def end_guarded(self, seconds: float) -> None:
        pass


def client(world: World, **more: Any) -> Cloudflare:
    more = {"sleep": world.sleep, "monotonic": world.clock, **more}
    return Cloudflare("token", ACCOUNT, url="https://api.example", open_url=world.open_url, **more)


def maintainer(
    world: World, prefix: str, parts: tuple[str, ...], moment: float, reason: str
) -> Callable[[Actor], None]:
    def work(actor: Actor) -> None:
        spec = WindowSpec(
            "shared",
            prefix,
            parts,
            partial(client, world),
            lambda **_settings: Bucket(world),  # type: ignore[arg-type]
            lease_seconds=60,
            cap_seconds=150,
            open_patience=20,
            close_patience=900,
        )
        status = os.open(os.devnull, os.O_WRONLY)
        try:
            keeper = Keeper(spec, secrets.token_hex(8), Parent(actor, moment, reason), status)
            keeper.run()
            world.check_end(actor, keeper.report)
        finally:
            os.close(status)

    return work


def guard(world: World, rounds: int, pause: float) -> Callable[[Actor], None]:
    def work(actor: Actor) -> None:
        for _round in range(rounds):
            relock(client(world, patience=30), "shared")
            actor.sleep(pause)

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
    """One schedule, from a locked document to one that must be locked again."""
    world = World(decisions, PREFIXES)
    quiet = mock.Mock()
    clocks = [mock.patch.object(module, "elapsed", world.clock) for module in (_keeper, _prober, _turn)]
    with mock.patch.object(_keeper, "Journal", quiet), mock.patch.object(_keeper.time, "sleep", world.sleep):
        for clock in clocks:
            clock.start()
        try:
            for prefix in PREFIXES:
                reason = (Control.CLOSE, Control.PARENT_GONE)[world.decide(2)]
                parts = (("index", "data"), ("snapshots",))[world.decide(2)]
                moment = float(world.decide(200))
                world.add(f"maintainer of {prefix}", maintainer(world, prefix, parts, moment, reason), moment / 4)
            world.add(
                "manual window", maintainer(world, "a/", ("keys",), 1000.0, Control.CLOSE), float(world.decide(100))
            )
            for number in range(2):
                world.add(f"guard {number}", guard(world, 4, 30.0), float(world.decide(60)))
            world.add("editor", editor(world))
            world.run()
            _settle(world)
        finally:
            for clock in clocks:
                clock.stop()
    return world


def _settle(world: World) -> None:
    """Everybody is done or dead: what was under way arrives, the leases run out, and the guard runs twice."""
    for _moment, rules, writer in world.late:
        world.put(rules, writer)
    world.late.clear()
    world.now += 1000.0
    world.decisions = iter(b"")
    world.actors.clear()
    for number in range(2):
        world.add(f"last guard {number}", guard(world, 1, 0.0))
        world.run()
    if not world.locked():
        world.violations.append("something is not locked in the end")


def main(schedules: int) -> tuple[int, list[str]]:
    """Play so many schedules; returns how many were, and the violations of the shortest that had any."""
    found: dict[bytes, list[str]] = {}
    played = 0

    @settings(
        max_examples=schedules,
        deadline=None,
        database=None,
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


if __name__ == "__main__":
    number, violations = main(int(sys.argv[1]) if len(sys.argv) > 1 else SCHEDULES)
    write_result("model", {"schedules": number, "violations": len(violations)})
    fail(violations)
