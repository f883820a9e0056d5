# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an attack is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any

from tests.attacks.host import Host

# What a policy keeps, in the words of restic's options without their dashes.
POLICIES: dict[str, dict[str, Any]] = {
    "last": {"keep_last": 6},
    "daily": {"keep_daily": 4, "keep_weekly": 2, "keep_monthly": 2},
    "within": {"keep_within": "6d"},
    "within daily": {"keep_within_daily": "6d"},
}


def nothing(_host: Host) -> None:
    """What many attacks do before maintenance, or while it runs."""


def nothing_meanwhile(_host: Host, _ended: Event) -> None:
    """What many attacks do while maintenance runs."""


@dataclass(frozen=True)
class Attack:
    """An attack, and by what it must be noticed.

    Args:
        name: For the table.
        named: Codes of findings, of which any names this attack. None when all that was tried must be refused, by the
            lock or because the host's token is disabled, and refused requests leave nothing in a bucket that could be
            found: then the refusal is what is told. Empty when nobody attacks and nothing must be found.
        before: What is done before maintenance, with what a host has. Done once, for both sides.
        meanwhile: What is done while maintenance runs, until the event says that it has ended. Done on each side.
        policy: What maintenance keeps.
    """

    name: str
    named: frozenset[str] | None
    before: Callable[[Host], None] = nothing
    meanwhile: Callable[[Host, Event], None] = nothing_meanwhile
    policy: str = "daily"

    @property
    def control(self) -> bool:
        """Whether it is no attack at all."""
        return self.named is not None and not self.named
