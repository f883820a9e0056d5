# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures that start a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.stand_in.client import StandIn

# One write of a key in a second, as R2 has it, is what the stand-in takes where nobody says otherwise. Tests that write
# objects themselves, again and again as fast as they can, and are about something else say otherwise by this.
HURRIED: dict[str, Any] = {"write_seconds": 0.0}


@pytest.fixture(name="stand_in")
def fixture_stand_in() -> Iterator[StandIn]:
    """A fresh stand-in for one test."""
    with StandIn.start() as found:
        yield found


@pytest.fixture(name="shared_stand_in", scope="session")
def fixture_shared_stand_in() -> Iterator[StandIn]:
    """One stand-in for all tests that get by with buckets of their own."""
    with StandIn.start(**HURRIED) as found:
        yield found
