# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells whether a process that was written down is still there, where that can be known.

A number alone says little: after a restart of the machine, and in another container, another process has it.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Optional


def identity(pid: int) -> str:
    """Which process has this number: when it began, in which namespace, since which start of the machine. Empty if unknown."""
    with suppress(OSError, IndexError):
        state, began, _parent = _stat(pid)
        return "" if state in "ZX" else f"{_view()} {began}"
    return ""


def gone(pid: int, known: str) -> Optional[bool]:
    """Whether the process is there no more; None where that cannot be seen from here."""
    view, _blank, _began = known.rpartition(" ")
    with suppress(OSError):
        return identity(pid) != known if view and view == _view() else None
    return None


def playbooks_above() -> list[tuple[int, str]]:
    """The processes of the ansible-playbook that waits for this one, with their identities; none where it runs elsewhere."""
    found: list[tuple[int, str]] = []
    pid = os.getppid()
    with suppress(OSError, IndexError, ValueError):
        while pid > 1:
            with open(f"/proc/{pid}/cmdline", "rb") as stream:
                words = stream.read().split(b"\0")[:3]
            if any(os.path.basename(word) == b"ansible-playbook" for word in words):
                found.append((pid, identity(pid)))
            elif found:
                break
            pid = int(_stat(pid)[2])
    return found


def children_with(text: bytes) -> list[int]:
    """The processes that this one has started with the text in their arguments; only those of now, for they are its own."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError, IndexError, ValueError):
            if int(_stat(int(name))[2]) == os.getpid():
                with open(f"/proc/{name}/cmdline", "rb") as stream:
                    if text in stream.read():
                        found.append(int(name))
    return found


def _view() -> str:
    """From where numbers of processes mean the same."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        return f"{stream.read().strip()} {os.readlink('/proc/self/ns/pid')}"


def _stat(pid: int) -> tuple[str, str, str]:
    """The state of a process, when it began, and its parent. Its name, which stands before them, may hold anything."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
        fields = stream.read().rpartition(")")[2].split()
    return fields[0], fields[19], fields[1]
