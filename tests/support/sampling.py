# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which cases run: a sample in `make test`, the whole in `make proof`.

A sample is chosen by a seed, the commit's id unless another is given, so that one commit after another takes other cases
and in the end all of them. Matrices choose by themselves; of other tests, those with the marker `sample` are chosen from:
one case of the test, or as many as it says (`sample(2)`), or some tests of a group (`sample(of="stories")`,
`sample(2, of="a group of one file")`). Of those with the marker `long`, which take some ten seconds, every eighth of each part
is chosen.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import pytest

from tests.support.running import ROOT

Row = TypeVar("Row", bound=tuple[Hashable, ...])

# How many tests of a group run: long ones, each of which tells a story of its own from end to end.
GROUPS = {"examples": 2, "stories": 4}
# One in so many of the long tests of a part runs, and at least one.
ONE_IN = 8


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--sample-seed",
        default=os.environ.get("SAMPLE_SEED") or commit(),
        help="what the cases of a matrix are chosen by: $SAMPLE_SEED, or else the id of the commit",
    )


def pytest_report_header(config: pytest.Config) -> str:
    return f"matrices: {'whole' if whole(config) else f'a sample, SAMPLE_SEED={seed(config)}'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave those tests to `make proof` that are marked sample and not chosen."""
    if whole(config):
        return
    groups: dict[str, tuple[int, list[str]]] = {}
    for item in items:
        name, count = _group(item)
        if name:
            groups.setdefault(name, (count, []))[1].append(item.nodeid)
    chosen = pick(groups, seed(config))
    runs = [item for item in items if not _group(item)[0] or item.nodeid in chosen]
    left = set(items).difference(runs)
    config.hook.pytest_deselected(items=list(left))
    items[:] = runs


def _group(item: pytest.Item) -> tuple[str, int]:
    """The group that a sample is taken of, and how many of it (0: one in some); no group for a test that always runs."""
    marker = item.get_closest_marker("sample")
    if item.get_closest_marker("proof"):
        return "", 0
    if item.get_closest_marker("long"):
        return f"long tests of {'/'.join(item.nodeid.split('/')[:2])}", 0
    if marker is None:
        return "", 0
    if "of" in marker.kwargs:
        group = marker.kwargs["of"]
        return group, marker.args[0] if marker.args else GROUPS[group]
    return item.nodeid.partition("[")[0], marker.args[0] if marker.args else 1


def pick(groups: Mapping[str, tuple[int, Sequence[str]]], chosen_by: str) -> set[str]:
    """What is drawn of each group: as many as it says, or one in some of those that do not say it, and at least one."""
    chosen: set[str] = set()
    for name, (count, ids) in groups.items():
        chosen.update(draw(ids, count or -(-len(ids) // ONE_IN), f"{chosen_by} {name}"))
    return chosen


def draw(ids: Sequence[str], count: int, chosen_by: str) -> list[str]:
    """So many of these, whatever order they come in."""
    return random.Random(chosen_by).sample(sorted(ids), min(count, len(ids)))


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
