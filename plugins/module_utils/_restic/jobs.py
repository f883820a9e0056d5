# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the job that a snapshot belongs to: by its tag, or by its paths where it was made before jobs had tags. Pure.

Tags, paths and host names are what the host says. So a snapshot whose tags are not exactly as a job writes them belongs to no
job: it makes no job look alive, and it takes the place of no other snapshot.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple, Optional

# What the tag of a job begins with; its name follows.
TAG = "job:"
# The names that the setting backup_jobs takes.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")

Snapshot = Mapping[str, Any]


class Group(NamedTuple):
    """What the retention looks at as one history.

    Args:
        host: The host name in the snapshots.
        job: The job; empty where there is none.
        paths: What was backed up; empty where there is a job, whose paths may change.
    """

    host: str
    job: str
    paths: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = f"job {self.job}" if self.job else ", ".join(self.paths) or "nothing"
        return f"{what} of host {self.host or 'without a name'}"


def named_by(snapshot: Snapshot) -> Optional[str]:
    """The job that a snapshot names; empty when it names none, None when its tags are not as a job writes them."""
    tags = {tag for tag in snapshot.get("tags") or () if str(tag).strip().startswith(TAG)}
    if not tags:
        return ""
    name = str(tags.pop()).removeprefix(TAG) if len(tags) == 1 else ""
    return name if _NAME.fullmatch(name) else None


def paths_in_snapshots(job: Mapping[str, Any]) -> list[str]:
    """The paths of a job's snapshots. The output of a command is a file at the top."""
    return list(job.get("paths") or [f"/{job.get('filename') or job['name']}"])


def paths_of(paths: Iterable[object]) -> frozenset[str]:
    """Paths in the form in which they are compared."""
    return frozenset(os.path.normpath(str(path)) for path in paths)


class Jobs:
    """The jobs of a host.

    Args:
        configured: Jobs as in the setting backup_jobs, each with its name, and with its paths, filename or neither.
        hosts: The names of the host in snapshots; empty where any will do.
    """

    def __init__(self, configured: Iterable[Mapping[str, Any]], hosts: Collection[str] = ()) -> None:
        self.hosts = frozenset(hosts)
        self.names: list[str] = []
        self._by_paths: dict[frozenset[str], Optional[str]] = {}
        for job in configured:
            name, paths = str(job["name"]), paths_of(paths_in_snapshots(job))
            self.names.append(name)
            # Which of two jobs with the same paths is meant cannot be known.
            self._by_paths[paths] = None if paths in self._by_paths else name

    def of(self, snapshot: Snapshot) -> Optional[str]:
        """The job of this host that a snapshot belongs to; None for no job."""
        group = self.group(snapshot)
        return group.job if self.has(group) else None

    def group(self, snapshot: Snapshot) -> Group:
        """The history that a snapshot is part of."""
        host, paths = str(snapshot.get("hostname") or ""), snapshot.get("paths") or ()
        named = named_by(snapshot)
        if named == "" and self._is_ours(host):
            named = self._by_paths.get(paths_of(paths))
        return Group(host, named) if named else Group(host, "", tuple(sorted(str(path) for path in paths)))

    def has(self, group: Group) -> bool:
        """Whether the history is that of a job of this host, as it is set up now."""
        return group.job in self.names and self._is_ours(group.host)

    def _is_ours(self, host: str) -> bool:
        return not self.hosts or host in self.hosts
