# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs restic in namespaces of its own: it can write nothing but some folders, /proc leads nowhere, and the network leads
to its repository alone.

A snapshot is data to restic, yet it decides which paths restic opens, as root. So the kernel refuses the others, and
all system calls that jobs cannot use either.
This works with systemd and without, in containers that may make namespaces, and for unprivileged users where the machine
lets them have namespaces. Also runs on backed-up hosts.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import subprocess
from collections.abc import Iterable
from typing import Any

from .._common.errors import HoldfastError
from .._common.process_signals import forking
from .cli import Completed, Restic
from .confined_network import NEWNET, Gateway
from .syscall_filter import restrict

# From linux/sched.h, linux/mount.h, linux/prctl.h and linux/capability.h.
_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_NO_NEW_PRIVS, _DROP_FROM_BOUNDS = 38, 24
_CHOWN, _DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER, _FSETID, _SYS_ADMIN, _MKNOD, _SETFCAP = 0, 1, 2, 3, 4, 21, 27, 31
# What it takes to restore owners, modes and attributes; and what devices and attributes of the system take besides.
_ALWAYS = frozenset({_CHOWN, _DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER, _FSETID, _SETFCAP})
_SPECIAL = _ALWAYS | {_SYS_ADMIN, _MKNOD}


class ConfinementError(HoldfastError):
    """This machine cannot confine restic."""


class Kernel:
    """System calls that raise OSError."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def __call__(self, name: str, *arguments: Any) -> None:
        if getattr(self._libc, name)(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), name)

    def prctl(self, option: int, *values: int) -> None:
        self("prctl", option, *(ctypes.c_ulong(number) for number in (*values, 0, 0, 0)[:4]))

    def mount(self, source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
        words = [word if word is None else os.fsencode(word) for word in (source, target, kind, data)]
        self("mount", *words[:3], ctypes.c_ulong(flags), words[3])

    def set_mounts(self, path: str, add: int, remove: int = 0) -> None:
        """Change the attributes of all mounts at and below a path."""
        # struct mount_attr
        attributes = struct.pack("@QQQQ", add, remove, 0, 0)
        numbers = [ctypes.c_long(number) for number in (_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, len(attributes))]
        self("syscall", *numbers[:2], os.fsencode(path), numbers[2], attributes, numbers[3])


def _confine(writable: Iterable[str], special: bool, gateway: Gateway | None = None) -> None:
    """Leave this process, and its successor, only the writable folders and one address."""
    kernel, user, group = Kernel(), os.geteuid(), os.getegid()
    kernel("unshare", _NEWNS | NEWNET if user == 0 else _NEWNS | NEWNET | _NEWUSER)
    if user != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    if gateway:
        gateway.enter()
    kernel.mount("none", "/", None, _REC | _PRIVATE)
    for path in writable:
        kernel.mount(path, path, None, _REC | _BIND)
    kernel.set_mounts("/", _RDONLY | _NOSUID | _NODEV)
    for path in writable:
        kernel.set_mounts(path, _NOSUID | _NODEV, _RDONLY)
    # /proc/1/root and the like would lead out of the namespace.
    kernel.mount("none", "/proc", "tmpfs", _RDONLY | _NOSUID | _NODEV | _NOEXEC)
    kernel.prctl(_NO_NEW_PRIVS, 1)
    if user == 0:
        keep(kernel, _SPECIAL if special else _ALWAYS)
    # systemd and others listen in the file system, which a network namespace does not change.
    restrict(kernel.prctl, internet=gateway is not None)


def keep(kernel: Kernel, capabilities: frozenset[int]) -> None:
    """Leave the programs that this process runs no other capabilities."""
    for number in set(range(64)) - capabilities:
        try:
            kernel.prctl(_DROP_FROM_BOUNDS, number)
        except OSError as error:
            # The kernel does not know so many.
            if error.errno != errno.EINVAL:
                raise


def require(target: str, *, special: bool) -> None:
    """Refuse a target to which restic cannot be confined, and a machine that cannot do it."""
    if target == "/":
        raise ConfinementError(
            "restic cannot be confined to the target /: restore into a folder and copy what you need from there, or set "
            "confinement to none (for the playbook restore holdfast_restore_confinement)."
        )
    reader, writer = os.pipe()
    with forking():
        child = os.fork()
        if child == 0:
            try:
                _confine((), special)
                os._exit(0)
            except OSError as error:
                os.write(writer, f"{error.filename or 'namespace'}: {error.strerror}".encode())
            finally:
                os._exit(1)
    os.close(writer)
    with os.fdopen(reader, errors="replace") as file:
        reason = file.read()
    if os.waitpid(child, 0)[1] != 0:
        raise ConfinementError(
            f"restic cannot be confined to the target on this machine ({reason or 'the attempt ended'}), and a snapshot can "
            "make it write elsewhere. Restore on another machine or as root, or, in a container or virtual machine that "
            "holds nothing else, set confinement to none (for the playbook restore holdfast_restore_confinement)."
        )


class Confined(Restic):
    """restic as another one runs it, but confined, for one run.

    Args:
        restic: The other one.
        writable: Folders that are there, and may be written.
        special: Whether devices and attributes of the system may be made.
    """

    def __init__(self, restic: Restic, writable: Iterable[str], *, special: bool) -> None:
        super().__init__(restic.repository, path=restic.path, cache_dir=restic.cache_dir)
        self._writable = list(writable)
        self._special = special
        # A view is at a socket in the file system, which is reached from everywhere.
        repository = restic.repository
        self._gateway = Gateway(repository.endpoint) if repository.address.startswith("s3:") else None

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **(self._gateway.environment() if self._gateway else {})}

    def start(self, args: Iterable[str], **popen: Any) -> subprocess.Popen[str]:
        popen.setdefault("preexec_fn", lambda: _confine(self._writable, self._special, self._gateway))
        process = super().start(args, **popen)
        if self._gateway:
            self._gateway.open()
        return process

    def run(self, args: Iterable[str], **limits: Any) -> Completed:
        try:
            return super().run(args, **limits)
        finally:
            if self._gateway:
                self._gateway.close()
