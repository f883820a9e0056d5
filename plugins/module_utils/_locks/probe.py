# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds out whether locks are in force on some prefixes of a bucket, by requests and not from the lock document.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from .._common.clock import elapsed
from .._common.parallel import in_parallel
from .._r2.s3 import S3, S3Error
from .rules import lock_set

HOST, NODE = "host", "node"


def in_force(prefixes: dict[str, str]) -> bool:
    """Whether no prefix is open, and those below which every repository has something are locked."""
    always = [state for prefix, state in prefixes.items() if prefix.endswith(("config", "keys/"))]
    return "open" not in prefixes.values() and set(always) == {"locked"}


class LockProbe:
    """Whether the locks of a repository are in force, asked with the host's own keys for as long as R2 takes them.

    A lock holds against all keys alike, so that the node's keys will do where the host's are not known or not taken,
    such as while its token is disabled. `asked_by` tells whose were used last.

    Args:
        prefix: The prefix of the repository.
        node: Makes the client with the node's keys, when it is needed first.
        host: Makes one with the host's own keys; None where they are not known.
    """

    def __init__(self, prefix: str, node: Callable[[], S3], host: Callable[[], S3] | None = None) -> None:
        self.prefix = prefix
        self.asked_by = NODE
        self._node = node
        self._host = host

    def states(self) -> dict[str, str]:
        """The state of each prefix of the lock set: "locked", "open", or "missing" where there is no object."""
        if self._host is not None:
            try:
                self.asked_by = HOST
                return self._states(self._host())
            except S3Error as error:
                if error.status not in (401, 403):
                    raise
        self.asked_by = NODE
        return self._states(self._node())

    def wait(self, seconds: float, pause: Callable[[float], None] = time.sleep) -> dict[str, str]:
        """Ask until the locks are in force, also in the eyes of the host where its keys are known; then as states().

        What R2 is told takes effect at once or a little later, rules and new keys alike.
        """
        deadline, step = elapsed() + seconds, 0.5
        while True:
            found = self.states()
            desired = NODE if self._host is None else HOST
            if (in_force(found) and self.asked_by == desired) or elapsed() + step > deadline:
                return found
            pause(step)
            step = min(step * 2, 5.0)

    def _states(self, s3: S3) -> dict[str, str]:
        prefixes = [rule["prefix"] for rule in lock_set(self.prefix)]
        return in_parallel(lambda prefix: self._state(s3, prefix), prefixes, len(prefixes))

    def _state(self, s3: S3, prefix: str) -> str:
        key = s3.first_key(prefix)
        if key is None:
            return "missing"
        state = s3.probe(key)
        # It was there a moment ago, and only what is not held can go.
        return "open" if state == "missing" else state


class Prober:
    """Probes prefixes through one existing key of each.

    Args:
        s3: Makes the S3 client, when it is needed first.
        prefixes: The prefixes to probe.
        pause: Called with the seconds to wait between two rounds.
    """

    def __init__(self, s3: Callable[[], S3], prefixes: list[str], pause: Callable[[float], None]) -> None:
        self._make = s3
        self._s3: S3 | None = None
        self._pause = pause
        self._keys: dict[str, str | None] = dict.fromkeys(prefixes)

    def prepare(self) -> None:
        """Choose a key in every prefix, so that a later probe is one request."""
        for prefix in self._keys:
            self._keys[prefix] = self._client().first_key(prefix)

    def until(self, desired: str, deadline: float) -> dict[str, str]:
        """Probe until every prefix is as desired or the deadline is over; returns the last state of each.

        A failing probe is repeated until the deadline too, and then raises S3Error.

        A prefix without any object is "missing": there is nothing that a lock could hold.
        """
        states: dict[str, str] = {}
        pause = 0.1
        while True:
            for prefix in self._keys:
                if states.get(prefix) not in (desired, "missing"):
                    try:
                        # A key that was there under lock is gone only if the lock is: no need to look for it.
                        states[prefix] = self._probe(prefix, present=desired == "open")
                    except S3Error:
                        states[prefix] = "unknown"
                        if elapsed() + pause >= deadline:
                            raise
            if all(state in (desired, "missing") for state in states.values()) or elapsed() + pause >= deadline:
                return states
            self._pause(pause)
            pause = min(pause * 2, 1.0)

    def _client(self) -> S3:
        if self._s3 is None:
            self._s3 = self._make()
        return self._s3

    def _probe(self, prefix: str, present: bool) -> str:
        key = self._keys[prefix]
        state = "missing" if key is None else self._client().probe(key, present=present)
        if state == "missing":
            # The key is gone, deleted in the window, or was never there.
            self._keys[prefix] = key = self._client().first_key(prefix)
            state = "missing" if key is None else self._client().probe(key)
        return state
