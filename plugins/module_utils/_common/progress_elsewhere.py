# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells on the maintenance node that a run works on another machine, whose own word on it nobody would have to believe.

What it says of how far it is, is shown and decides nothing: numbers within bounds, and a step out of a fixed list.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from .process_identity import playbooks_above
from .progress import LARGEST, Place, from_data, further, keep_unended, path_of, read_place, write_place
from .untrusted import shown

_NAME = 60
_DOING = {"restore": "restoring onto", "drill": "drilling on"}
RUNS = tuple(_DOING)
# What the modules restic_restore and restic_drill do.
_STEP = re.compile(
    r"judging what the snapshot lists|restoring snapshot [0-9a-f]{8}|comparing the files with the repository"
    r"|looking at the files|running the command"
)


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
    if known and same(known, place):
        with suppress(OSError):
            os.unlink(path)
            return True
    return False


def same(known: Place, note: Place) -> bool:
    """Whether a place is this note, or what `followed` has made of it."""
    mine = (known.pid, known.process) == (note.pid, note.process)
    return mine and f"{known.step}: ".startswith(f"{note.step}: ")


def followed(note: Place, known: Place, said: str, now: datetime) -> Place:
    """Where the run is by what the other machine says; what was known, if that says nothing new or is no such thing.

    Its times are not taken, and the time that the run may take ends when it would have ended without a word of it.

    Args:
        note: What was noted when it began.
        known: What is known by now.
        said: The file of the module there.
        now: The time of the node.
    """
    there = None
    with suppress(ValueError, RecursionError):
        there = from_data(json.loads(said)) if len(said) <= LARGEST else None
    if there is None or not _STEP.fullmatch(there.step):
        return known
    step = f"{note.step}: {there.step}"
    if known.step != step:
        known = replace(note, step=step, since=now)
    elif (known.share, known.done, known.total) == (there.share, there.done, there.total):
        return known
    still = note.still - int((now - note.began).total_seconds())
    return replace(further(known, now, there.done, there.share, there.total), still=max(1, still))
