# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests measure, gathered from all processes of a run into .results: a plugin of pytest."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import sampling
from tests.support.results import write_result

PROPERTY = "figures of "
# A case may find that it could not be taken this time, and few may: what is skipped by all proves nothing.
MOST_MISSED = 0.05
Record = Callable[[str, object], None]


def add_figures(record_property: Record, name: str, **figures: float) -> None:
    """Add to .results/NAME.json; of a figure that begins with `worst`, the highest counts."""
    record_property(PROPERTY + name, figures)


def merge(sums: dict[str, float], figures: dict[str, float]) -> None:
    for name, value in figures.items():
        before = sums.get(name, 0)
        sums[name] = max(before, value) if name.startswith("worst") else before + value


class Gatherer:
    """Lives where reports of all tests arrive: in the process that was started."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.found: dict[str, dict[str, float]] = {}
        self.load = 0.0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        self.load = max(self.load, os.getloadavg()[0])
        for name, figures in report.user_properties:
            if name.startswith(PROPERTY) and isinstance(figures, dict):
                merge(self.found.setdefault(name.removeprefix(PROPERTY), {}), figures)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        chosen_by = "whole" if sampling.whole(self.config) else sampling.seed(self.config)
        for name, figures in self.found.items():
            missed = figures.pop("missed", 0)
            beside: dict[str, Any] = {"missed": missed} if missed else {}
            write_result(name, {**figures, **beside, "chosen_by": chosen_by, "highest_load": round(self.load, 1)})
            if missed > max(1, MOST_MISSED * (figures.get("cases", 0) + missed)):
                print(f"FAILED {name}: {missed:.0f} cases could not be taken")
                session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Gatherer(config))
