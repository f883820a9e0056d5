# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an attack ended on both sides."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.attacks.attack import Attack
from tests.attacks.scene import Template, copy_of
from tests.attacks.sides import Verdict, ours, plain
from tests.stand_in.client import StandIn

ROW = "{:47} {:21} {:22} {}"
HEADING = ROW.format("ATTACK", "PLAIN RESTIC", "THIS COLLECTION", "FOUND BY")


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

    def told(self) -> dict[str, Any]:
        """What the record of all attacks needs of it."""
        return {
            "row": self.row(),
            "control": self.attack.control,
            "lost_plain": bool(self.plain.lost),
            "lost_ours": bool(self.ours.lost),
            "unnamed": not self.named,
            # Named by their refusal alone, for they left nothing behind.
            "only_refused": self.attack.named is None,
        }


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
