# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults that are set by request pattern."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any, Optional

from tests.stand_in.messages import Request


@dataclass
class Fault:
    """What happens to requests that match, and to how many of them.

    Attributes:
        method: HTTP method; None: any.
        path: Regular expression, searched for in path and query.
        kind: S3 operation or "rest"; None: any.
        agent: Regular expression, searched for in the User-Agent header; None: any.
        status: Answer with this HTTP status instead of doing what is asked.
        code: Error code in that answer.
        body: Send this text instead of an error document.
        retry_after: Value of a Retry-After header in that answer.
        applied: Do what is asked, and only then answer with the status.
        delay: Seconds before anything happens.
        held: Nothing happens before the faults are taken away.
        in_flight: The token is judged, and the request takes effect when the faults are taken away, as one with a slow body may;
            "once", or judged "twice", then as well. The locks are judged only then.
        cut: Cut the connection "before" or "after" the request took effect, or in the middle of the answer ("half").
        times: How many requests are hit; 0: all.
        skip: How many matching requests are let through first.
    """

    method: Optional[str] = None
    path: Optional[str] = None
    kind: Optional[str] = None
    agent: Optional[str] = None
    status: Optional[int] = None
    code: Optional[Any] = None
    body: Optional[str] = None
    retry_after: Optional[int] = None
    applied: bool = False
    delay: float = 0.0
    held: bool = False
    in_flight: Optional[str] = None
    cut: Optional[str] = None
    times: int = 1
    skip: int = 0
    seen: int = 0
    cleared: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        if self.cut not in (None, "before", "after", "half"):
            raise ValueError("cut is neither before nor after nor half")
        if self.in_flight not in (None, "once", "twice"):
            raise ValueError("in_flight is neither once nor twice")
        re.compile(self.path or "")
        re.compile(self.agent or "")

    def _matches(self, request: Request, kind: str) -> bool:
        if self.method and self.method != request.method:
            return False
        if self.kind and self.kind != kind:
            return False
        if self.agent and not re.search(self.agent, request.headers.get("user-agent", "")):
            return False
        address = request.path + (f"?{request.raw_query}" if request.raw_query else "")
        return re.search(self.path, address) is not None if self.path else True

    def hits(self, request: Request, kind: str) -> bool:
        """Whether this request is one of those to be hit; counts it."""
        if not self._matches(request, kind):
            return False
        self.seen += 1
        return self.seen > self.skip and (self.times == 0 or self.seen <= self.skip + self.times)


class Faults:
    """All faults that are set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, values: dict[str, Any]) -> None:
        """Set one more."""
        fault = Fault(**values)
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Take all away."""
        with self._lock:
            for fault in self._faults:
                fault.cleared.set()
            self._faults.clear()

    def pick(self, request: Request, kind: str) -> Optional[Fault]:
        """The first fault that hits this request."""
        with self._lock:
            hits = [fault for fault in self._faults if fault.hits(request, kind)]
        return hits[0] if hits else None
