# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every attack against both sides; the table, .results/attacks.json, and a true exit status."""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from tests.attacks import direct, garbage, indexes, keys, locks, snapshots
from tests.attacks.attack import POLICIES, Attack
from tests.attacks.scene import Template, copy_of, make_template, stage
from tests.attacks.sides import Verdict, ours, plain
from tests.stand_in.client import StandIn
from tests.support.results import fail, write_result

ATTACKS: list[Attack] = [
    *(attack for module in (snapshots, indexes, garbage, keys, locks, direct) for attack in module.ATTACKS)
]
# Nobody attacks: maintenance does what the policy says, and finds nothing.
CONTROLS = [Attack(f"none, keep {policy}", frozenset(), policy=policy) for policy in POLICIES]
SHARDS = 2
AT_ONCE = 3
ROW = "{:47} {:21} {:22} {}"
HEADING = ROW.format("ATTACK", "PLAIN RESTIC", "THIS COLLECTION", "FOUND BY")
# Set before the shards are forked.
TEMPLATES: list[Template] = []
HOME = Path()


@dataclass
class Outcome:
    """How an attack ended on both sides."""

    attack: Attack
    plain: Verdict
    ours: Verdict
    seconds: float

    @property
    def named(self) -> bool:
        """Whether a finding names the attack, or where it left nothing, whether it was refused; without one, that none is."""
        if self.attack.named is None:
            return bool(self.ours.refused)
        return not self.ours.codes if self.attack.control else bool(self.attack.named & set(self.ours.codes))

    @property
    def problem(self) -> str:
        if self.ours.lost:
            return f"lost {len(self.ours.lost)} of {self.ours.of} snapshots"
        if self.ours.problem:
            return self.ours.problem
        if self.attack.control and self.ours.ended != "done":
            return "nobody attacks, and it is refused"
        return "" if self.named else "no finding names it, and nothing was refused"

    def row(self) -> str:
        sides = (self.plain, self.ours)
        cells = (f"{side.ended}, {len(side.lost)} of {side.of} lost" for side in sides)
        refused = sum(self.ours.refused.values()) if self.attack.named is None else 0
        found = ", ".join([*self.ours.codes, *([f"{refused} requests refused"] if refused else [])]) or "-"
        wrong = f"  WRONG: {self.problem[:100]}" if self.problem else ""
        return ROW.format(self.attack.name, *cells, f"{found} ({self.seconds:.0f} s){wrong}")


def carry_out(attack: Attack, template: Template, stand_in: StandIn, home: Path) -> Outcome:
    """One attack, and then both sides with what it left."""
    started = time.monotonic()
    first = copy_of(template, stand_in, home, template.bucket)
    host = first.host()
    before = first.objects()
    attack.before(host)
    second = first.copy("plain")
    other_host = second.host()
    other_host.added = set(host.added)
    on_plain = plain(attack, second, other_host, before)
    return Outcome(attack, on_plain, ours(attack, first, host, before), time.monotonic() - started)


def chosen(words: list[str]) -> list[Attack]:
    found = [*CONTROLS, *ATTACKS]
    return [attack for attack in found if not words or any(word in attack.name for word in words)]


def work(shard: int, shards: int) -> list[Outcome]:
    """Every so many-th attack, in a stand-in of its own."""
    home = HOME / f"shard-{shard}"
    home.mkdir()
    mine = chosen(sys.argv[1:])[shard::shards]
    with stage(TEMPLATES[0], home) as stand_in, ThreadPoolExecutor(AT_ONCE) as pool:

        def one(number: int) -> Outcome:
            outcome = carry_out(mine[number], TEMPLATES[0], stand_in, home / str(number))
            print(outcome.row(), flush=True)
            return outcome

        return list(pool.map(one, range(len(mine))))


def main() -> None:
    began = time.monotonic()
    TEMPLATES.append(make_template(HOME / "template"))
    print(HEADING, flush=True)
    with ProcessPoolExecutor(SHARDS, mp_context=get_context("fork")) as pool:
        parts = [pool.submit(work, shard, SHARDS) for shard in range(SHARDS)]
        outcomes = [outcome for part in parts for outcome in part.result()]
    attacks = [outcome for outcome in outcomes if not outcome.attack.control]
    write_result(
        "attacks",
        {
            "attacks": len(attacks),
            "lost_plain": sum(bool(outcome.plain.lost) for outcome in attacks),
            "lost_ours": sum(bool(outcome.ours.lost) for outcome in attacks),
            "unnamed": sum(not outcome.named for outcome in attacks),
            # Named by their refusal alone, for they left nothing behind.
            "only_refused": sum(outcome.attack.named is None for outcome in attacks),
            "seconds": round(time.monotonic() - began),
        },
    )
    fail([f"{outcome.attack.name}: {outcome.problem}" for outcome in outcomes if outcome.problem])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        HOME = Path(folder)
        main()
