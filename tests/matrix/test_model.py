# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Interleavings of everybody at one lock document. See model.py and world.py."""

from __future__ import annotations

import pytest

from tests.matrix import fenced_model
from tests.matrix.model import violations
from tests.support import sampling
from tests.support.figures import Record, add_figures

# Each part begins anew with short schedules and goes on with what these have found; the whole has two
# thousand schedules of either kind.
SCHEDULES, PARTS = 250, 8
SAMPLE = 40


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("part", range(PARTS), ids=lambda part: f"part-{part + 1}")


def test_nothing_stays_open_and_nobody_undoes_anothers_work(
    part: int, pytestconfig: pytest.Config, record_property: Record
) -> None:
    schedules = SCHEDULES if sampling.whole(pytestconfig) else SAMPLE
    played, found = violations(schedules, f"{sampling.seed(pytestconfig)} {part}")
    add_figures(record_property, "model", schedules=played, violations=len(found))
    print(f"{played} schedules")
    assert not found, "\n".join(found)


def test_no_token_works_behind_a_fence_and_none_is_left_disabled(
    part: int, pytestconfig: pytest.Config, record_property: Record
) -> None:
    schedules = SCHEDULES if sampling.whole(pytestconfig) else SAMPLE
    played, found = violations(schedules, f"{sampling.seed(pytestconfig)} {part}", fenced_model.play)
    add_figures(record_property, "model", fenced=played, violations=len(found))
    print(f"{played} schedules")
    assert not found, "\n".join(found)
