# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Permits a confined restic the system calls of backup jobs, and those that change owners, for restoring them; where it needs no
other sockets, those of the internet alone.

Backup jobs have SystemCallFilter=@system-service and ~@privileged @resources, and no namespaces. A test compares the numbers here
with what systemd says. Also runs on backed-up hosts.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Any, NamedTuple, Optional

# From linux/prctl.h, linux/seccomp.h, linux/filter.h, linux/sched.h and linux/socket.h.
_SET_SECCOMP, _FILTER = 22, 2
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _GREATER, _NOT_LESS, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
# Where the number, the architecture and the first argument of a call are (struct seccomp_data, little endian).
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16
_NAMESPACES = 0x7E020080
_INET, _INET6 = 2, 10
# Makes sockets too, without the call for it; the number is the same everywhere.
_IO_URING_SETUP = 425


class Calls(NamedTuple):
    """The calls of one architecture.

    Attributes:
        audit: Its number in linux/audit.h.
        clone: The call that makes processes and threads, and namespaces, which are refused.
        clone3: The same with arguments that a filter cannot see; the kernel seems not to have it.
        socket: The call that makes sockets.
        allowed: Numbers, and first and last of those in a row.
    """

    audit: int
    clone: int
    clone3: int
    socket: int
    allowed: str

    def ranges(self) -> list[tuple[int, int]]:
        words = (word.partition("-") for word in self.allowed.split())
        return [(int(first), int(last or first)) for first, _dash, last in words]


TABLES = {
    "x86_64": Calls(
        0xC000003E, 56, 435, 41,
        "0-26 28-100 102 104 106-112 114-115 118-121 123-125 127-133 135 137-138 140 143 145-152 157-158 162 186-202 204-211 "
        "213-226 228-235 239-245 247-250 252-255 257-271 273-278 280-297 299 302-303 306-307 309-312 315-316 318-319 322-328 "
        "332-334 424-427 434-437 439-441 449",
    ),
    "aarch64": Calls(
        0xC00000B7, 220, 435, 198,
        "0-17 19-29 31-38 43-50 52-57 59 61-88 90 92-96 98-103 107-111 113-115 120-121 123-139 141 143-144 148-150 152-158 160 "
        "163 165-169 172-223 226-231 233-234 236 240 242-243 260-261 264 267 269-272 275-276 278-279 281-287 291-293 424-427 "
        "434-437 439-441 449",
    ),
}  # fmt: skip


def calls() -> Optional[Calls]:
    """Those of this machine; nothing where they are not known, or its programs are of another kind than its kernel."""
    return TABLES.get(os.uname().machine) if struct.calcsize("P") == 8 else None


def program(table: Calls, *, internet: bool) -> bytes:
    """The filter, as the kernel takes it."""
    ranges, sockets = table.ranges(), 6 if internet else 0
    answers = [_ERROR | errno.ENOSYS, _ERROR | errno.EPERM, _ALLOW]
    begin = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, table.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    count = len(begin) + sockets + 5 + 2 * len(ranges)
    unknown, refused, allowed = count, count + 1, count + 2

    def to(target: int) -> int:
        return target - len(begin) - 1

    if internet:
        begin.append((_EQUAL, to(unknown), 0, _IO_URING_SETUP))
        begin.append((_EQUAL, 0, 4, table.socket))
        begin.append((_LOAD, 0, 0, _ARGUMENT))
        begin.append((_EQUAL, to(allowed), 0, _INET))
        begin.append((_EQUAL, to(allowed), 0, _INET6))
        begin.append((_RETURN, 0, 0, _ERROR | errno.EAFNOSUPPORT))
    begin.append((_EQUAL, to(unknown), 0, table.clone3))
    begin.append((_EQUAL, 0, 3, table.clone))
    begin.append((_LOAD, 0, 0, _ARGUMENT))
    begin.append((_ANY_BIT, to(refused), 0, _NAMESPACES))
    begin.append((_RETURN, 0, 0, _ALLOW))
    for first, last in ranges:
        # They ascend: what is below one, and was above the one before, is in none.
        begin.append((_NOT_LESS, 0, to(refused), first))
        begin.append((_GREATER, 0, to(allowed), last))
    # A program can do without calls that are newer than the table, as on an older kernel.
    begin += [(_RETURN, 0, 0, answer) for answer in answers]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in begin)


def restrict(prctl: Any, *, internet: bool = False) -> None:
    """Leave this process, and its successor, these calls alone; needs no_new_privs.

    Args:
        prctl: The system call, with two arguments.
        internet: No other sockets can be made than those of the internet, so that none in the file system is reached.
    """
    table = calls()
    if table is None:
        return
    code = program(table, internet=internet)
    held = ctypes.create_string_buffer(code, len(code))
    described = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(held)))
    prctl(_SET_SECCOMP, _FILTER, ctypes.addressof(described))
