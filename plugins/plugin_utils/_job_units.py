# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names the systemd units that the jobs of a host have, and the template of the role `backup` for each; and quotes words in
units. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Job = Mapping[str, Any]
# Those that a host has once, whatever its jobs are.
OF_HOST = ("holdfast-backup-failed@.service", "holdfast-backup-resume.service", "holdfast-backup-resume.timer")


class Unit(NamedTuple):
    """A unit, the template that it is written from, and the job that it is for."""

    name: str
    template: str
    job: Job


def runs_commands(job: Job) -> bool:
    """Whether something is done as the user of the job: its command, or a hook."""
    return any(job.get(name) for name in ("command", "before", "after"))


def units_of(jobs: Iterable[Job]) -> list[Unit]:
    """The units of a host with these jobs."""
    units = [Unit(name, f"{name}.j2", {}) for name in OF_HOST]
    for job in jobs:
        name = job["name"]
        units += [
            Unit(f"holdfast-backup@{name}.{kind}", f"holdfast-backup.{kind}.j2", job) for kind in ("service", "timer")
        ]
        if runs_commands(job):
            units += [
                Unit(f"holdfast-user-{name}.socket", "holdfast-user.socket.j2", job),
                Unit(f"holdfast-user-{name}@.service", "holdfast-user.service.j2", job),
            ]
    return units


def unit_word(text: object) -> str:
    """A path, or another word, as the settings of systemd's units take it: quoted where it has to be, `%` doubled."""
    word = str(text).replace("%", "%%")
    if re.fullmatch(r"[\w%./+@:,=-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
