# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which cases of a matrix run: a sample in `make test`, the whole in `make proof`.

A sample is chosen by a seed, the commit's id unless another is given, so that one commit after another takes other cases
and in the end all of them.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
from collections.abc import Hashable, Sequence
from typing import TypeVar

import pytest

from tests.support.running import ROOT

Row = TypeVar("Row", bound=tuple[Hashable, ...])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--sample-seed",
        default=os.environ.get("SAMPLE_SEED") or commit(),
        help="what the cases of a matrix are chosen by: $SAMPLE_SEED, or else the id of the commit",
    )


def pytest_report_header(config: pytest.Config) -> str:
    return f"matrices: {'whole' if whole(config) else f'a sample, SAMPLE_SEED={seed(config)}'}"


def commit() -> str:
    """The id of the commit that is checked out."""
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "no commit"


def whole(config: pytest.Config) -> bool:
    """Whether every case is to run."""
    return bool(config.getoption("--proof"))


def seed(config: pytest.Config) -> str:
    return str(config.getoption("--sample-seed"))


def covering(rows: Sequence[Row], chosen_by: str, together: int = 2) -> list[Row]:
    """Rows in which every two values meet that meet in any row; in the order of the whole.

    Not by allpairspy: where some values meet only few others, it leaves pairs out.

    Args:
        together: How many values must meet: with 1, every value must be there.
    """

    meetings = {row: set(itertools.combinations(enumerate(row), together)) for row in rows}
    left = list(rows)
    random.Random(chosen_by).shuffle(left)
    missing = set().union(*meetings.values())
    chosen = set()
    while missing:
        best = max(left, key=lambda row: len(meetings[row] & missing))
        missing -= meetings[best]
        chosen.add(best)
    return [row for row in rows if row in chosen]
