# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells what a job backs up, in restic's words, and whether there is anything of it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# restic's exit status is never this one: it made a snapshot, in which there is no file.
EMPTY = 65
# File systems that the kernel makes up, or that are gone with the power.
PSEUDO = frozenset({
    "bpf", "binfmt_misc", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "fusectl", "hugetlbfs",
    "mqueue", "nsfs", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tmpfs", "tracefs",
})  # fmt: skip
# They are, wherever this runs: a container shows some of them as folders.
ALWAYS_PSEUDO = ("/dev", "/proc", "/run", "/sys")
# Options of a job that become options of restic, once for each value.
_REPEATED = {
    "tags": "tag",
    "exclude": "exclude",
    "exclude_files": "exclude-file",
    "exclude_if_present": "exclude-if-present",
}
_SINGLE = {
    "exclude_larger_than": "exclude-larger-than",
    "limit_upload": "limit-upload",
    "compression": "compression",
    "pack_size": "pack-size",
    "read_concurrency": "read-concurrency",
}


def options_of(job: Mapping[str, Any]) -> list[str]:
    """restic backup's options for a job, whether it has paths or a command."""
    # What makes snapshots those of the job, whatever becomes of its paths.
    found = [f"--tag=job:{job['name']}"]
    found += [f"--{word}={value}" for name, word in _REPEATED.items() for value in job.get(name) or []]
    found += [f"--{word}={job[name]}" for name, word in _SINGLE.items() if job.get(name)]
    found += ["--one-file-system"] if job.get("one_file_system") else []
    return [*found, *(job.get("extra_args") or [])]


def paths_of(job: Mapping[str, Any], mounts: str = "/proc/self/mountinfo") -> list[str]:
    """restic backup's arguments for the paths of a job, and for what is left out of all jobs by default."""
    found = ["--exclude-caches"] if job.get("exclude_caches", True) else []
    if job.get("exclude_pseudo_filesystems", True):
        # The folders themselves stay: a restored system needs them.
        found += [f"--exclude={_escaped(folder)}/*" for folder in pseudo_below(job["paths"], _mounted(mounts))]
    return [*found, "--", *job["paths"]]


def _mounted(path: str) -> dict[str, str]:
    """Where which kind of file system is mounted; see proc_pid_mountinfo(5)."""
    found = {}
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                before, _dash, behind = line.partition(" - ")
                place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), before.split()[4])
                # A later mount hides an earlier one at the same place.
                found[place] = behind.split()[0]
    except OSError:
        return {}
    return found


def pseudo_below(paths: Sequence[str], mounted: Mapping[str, str]) -> list[str]:
    """Where pseudo file systems are below paths that are backed up.

    A path that is at such a place itself, or below it, was named because it is meant. A disk below it counts more.
    """
    real = [place for place, kind in mounted.items() if kind not in PSEUDO]
    places = {
        place for place, kind in mounted.items() if kind in PSEUDO and not any(_below(one, place) for one in real)
    }
    chosen = [os.path.normpath(path) for path in paths]
    found = [
        place
        for place in sorted({*ALWAYS_PSEUDO, *places} - {"/"})
        if any(_below(place, path) for path in chosen)
        and not any(path == place or _below(path, place) for path in chosen)
    ]
    return [place for place in found if not any(_below(place, other) for other in found)]


def _below(path: str, folder: str) -> bool:
    return path != folder and path.startswith(folder.rstrip("/") + "/")


def _escaped(path: str) -> str:
    """The pattern of restic that fits this path and no other."""
    return re.sub(r"([\\*?\[])", r"\\\1", path)


def nothing_there(paths: Sequence[str]) -> str:
    """Why a snapshot of these paths would hold less than its job says; nothing when all is well.

    restic keeps a link by itself, and succeeds where a disk that is not mounted has left an empty folder.
    """
    for path in paths:
        if os.path.islink(path):
            return f"{path} is a link, of which restic keeps no more than the link: name the folder that it leads to"
    # restic tells of a path that cannot be looked at.
    if any(not os.path.isdir(path) or any(files for _folder, _folders, files in os.walk(path)) for path in paths):
        return ""
    return f"there is not a single file in {', '.join(paths)}: look whether a disk is not mounted" if paths else ""


def pass_on(said: Iterable[bytes], to: int) -> bool:
    """Pass on what restic says; whether it says that the snapshot holds no file. Only restic can tell what excludes leave."""
    empty = False
    for line in said:
        empty = empty or line.startswith(b"processed 0 files,")
        # The reader may be gone, which is no reason to end a backup.
        with contextlib.suppress(OSError):
            os.write(to, line)
    return empty
