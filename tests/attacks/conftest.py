# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The repository that all attacks are tried on, and the record of what became of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.attacks.outcome import HEADING
from tests.attacks.scene import Template, make_template, stage
from tests.stand_in.client import StandIn
from tests.support.once import made_once
from tests.support.results import write_result


@pytest.fixture(scope="session")
def template(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A repository to take copies of."""
    return made_once(pytestconfig, "attacks", lambda: make_template(tmp_path_factory.mktemp("attacks")))


@pytest.fixture(scope="session")
def scene(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A stand-in with the template in it, which the attacks of one process share."""
    with stage(template, tmp_path_factory.mktemp("scene")) as found:
        yield found


class Recorder:
    """Shows a table of all attacks, and writes their figures, from what the processes of pytest-xdist report."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.told: list[dict[str, Any]] = []
        self.node = {"cases": 0, "reached": 0}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            for one in [json.loads(str(value)) for name, value in report.user_properties if name == "node"]:
                self.node = {name: self.node[name] + one[name] for name in self.node}
            self.told += [json.loads(str(value)) for name, value in report.user_properties if name == "attack"]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.told:
            return
        terminalreporter.section("attacks")
        for line in (HEADING, *(one["row"] for one in self.told)):
            terminalreporter.write_line(line)
        attacks = [one for one in self.told if not one["control"]]
        figures = ("lost_plain", "lost_ours", "unnamed", "only_refused")
        write_result(
            "attacks",
            {
                "attacks": len(attacks),
                **{name: sum(one[name] for one in attacks) for name in figures},
                "node": self.node,
                "seconds": round(time.monotonic() - self.began),
            },
        )


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(), "record-of-attacks")
