# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of the results of `make awx`, made from what the processes of pytest-xdist report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / ".results" / "awx.json"
# A test calls record_property(SECOND_RUN, n) with how much a second run of the same thing changed.
SECOND_RUN = "second_run_changed"


class Recorder:
    """Collects the outcome of each test of this folder; a test that was skipped has not passed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.passed: dict[str, bool] = {}
        self.changed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if HERE not in (self.root / report.location[0]).parents:
            return
        if report.when == "call" or not report.passed:
            self.passed[report.nodeid] = self.passed.get(report.nodeid, True) and report.passed
        if report.when == "call":
            self.changed += sum(int(str(value)) for name, value in report.user_properties if name == SECOND_RUN)

    def pytest_sessionfinish(self) -> None:
        if self.passed:
            document = {
                "cases": len(self.passed),
                "passed": sum(self.passed.values()),
                "second_run_changed": self.changed,
            }
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(document) + "\n", encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config.rootpath), "awx-results")
