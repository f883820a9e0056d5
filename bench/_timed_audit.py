# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module restic_audit as a program that tells what its search for ransomware takes, and all of the audit."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions import audit
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Restic
from ansible_collections.holdfast.restic_r2.plugins.modules import restic_audit

Figures = dict[str, float]
calls: list[object] = []
figures: dict[str, Figures] = {}


def main() -> None:
    """Run the module; the figures come on stderr, when it has ended."""
    start, watch = Restic.start, audit.watch

    def counted(self: Restic, *args: Any, **more: Any) -> Any:
        calls.append(args)
        return start(self, *args, **more)

    def watched(*args: Any, **more: Any) -> None:
        _measured("signals", lambda: watch(*args, **more))

    Restic.start, audit.watch = counted, watched  # type: ignore[method-assign]
    try:
        _measured("all", restic_audit.main)
    finally:
        print(json.dumps(figures), file=sys.stderr)


def _measured(name: str, work: Callable[[], object]) -> None:
    before = _now()
    try:
        work()
    finally:
        figures[name] = {key: value - before[key] for key, value in _now().items()}


def _now() -> Figures:
    """The time, that of all processors for this process and those that it has started, and how often restic was started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    return {"seconds": time.monotonic(), "cpu_seconds": cpu, "calls": len(calls)}


main()
