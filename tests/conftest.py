# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import hypothesis
import pytest

from tests.support import restic
from tests.support.running import Ansible, link_collection

link_collection()


def _undo_background() -> None:
    """Let signals work as they do in a terminal: a shell's background jobs, nohup and cron hand some down ignored."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        try:
            os.setsid()  # what nohup was asked for: a terminal that goes away ends nothing here
        except PermissionError:
            pass
    for number, action in (
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, action)


_undo_background()

# No deadline: a busy machine is not a slow program. The same examples in every CI run, new ones on every other.
hypothesis.settings.register_profile("project", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("project")

pytest_plugins = [
    "tests.stand_in.fixtures",
    "tests.support.maintenance",
    "tests.support.sampling",
    "tests.support.figures",
    "tests.support.once",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--proof", action="store_true", help="also run the tests that are marked proof")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests that are marked proof to `make proof`."""
    if config.getoption("--proof"):
        return
    left = [item for item in items if item.get_closest_marker("proof")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker("proof")]


@pytest.fixture(scope="session")
def restic_path() -> str:
    """A restic that is recent enough for maintenance."""
    return restic.required()


@pytest.fixture
def ansible(tmp_path: Path) -> Ansible:
    """Runs modules and playbooks of this collection, apart from the machine's own Ansible settings."""
    return Ansible(tmp_path / "ansible")
