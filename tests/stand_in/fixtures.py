# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures that start a stand-in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stand_in.client import StandIn


@pytest.fixture(name="stand_in")
def fixture_stand_in() -> Iterator[StandIn]:
    """A fresh stand-in for one test."""
    with StandIn.start() as found:
        yield found


@pytest.fixture(name="shared_stand_in", scope="session")
def fixture_shared_stand_in() -> Iterator[StandIn]:
    """One stand-in for all tests that get by with buckets of their own."""
    with StandIn.start() as found:
        yield found
