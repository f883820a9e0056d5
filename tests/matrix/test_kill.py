# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signals to everybody at every step of maintenance: whatever dies, the locks come back. See kill.py and kill_cases.py."""

from __future__ import annotations

import pytest

from tests.matrix.kill import run
from tests.matrix.kill_cases import Row, case_id, sample, whole
from tests.matrix.outcome import MISSED, settle
from tests.matrix.scene import PreparedBucket
from tests.support import sampling
from tests.support.figures import Record

# The last step comes so shortly before the end that a case may come too late for it; and a job may time out before its step.
ATTEMPTS = 5


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    config = metafunc.config
    rows = whole() if sampling.whole(config) else sample(sampling.seed(config))
    metafunc.parametrize("row", rows, ids=map(case_id, rows))


def test_locks_come_back(
    row: Row, template: PreparedBucket, pytestconfig: pytest.Config, record_property: Record
) -> None:
    for attempt in range(ATTEMPTS):
        outcome = run(template.copy(), row, in_time=sampling.whole(pytestconfig), attempt=attempt)
        if outcome.end != MISSED:
            break
    settle(outcome, "kill-matrix", record_property)
