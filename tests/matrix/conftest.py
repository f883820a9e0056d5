# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the matrices of signals and faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.matrix.scene import PreparedBucket, original, template
from tests.support.once import made_once


@pytest.fixture(name="template", scope="session")
def fixture_template(pytestconfig: pytest.Config) -> Iterator[PreparedBucket]:
    """A repository to take copies of, on a stand-in of this process."""
    with template(made_once(pytestconfig, "original", original)) as found:
        yield found
