# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a command in a root of its own: the machine's programs, one folder, no network, no secrets; no process outlives it.

For the command of a restore drill. It reads what a host backed up, and a dump of a database is a program. So it sees /usr and
what programs need of /etc, and nothing else of the machine: no home, no record, no process, no socket. As root it runs as
`nobody`.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional

from .._common.errors import HoldfastError
from .._common.process_signals import dies_with_parent, forking
from .confinement import Kernel, keep
from .syscall_filter import restrict

# From linux/sched.h and linux/mount.h.
_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _PRIVATE, _DETACH = 1, 2, 4, 8, 4096, 16384, 1 << 18, 2
_NO_NEW_PRIVS = 38
NOBODY = 65534
# Inside: what was restored, and a folder for everything that the command writes.
TREE, WORK = "/restored", "/tmp"
_PROGRAMS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_FILES = ("passwd", "group", "nsswitch.conf", "ld.so.cache", "localtime", "alternatives")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": WORK, "TMPDIR": WORK,
    "HOLDFAST_TREE": TREE,
}  # fmt: skip
_MOST_PROCESSES, _MOST_FILES = 512, 1024
_MOST_SAID = 1 << 16
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM)
# How much is left free on the disk of the folder, in bytes.
SPARE = 64 << 20


class SandboxError(HoldfastError):
    """This machine cannot confine a command."""


@dataclass(frozen=True)
class Limits:
    """What a command may use: seconds, and bytes of memory for each of its processes."""

    seconds: float
    memory: int


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: Its exit status; None when it was ended.
        why: Why it was ended; empty when it was not.
        said: The end of what it said.
        seconds: How long it ran.
    """

    status: Optional[int]
    why: str
    said: str
    seconds: float


def run(command: Sequence[str], tree: str, work: str, limits: Limits) -> Ended:
    """Run a command on a restored tree. Both folders are given to `nobody` before, where this runs as root.

    Args:
        command: Its words.
        tree: The restored tree.
        work: An empty folder for what it writes.
        limits: What it may use.
    """
    began = time.monotonic()
    reader, writer = os.pipe()
    inside = _Inside(command, tree, work, limits, dies_with_parent(signal.SIGKILL))
    child, said = 0, bytearray()
    try:
        with forking():
            child = os.fork()
            if child == 0:
                inside.become(writer)
        os.close(writer)
        why = _hear(reader, said, work, began + limits.seconds)
    finally:
        if child:
            # It ends the others, and has ended when they have.
            os.kill(child, signal.SIGTERM)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(reader)
    text = said.decode("utf-8", "replace").strip()
    if status == _NO_ROOM:
        raise SandboxError(
            f"The command of the drill cannot be confined on this machine ({text or 'no reason given'}), and it reads files that "
            "a host wrote: run drills as root, or on another machine (holdfast_drill_on)."
        )
    return Ended(None if why else status, why, text, round(time.monotonic() - began, 1))


# The exit status for a command that could not be confined.
_NO_ROOM = 97


def _hear(reader: int, said: bytearray, work: str, end: float) -> str:
    """Read what the command says until it ends; why it must be ended before, if it must."""
    while True:
        left = end - time.monotonic()
        if left <= 0:
            return "its time was over"
        found = os.statvfs(work)
        if found.f_bavail * found.f_frsize < SPARE:
            return "it filled the disk"
        if select.select([reader], [], [], min(left, 0.5))[0]:
            data = os.read(reader, 1 << 16)
            if not data:
                return ""
            said += data
            del said[:-_MOST_SAID]


class _Inside:
    """Runs in the forked process, in the place of its program."""

    def __init__(
        self, command: Sequence[str], tree: str, work: str, limits: Limits, prepare: Callable[[], None]
    ) -> None:
        self._command, self._tree, self._work, self._limits, self._prepare = command, tree, work, limits, prepare
        self._root = os.geteuid() == 0

    def become(self, said: int) -> None:
        status = _NO_ROOM
        try:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(said, 1)
            os.dup2(said, 2)
            os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
            self._prepare()
            # All of its processes together may need more than there is: then these are the first to be killed.
            with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
                file.write("1000")
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
            kernel = Kernel()
            self._leave(kernel)
            # The first process of the new namespace; the kernel ends all others with it.
            children: list[int] = []
            asked: list[int] = []

            def end(number: int, _frame: object) -> None:
                asked.append(number)
                _kill(children)

            signal.signal(signal.SIGTERM, end)
            child = os.fork()
            if child == 0:
                self._first(kernel)
            children.append(child)
            if asked:  # while it was not known yet
                _kill(children)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        except Exception as error:  # noqa: BLE001 - whatever it is, the command does not run
            os.write(1, f"{getattr(error, 'filename', None) or 'namespace'}: {error}\n".encode())
        os._exit(status if status >= 0 else 128 - status)

    def _leave(self, kernel: Kernel) -> None:
        user, group = os.geteuid(), os.getegid()
        kernel("unshare", _NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET | (0 if self._root else _NEWUSER))
        if not self._root:
            for name, text in (
                ("setgroups", "deny"),
                ("uid_map", f"{user} {user} 1"),
                ("gid_map", f"{group} {group} 1"),
            ):
                with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                    file.write(text)

    def _first(self, kernel: Kernel) -> None:
        """Make the root, start the command in it, and wait for it."""
        status = _NO_ROOM
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            kernel.prctl(1, signal.SIGKILL)
            self._enter(kernel)
            child = os.fork()
            if child == 0:
                self._become(kernel)
            while True:
                found, how = os.wait()
                if found == child:
                    status = os.waitstatus_to_exitcode(how)
                    break
        except Exception as error:  # noqa: BLE001 - whatever it is, the command does not run
            os.write(1, f"{getattr(error, 'filename', None) or 'root'}: {error}\n".encode())
        os._exit(status if status >= 0 else 128 - status)

    def _enter(self, kernel: Kernel) -> None:
        kernel.mount("none", "/", None, _REC | _PRIVATE)
        new = self._work
        tree = os.open(self._tree, os.O_PATH | os.O_DIRECTORY)
        work = os.open(self._work, os.O_PATH | os.O_DIRECTORY)
        kernel.mount("none", new, "tmpfs", _NOSUID | _NODEV)
        for name in ("usr", "etc", "dev", "dev/shm", "proc", "run", "var", TREE[1:], WORK[1:]):
            os.mkdir(f"{new}/{name}")
        self._bind(kernel, "/usr", f"{new}/usr")
        for name in _PROGRAMS:
            if os.path.islink(f"/{name}"):
                os.symlink(os.readlink(f"/{name}"), f"{new}/{name}")
            elif os.path.isdir(f"/{name}"):
                os.mkdir(f"{new}/{name}")
                self._bind(kernel, f"/{name}", f"{new}/{name}")
        for name in _FILES:
            if os.path.exists(f"/etc/{name}"):
                place = f"{new}/etc/{name}"
                os.mkdir(place) if os.path.isdir(f"/etc/{name}") else os.close(os.open(place, os.O_CREAT | os.O_WRONLY))
                self._bind(kernel, os.path.realpath(f"/etc/{name}"), place)
        for name in _DEVICES:
            os.close(os.open(f"{new}/dev/{name}", os.O_CREAT | os.O_WRONLY))
            kernel.mount(f"/dev/{name}", f"{new}/dev/{name}", None, _BIND)
        kernel.mount("none", f"{new}/dev/shm", "tmpfs", _NOSUID | _NODEV | _NOEXEC, f"size={self._limits.memory}")
        os.chmod(f"{new}/dev/shm", 0o1777)
        for descriptor, place in ((tree, TREE), (work, WORK)):
            kernel.mount(f"/proc/self/fd/{descriptor}", new + place, None, _BIND)
            kernel.set_mounts(new + place, _NOSUID | _NODEV | _NOEXEC)
            os.close(descriptor)
        try:
            kernel.mount("proc", f"{new}/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
        except OSError:
            # In a container that hides parts of it.
            kernel.mount("none", f"{new}/proc", "tmpfs", _RDONLY | _NOSUID | _NODEV | _NOEXEC)
        self._pivot(kernel, new)

    def _pivot(self, kernel: Kernel, new: str) -> None:
        os.chdir(new)
        kernel("syscall", ctypes.c_long(_PIVOT[os.uname().machine]), b".", b".")
        kernel("umount2", b".", _DETACH)
        os.chdir("/")
        kernel.mount("none", "/", None, 32 | _BIND | _RDONLY | _NOSUID | _NODEV)

    def _bind(self, kernel: Kernel, source: str, place: str) -> None:
        kernel.mount(source, place, None, _REC | _BIND)
        kernel.set_mounts(place, _RDONLY | _NOSUID | _NODEV)

    def _become(self, kernel: Kernel) -> None:
        """Give up all rights, and become the command."""
        try:
            for name, most in (
                (resource.RLIMIT_CORE, 0),
                (resource.RLIMIT_NOFILE, _MOST_FILES),
                (resource.RLIMIT_NPROC, _MOST_PROCESSES),
                (resource.RLIMIT_DATA, self._limits.memory),
            ):
                resource.setrlimit(name, (most, most))
            os.chdir(TREE)
            if self._root:
                keep(kernel, frozenset())
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            kernel.prctl(_NO_NEW_PRIVS, 1)
            restrict(kernel.prctl)
            os.execvpe(self._command[0], list(self._command), _ENVIRONMENT)
        except FileNotFoundError:
            os.write(1, f"there is no program {self._command[0]} on this machine\n".encode())
            os._exit(127)
        except Exception as error:  # noqa: BLE001 - whatever it is, the command does not run
            os.write(1, f"{error}\n".encode())
        os._exit(_NO_ROOM)


def _kill(processes: Sequence[int]) -> None:
    for one in processes:
        os.kill(one, signal.SIGKILL)


_PIVOT = {"x86_64": 155, "aarch64": 41}
