# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every request of a maintenance run fails once, in the ways that a network knows. See fault.py and fault_cases.py."""

from __future__ import annotations

import pytest

from tests.matrix.fault import record, run
from tests.matrix.fault_cases import Row, Step, case_id, sample, whole
from tests.matrix.outcome import MISSED, settle
from tests.matrix.scene import PreparedBucket, original, template
from tests.support import sampling
from tests.support.figures import Record
from tests.support.once import made_once

# The names of new packs are random, and by them the order in which objects are listed: what has to be asked for once more
# differs from run to run.
ATTEMPTS = 3


def found(config: pytest.Config) -> list[Step]:
    """The requests of one undisturbed run."""

    def make() -> list[Step]:
        with template(made_once(config, "original", original)) as there:
            return record(there.copy())

    return made_once(config, "requests", make)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    config = metafunc.config
    # Who only collects wants to know that this can be imported, perhaps before there is a restic.
    steps = [] if config.option.collectonly else found(config)
    rows = whole(steps) if sampling.whole(config) else sample(steps, sampling.seed(config))
    metafunc.parametrize("row", rows, ids=map(case_id, rows))


def test_locks_come_back_and_what_is_said_is_so(row: Row, template: PreparedBucket, record_property: Record) -> None:
    for _attempt in range(ATTEMPTS):
        outcome = run(template.copy(), row)
        if outcome.end != MISSED:
            break
    settle(outcome, "fault-matrix", record_property)
