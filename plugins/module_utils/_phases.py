# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `restic prune` says while it works: its plan, its phases, what it removed. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Optional

# The versions whose lines are known, as major and minor number.
TESTED = ((0, 19),)


class Phase(enum.Enum):
    """What restic is about to do when it prints the line."""

    UNREFERENCED = "deleting unreferenced packs"
    REPACKING = "repacking packs"
    INDEX = "rebuilding index"
    REMOVING = "removing old packs"
    DONE = "done"


_FIXED = {phase.value: phase for phase in Phase if phase is not Phase.REMOVING}
_REMOVING = re.compile(r"removing \d+ old packs")
_REFUSED = re.compile(r"Remove\(<(?:data|index|snapshot)/\S*\) returned error, retrying after")
_REMOVED = re.compile(r"removed (?P<kind>data/|index )(?P<id>[0-9a-f]{64})")


def known(version: tuple[int, ...]) -> bool:
    """Whether the phase lines of this restic can be relied upon."""
    return version[:2] in TESTED


def phase(line: str) -> Optional[Phase]:
    """The phase that this line of standard output announces."""
    line = line.strip()
    if _REMOVING.fullmatch(line):
        return Phase.REMOVING
    return _FIXED.get(line)


def refused(line: str) -> bool:
    """Whether restic says on standard error that a delete was refused and that it waits to try again."""
    return bool(_REFUSED.match(line.strip()))


def removed(line: str) -> Optional[str]:
    """The key below the repository's prefix of an object that restic says it has removed, or tried to remove."""
    match = _REMOVED.fullmatch(line.strip())
    if not match:
        return None
    name = match["id"]
    return f"data/{name[:2]}/{name}" if match["kind"] == "data/" else f"index/{name}"


@dataclass
class Plan:
    """What prune means to do, from its statistics. Sizes are as exact as restic prints them."""

    keep_packs: Optional[int] = None
    repack_packs: int = 0
    delete_packs: int = 0
    unreferenced_packs: int = 0
    repack_bytes: int = 0
    remove_bytes: int = 0
    duplicate_blobs: int = 0

    @property
    def complete(self) -> bool:
        """Whether the statistics were seen at all."""
        return self.keep_packs is not None

    @property
    def empty(self) -> bool:
        return not (self.repack_packs or self.delete_packs or self.unreferenced_packs)

    def read(self, line: str) -> None:
        """Take in one line of output."""
        line = line.strip()
        for pattern, name in _COUNTS:
            match = pattern.fullmatch(line)
            if match:
                setattr(self, name, int(match[1]))
        for pattern, name in _SIZES:
            match = pattern.fullmatch(line)
            if match:
                setattr(self, name, size(match[1]))


_COUNTS = (
    (re.compile(r"to keep: +(\d+) packs"), "keep_packs"),
    (re.compile(r"to repack: +(\d+) packs"), "repack_packs"),
    (re.compile(r"to delete: +(\d+) packs"), "delete_packs"),
    (re.compile(r"to delete: +(\d+) unreferenced packs"), "unreferenced_packs"),
    (re.compile(r"duplicates: +(\d+) blobs / .*"), "duplicate_blobs"),
)
_SIZES = (
    (re.compile(r"to repack: +\d+ blobs / (.+)"), "repack_bytes"),
    (re.compile(r"total prune: +\d+ blobs / (.+)"), "remove_bytes"),
)
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def read_plan(output: str) -> Plan:
    """The plan in the output of `prune --dry-run -v`."""
    plan = Plan()
    for line in output.splitlines():
        plan.read(line)
    return plan


def size(text: str) -> int:
    """The bytes in a size as restic prints it, 0 when it cannot be read."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ([KMGT]iB|B)", text.strip())
    return round(float(match[1]) * _UNITS[match[2]]) if match else 0
