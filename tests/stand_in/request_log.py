# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The request log: who asked for what, in the order of arrival."""

from __future__ import annotations

import re
import threading
from typing import Any, Optional


class RequestLog:
    """Entries appear when a request arrives and get their status when it is answered."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._entries: list[dict[str, Any]] = []
        self._count = 0

    def arrive(self, **values: Any) -> dict[str, Any]:
        """Note a request that has come in."""
        with self._changed:
            self._count += 1
            entry = {"n": self._count, "status": None, "finished": None, "key_id": None, **values}
            self._entries.append(entry)
            self._changed.notify_all()
        return entry

    def finish(self, entry: dict[str, Any], status: int, now: float) -> None:
        """Note the status of its answer; 0: the connection was cut."""
        self.change(entry, status=status, finished=now)

    def change(self, entry: dict[str, Any], **values: Any) -> None:
        """Note what has become of a request."""
        with self._changed:
            entry.update(values)
            self._changed.notify_all()

    def since(self, number: int) -> list[dict[str, Any]]:
        """Copies of the entries after that number."""
        with self._changed:
            return [dict(entry) for entry in self._entries if entry["n"] > number]

    def clear(self) -> None:
        """Forget the entries; numbers go on."""
        with self._changed:
            self._entries.clear()

    def wait(self, wanted: dict[str, Any], since: int, arrived: bool, timeout: float) -> Optional[dict[str, Any]]:
        """The first entry after a number that has these values; path and agent are regular expressions."""

        def find() -> Optional[dict[str, Any]]:
            for entry in self._entries:
                if entry["n"] > since and (arrived or entry["status"] is not None) and _fits(entry, wanted):
                    return dict(entry)
            return None

        with self._changed:
            return self._changed.wait_for(find, timeout)


def _fits(entry: dict[str, Any], wanted: dict[str, Any]) -> bool:
    for name, value in wanted.items():
        if name in ("path", "agent"):
            if not re.search(value, entry[name]):
                return False
        elif entry.get(name) != value:
            return False
    return True
