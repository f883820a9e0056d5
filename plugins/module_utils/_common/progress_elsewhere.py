# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells on the maintenance node that a run works on another machine, whose own word on it nobody would have to believe.

How far it is, is not known here.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime

from .process_identity import playbooks_above
from .progress import Place, keep_unended, path_of, read_place, write_place
from .untrusted import shown

_NAME = 60
_DOING = {"restore": "restoring onto", "drill": "drilling on"}
RUNS = tuple(_DOING)


def place_elsewhere(run: str, repository: str, machine: str, seconds: int, now: datetime) -> Place:
    """Where such a run is.

    Args:
        run: "restore" or "drill".
        repository: The bucket, and the prefix if there is one.
        machine: Where it works.
        seconds: How long it may take. After that it is a finding.
        now: The time of the node.
    """
    # It lives as long as the playbook does, which may run on yet another machine.
    pid, process = [(0, ""), *playbooks_above()][-1]
    doing = f"{_DOING[run]} {shown(machine, _NAME)}"
    return Place(run, repository, doing, now, now, now, pid=pid, still=seconds, process=process)


def begins(folder: str, place: Place) -> bool:
    """Write it down; whether that was possible."""
    path = path_of(folder, place.run)
    keep_unended(path, place.began)
    with suppress(OSError):
        write_place(path, place)
        return True
    return False


def ends(folder: str, place: Place) -> bool:
    """Remove what the same playbook wrote, and nothing else; whether there was something to remove."""
    path = path_of(folder, place.run)
    known = read_place(path)
    if known and (known.step, known.pid, known.process) == (place.step, place.pid, place.process):
        with suppress(OSError):
            os.unlink(path)
            return True
    return False
