# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a case of the matrices of signals and faults ended."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.support.figures import Record, add_figures

MISSED = "missed"


@dataclass
class Outcome:
    """What became of the locks (OPEN, or by whom they came back), how soon, and what is wrong with that."""

    end: str
    seconds: float | None = None
    problem: str = ""


def settle(outcome: Outcome, matrix: str, record_property: Record) -> None:
    """Add it to the figures, and let the test end as it did."""
    if outcome.end == MISSED:
        add_figures(record_property, matrix, missed=1)
        pytest.skip("what was to be hit did not come this time")
    add_figures(
        record_property,
        matrix,
        cases=1,
        relocked=outcome.end not in ("", "OPEN"),
        lost=bool(outcome.problem),
        worst_seconds_keeper=round(outcome.seconds or 0.0, 2) if outcome.end == "locked" else 0.0,
        by_guard=outcome.end == "guard",
    )
    print(f"{outcome.end}, {outcome.seconds} s")
    assert not outcome.problem, outcome.problem
