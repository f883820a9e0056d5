# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the figures in what `restic prune -v` prints. They are told to people, and decide nothing. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from typing import Optional

from .._common.progress import Progress

FIGURES = ("packs_removed", "bytes_removed", "packs_repacked", "bytes_repacked")
_COUNT = {
    "repacked": re.compile(r"to repack: +(\d+) packs"),
    "removed": re.compile(r"to delete: +(\d+) (?:unreferenced )?packs"),
}
_SIZE = {
    "repacked": re.compile(r"to repack: +\d+ blobs / (.+)"),
    "removed": re.compile(r"total prune: +\d+ blobs / (.+)"),
}
_SHARE = re.compile(r"\[[0-9:]+\] +([0-9]{1,3}\.[0-9]{2})%  .*")
_LONGEST = 200
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def figures(output: str) -> dict[str, int]:
    """How many packs are removed and repacked, and how many bytes; 0 for what cannot be read.

    Packs that are repacked are removed, too. Sizes are as exact as restic prints them.
    """
    found = dict.fromkeys(FIGURES, 0)
    for line in map(str.strip, output.splitlines()):
        for kind in ("repacked", "removed"):
            count, blobs = _COUNT[kind].fullmatch(line), _SIZE[kind].fullmatch(line)
            if count:
                found[f"packs_{kind}"] += int(count[1])
            if blobs:
                found[f"bytes_{kind}"] = size(blobs[1])
    found["packs_removed"] += found["packs_repacked"]
    return found


class PruneProgress:
    """Hears `restic prune -v` while it works, and tells where it is.

    Args:
        progress: Is told.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._repacks: Optional[int] = None

    def hear(self, _stream: str, line: str) -> None:
        """A line that restic has printed."""
        line = line[:_LONGEST].strip()
        blobs, begins, share = _SIZE["repacked"].fullmatch(line), line == "repacking packs", _SHARE.fullmatch(line)
        if blobs:
            self._repacks = size(blobs[1])
        elif begins:
            self._progress.step("repacking", self._repacks)
        elif line == "rebuilding index":
            self._progress.step("writing the index")
        elif share:
            self._progress.at(share=float(share[1]) / 100)


def size(text: str) -> int:
    """The bytes in a size as restic prints it, 0 when it cannot be read."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ([KMGT]iB|B)", text.strip())
    return round(float(match[1]) * _UNITS[match[2]]) if match else 0
