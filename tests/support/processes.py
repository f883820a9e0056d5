# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes of a running maintenance: who is who, and how much memory each takes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# How AnsiballZ calls the program that a module becomes.
MODULE = "AnsiballZ_restic_prune"


@dataclass(frozen=True)
class Process:
    """One process of the tree below ansible-playbook.

    Attributes:
        role: ansible (the playbook itself), worker (what it forks for a host), module, keeper or restic.
    """

    pid: int
    role: str


def _parents() -> dict[int, int]:
    """Every process of the machine with its parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # What is in parentheses is the program's name, which may hold anything.
            found[int(stat.parent.name)] = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except OSError:
            continue
    return found


def _command(pid: int) -> list[str]:
    """The words of a command; a path may have a space in it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
    except OSError:
        return [""]


def _leads_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except OSError:
        return False


def _role(pid: int, parent_role: str) -> str:
    command = _command(pid)
    program = Path(command[0]).name
    if program == "restic":
        return "restic"
    if parent_role in ("module", "keeper"):
        return "keeper" if _leads_session(pid) else parent_role  # else on its way to become restic
    # The shell in between names the module too.
    return "module" if "python" in program and any(MODULE in word for word in command) else "worker"


def tree(root: int, role: str = "ansible") -> list[Process]:
    """ansible-playbook, or whatever else the first process is, and everything below it, parents first."""
    parents = _parents()
    found = [Process(root, role)]
    for process in found:  # grows meanwhile
        children = [child for child, parent in parents.items() if parent == process.pid]
        found += [Process(child, _role(child, process.role)) for child in children]
    return found


def memory(pid: int) -> int:
    """The bytes that a process takes: its own and its share of what it shares (PSS); 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def state(pid: int) -> str:
    """The state of a process, as in ps: T is stopped, Z has ended and was not reaped; "gone" when it was."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be reaped counts as ended."""
    return state(pid) in ("gone", "Z")


def describe(process: Process) -> str:
    """Who it is and what it does, for a message."""
    return f"{process.role} ({state(process.pid)}: {' '.join(_command(process.pid))[:200].strip()})"


def groups(processes: list[Process]) -> set[int]:
    """The process groups of ansible-playbook and its workers; since ansible-core 2.19 each worker leads its own."""
    found = set()
    for process in processes:
        if process.role in ("ansible", "worker"):
            try:
                found.add(os.getpgid(process.pid))
            except ProcessLookupError:
                continue
    return found
