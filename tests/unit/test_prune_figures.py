# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `restic prune -v` says."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.prune_figures import figures, size

PLAN = """
used:                  6 blobs / 4.000 MiB
duplicates:            0 blobs / 0 B
to repack:             9 blobs / 2.500 MiB
this removes:          3 blobs / 1.000 MiB
to delete:             2 blobs / 500.000 KiB
total prune:           5 blobs / 1.500 MiB
to keep:               4 packs
to repack:             2 packs
to delete:             1 packs
to delete:             1 unreferenced packs
"""


def test_figures() -> None:
    assert figures(PLAN) == {
        "packs_removed": 4,
        "bytes_removed": 3 << 19,
        "packs_repacked": 2,
        "bytes_repacked": 5 << 19,
    }
    assert set(figures("another restic says it otherwise").values()) == {0}


@pytest.mark.parametrize(
    ("text", "wanted"), [("0 B", 0), ("17 B", 17), ("1.500 KiB", 1536), ("2 TiB", 2 << 40), ("much", 0), ("1 XB", 0)]
)
def test_sizes(text: str, wanted: int) -> None:
    assert size(text) == wanted
