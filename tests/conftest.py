# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

from tests.support import restic
from tests.support.running import Ansible, link_collection

link_collection()

# No deadline: a busy machine is not a slow program. The same examples in every CI run, new ones on every other.
hypothesis.settings.register_profile("project", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("project")

pytest_plugins = ["tests.stand_in.fixtures", "tests.support.maintenance"]


@pytest.fixture(scope="session")
def restic_path() -> str:
    """A restic that is recent enough for maintenance."""
    path = restic.find()
    if path is None:
        pytest.fail("There is no restic 0.19 or newer: run `make restic`, or set RESTIC to one.")
    return path


@pytest.fixture
def ansible(tmp_path: Path) -> Ansible:
    """Runs modules and playbooks of this collection, apart from the machine's own Ansible settings."""
    return Ansible(tmp_path / "ansible")
