# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hears restic while it restores. Also runs on backed-up hosts.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from .._common.errors import HoldfastError
from .._common.progress import Progress

# restic says nothing while it compares what it has restored: a day of that is no finding.
_COMPARING = 86400


class RestoreError(HoldfastError):
    """The selection or the target of a restore is not usable."""


class Said:
    """What restic says while it restores; no more of it is kept than is asked for afterwards, however many entries there are.

    Args:
        target: The folder that it restores into.
        spare: How many bytes of the disk stay free; 0 for none.
        progress: Is told where it is.
        compares: Whether it reads the files again when it has restored them.

    Attributes:
        changes: Whether a dry run would have changed a file, or made something.
        bad_names: How often it complained of names that it does not restore, of which the listing has told.
        other_errors: How often it complained of anything else.
    """

    def __init__(
        self, target: str, spare: int = 0, progress: Progress | None = None, *, compares: bool = False
    ) -> None:
        self._target = target
        self._spare = spare
        self._progress = progress or Progress()
        self._compares = compares
        self._done: tuple[int, int] | None = None
        self._summary: dict[str, Any] = {}
        self.changes = False
        self.bad_names = self.other_errors = 0

    def hear(self, _stream: str, line: str) -> None:
        """A line of its output or of its errors, where each is JSON only in part.

        Raises:
            RestoreError: The disk is full: a snapshot can hold more than it says, and restic goes on with the next file.
        """
        if self._spare and free_space(self._target) < self._spare:
            raise RestoreError(f"The disk of {self._target} was full before all was restored.")
        try:
            message = json.loads(line) if line.startswith("{") else {}
        except (ValueError, RecursionError):
            return
        kind = message.get("message_type")
        if kind == "status":
            self._tell(message)
        elif kind == "summary":
            self._summary = message
            if self._compares:
                self._progress.step("comparing the files with the repository", still=_COMPARING)
        elif kind == "error":
            named = str(message.get("error", {}).get("message")).startswith("invalid child node name ")
            self.bad_names, self.other_errors = self.bad_names + named, self.other_errors + (not named)
        elif "action" in message:
            # Folders and links are always in its list.
            path = os.path.join(self._target, str(message.get("item", "")).lstrip("/"))
            made = message["action"] == "restored" and not os.path.lexists(path)
            self.changes = self.changes or made or message["action"] == "updated"

    def _tell(self, status: Mapping[str, Any]) -> None:
        """restic says how far it is every few seconds, also when it goes no further. What was there already is done, too."""
        size, files = (
            _count(status.get(f"{what}_restored")) + _count(status.get(f"{what}_skipped"))
            for what in ("bytes", "files")
        )
        if (size, files) != self._done:
            self._done = size, files
            self._progress.at(size, total=_count(status.get("total_bytes")) or None)

    @property
    def counted(self) -> bool:
        """Whether it told how much it restored, as it does since 0.17."""
        return bool(self._summary)

    def number(self, name: str) -> int:
        return int(self._summary.get(name, 0))


def free_space(path: str) -> int:
    """How many bytes of the disk of a folder a user may still fill."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
