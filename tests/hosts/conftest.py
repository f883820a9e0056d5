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

from tests.hosts.fleet import Fleet, unusable
from tests.hosts.site import Site
from tests.stand_in.client import StandIn

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / ".results" / "hosts.json"
SCORES = pytest.StashKey[dict[str, float]]()
OUTCOMES = pytest.StashKey[dict[str, bool]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "hosts: boots Debian hosts; needs root on Debian, see `make hosts`")
    config.stash[SCORES] = {}
    config.stash[OUTCOMES] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report = yield
    if HERE in item.path.parents and (call.when == "call" or report.failed):
        outcomes = item.config.stash[OUTCOMES]
        outcomes[item.nodeid] = outcomes.get(item.nodeid, True) and report.passed
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    outcomes = session.config.stash[OUTCOMES]
    if not outcomes:
        return
    document = {
        "scenarios": len(outcomes),
        "passed": sum(outcomes.values()),
        "security_score": dict(sorted(session.config.stash[SCORES].items())),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def scores(request: pytest.FixtureRequest) -> dict[str, float]:
    """The worst score of systemd-analyze security for each suite, for the record of results."""
    return request.config.stash[SCORES]


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """Freshly booted hosts for one module of tests, one for each of its SUITES; tests run inside their network."""
    reason = unusable()
    if reason:
        pytest.skip(reason)
    found = Fleet(f"t{os.getpid() % 100000}")
    try:
        found.up(*getattr(request.module, "SUITES", ("bookworm", "trixie")))
        with found.network():
            yield found
    finally:
        found.down()


@pytest.fixture(scope="module")
def account_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stand-in keeps what it holds."""
    return tmp_path_factory.mktemp("account")


@pytest.fixture(scope="module")
def account(fleet: Fleet, account_folder: Path) -> Iterator[StandIn]:
    """A stand-in that the hosts of the fleet reach; it can be killed and started again with what it holds."""
    with StandIn.start(account_folder, host="0.0.0.0") as found:
        yield found


@pytest.fixture(scope="module")
def site(
    fleet: Fleet,
    account: StandIn,
    account_folder: Path,
    restic_path: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Site:
    """Hosts that are still bare, and all that is needed to provision them."""
    return Site(fleet, account, restic_path, tmp_path_factory.mktemp("node"), account_folder)


@pytest.fixture(scope="module")
def provisioned(site: Site) -> Site:
    """Hosts with restic, credentials, jobs and timers."""
    site.provision()
    return site
