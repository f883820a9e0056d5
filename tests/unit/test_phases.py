# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Optional

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._phases import (
    Phase,
    known,
    phase,
    read_plan,
    refused,
    removed,
    size,
)

ID = "56c4c55db121ac2c652a5a62f89711cab0978094c2a64c1b8d6621841e4ab4a3"
# The form of restic 0.19.1, all statistics there are.
DRY_RUN = """
duplicates:           55 blobs / 34.300 MiB
used:                 12 blobs / 8.585 MiB
unused:                2 blobs / 612 B
unreferenced:                    1.500 KiB
total:                14 blobs / 8.586 MiB
unused size: 0.01% of total size

to repack:             7 blobs / 4.000 KiB
this removes:          3 blobs / 2.000 KiB
to delete:             2 blobs / 612 B
total prune:           5 blobs / 2.598 KiB
remaining:            12 blobs / 8.585 MiB
unused size after prune: 0 B (0.00% of remaining size)

totally used packs:          5
partly used packs:           0
unused packs:                1


to keep:               5 packs
to repack:             3 packs
to delete:             1 packs
to delete:             4 unreferenced packs
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("deleting unreferenced packs", Phase.UNREFERENCED),
        ("repacking packs", Phase.REPACKING),
        ("rebuilding index\r", Phase.INDEX),
        ("removing 12 old packs", Phase.REMOVING),
        ("done", Phase.DONE),
        ("removing old packs", None),
        ("[0:00] 100.00%  6 / 6 packs processed", None),
        ("not done", None),
        ("", None),
    ],
)
def test_phases(line: str, expected: Optional[Phase]) -> None:
    assert phase(line) is expected


def test_what_restic_says_it_removed() -> None:
    assert removed(f"removed data/{ID}") == f"data/56/{ID}"
    assert removed(f"removed index {ID}") == f"index/{ID}"
    assert removed(f"failed to remove index {ID}: no") is None
    assert removed(f"removed data/{ID}0") is None


def test_refusals() -> None:
    assert refused("Remove(<index/a1b2c3d4e5>) returned error, retrying after 720.254544ms: The object is locked")
    assert refused("Remove(<snapshot/a1b2c3d4e5>) returned error, retrying after 1.2s: Access Denied.")
    assert not refused("Remove(<lock/a1b2c3d4e5>) returned error, retrying after 1.2s: 503")
    assert not refused("Load(<index/a1b2c3d4e5>, 0, 0) returned error, retrying after 1.2s: 503")


def test_the_plan() -> None:
    plan = read_plan(DRY_RUN)
    assert plan.complete and not plan.empty
    assert (plan.keep_packs, plan.repack_packs, plan.delete_packs, plan.unreferenced_packs) == (5, 3, 1, 4)
    assert (plan.repack_bytes, plan.remove_bytes, plan.duplicate_blobs) == (4096, round(2.598 * 1024), 55)


def test_a_plan_that_was_not_seen_is_not_complete() -> None:
    assert not read_plan("to repack: 0 packs\nsomething new\n").complete


def test_nothing_to_do() -> None:
    plan = read_plan("to keep: 5 packs\nto repack: 0 packs\nto delete: 0 packs\n")
    assert plan.complete and plan.empty


@pytest.mark.parametrize(("text", "expected"), [("0 B", 0), ("1.500 GiB", 3 << 29), ("1.000 TiB", 1 << 40), ("?", 0)])
def test_sizes(text: str, expected: int) -> None:
    assert size(text) == expected


def test_known_versions() -> None:
    assert known((0, 19, 1)) and known((0, 19, 0))
    assert not known((0, 20, 0)) and not known((1, 19, 0)) and not known(())
