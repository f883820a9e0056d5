# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the tests on booted hosts, and the record of their results."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.heartbeat import Heartbeat
from tests.stand_in.client import StandIn
from tests.support import sampling
from tests.support.hosts import BootedHosts, unusable
from tests.support.site import Site

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / ".results" / "hosts.json"
SUITES = ("bookworm", "trixie")
# In a sample, so many of the files run: each boots hosts and provisions them, and that takes longer than its tests do.
FILES = 1


class Results:
    """Writes what became of the tests to RESULTS; where several processes run them, the one that collects their reports."""

    def __init__(self) -> None:
        self.outcomes: dict[str, bool] = {}
        self.scores: dict[str, float] = {}
        self.skipped = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once, as failed when any of its phases failed."""
        if not report.nodeid.startswith("tests/hosts/"):
            return
        self.skipped = self.skipped or report.skipped
        if report.when == "call" or report.failed:
            self.outcomes[report.nodeid] = self.outcomes.get(report.nodeid, True) and report.passed
        for name, value in report.user_properties:
            if name == "security_score" and isinstance(value, dict):
                self.scores.update(value)

    def pytest_sessionfinish(self) -> None:
        """What was said before is true no more when nothing could be tested."""
        if self.outcomes:
            document = {
                "scenarios": len(self.outcomes),
                "passed": sum(self.outcomes.values()),
                "security_score": dict(sorted(self.scores.items())),
            }
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(document) + "\n", encoding="utf-8")
        elif self.skipped:
            RESULTS.unlink(missing_ok=True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "hosts: boots Debian hosts; needs root on Debian, see `make hosts`")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Results(), "results-of-hosts")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave files to `make proof` that are not chosen."""
    if sampling.whole(config):
        return
    booting = {item.path for item in items if item.get_closest_marker("hosts") and not item.get_closest_marker("proof")}
    chosen = sampling.draw(sorted(map(str, booting)), FILES, f"{sampling.seed(config)} hosts")
    left = [item for item in items if item.get_closest_marker("hosts") and str(item.path) not in chosen]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest) -> Iterator[BootedHosts]:
    """Freshly booted hosts for one module of tests, one of each suite; tests run inside their network.

    Without --proof, a module that has a SAMPLE of them runs on that.
    """
    reason = unusable()
    if reason:
        pytest.skip(reason)
    found = BootedHosts(f"t{os.getpid() % 100000}")
    try:
        whole = request.config.getoption("--proof")
        found.up(*SUITES if whole else getattr(request.module, "SAMPLE", SUITES))
        with found.network():
            yield found
    finally:
        found.down()


@pytest.fixture(scope="module")
def account_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stand-in keeps what it holds."""
    return tmp_path_factory.mktemp("account")


@pytest.fixture(scope="module")
def account(fleet: BootedHosts, account_folder: Path) -> Iterator[StandIn]:
    """A stand-in that the hosts of the fleet reach; it can be killed and started again with what it holds."""
    with StandIn.start(account_folder, host="0.0.0.0") as found:
        yield found


@pytest.fixture(scope="module")
def site(
    fleet: BootedHosts,
    account: StandIn,
    account_folder: Path,
    restic_path: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Site:
    """Hosts that are still bare, and all that is needed to provision them."""
    return Site(fleet, account, restic_path, tmp_path_factory.mktemp("node"), account_folder)


@pytest.fixture(scope="module")
def heartbeat(fleet: BootedHosts) -> Iterator[Heartbeat]:
    """Hears what jobs tell."""
    found = Heartbeat()
    yield found
    found.server.shutdown()
