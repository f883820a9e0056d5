# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Limits one restic process: reads its answer up to a bound, and limits its memory and its time.

restic reads objects that a host wrote, and a few KiB in a bucket can become gigabytes when they are decompressed.

Also runs on backed-up hosts: Python 3.9 and the standard library only.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import re
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Optional, Union

# The most that any answer may have, in bytes; callers that expect little say so.
LARGEST_ANSWER = 256 << 20
# The memory that restic needs when it reads one object that a host wrote, in bytes.
ONE_OBJECT = 320 << 20
# What it needs of that when the object is small: it begins with 192 MiB, of which it uses little, and grows by 64 MiB.
_SMALL_OBJECT = 256 << 20
# How many bytes of memory each byte of an object's text takes.
_FOR_EACH_BYTE = 4
# The memory for reading all snapshots, or some packs.
SOME_OBJECTS = 512 << 20
# How long restic may take to stop after SIGINT: it removes its lock object, which needs a request or two.
_GRACE = 30.0
_CHUNK = 1 << 16
# How much is kept of the beginning and of the end of what is read by the line, in bytes.
_KEPT = 1 << 16
# What Go says when the kernel gives it no more memory (runtime/malloc.go, runtime/mem_linux.go, runtime/cgo). Its garbage
# collector does not look whether it was given some (runtime/mgcmark_greenteagc.go): seen with restic 0.19.1 below a limit.
_NO_MEMORY = re.compile(
    r"^(fatal error|runtime).*(out of|cannot allocate) memory|pthread_create failed"
    r"|^SIGSEGV: segmentation violation\nPC=.*\n+goroutine 0 .*\nruntime\.",
    re.MULTILINE,
)


class TooLong(Exception):
    """The answer is longer than the bound."""


def memory_for(text: int) -> int:
    """The memory for reading one object whose text has at most so many bytes. Several are read at a time."""
    return min(_SMALL_OBJECT + _FOR_EACH_BYTE * text, ONE_OBJECT)


def half_of_memory() -> int:
    """Half of what this machine has, or the container or unit that this process is in, in bytes: the others need some, too."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(min([there, *cgroup_limits("/sys/fs/cgroup", "/proc/self/cgroup")]) // 2, SOME_OBJECTS)


def cgroup_limits(root: str, own: str) -> Iterator[int]:
    """The limits of this process's control group and of all above it (version 2)."""
    try:
        with open(own, encoding="utf-8") as file:
            paths = [line.strip()[3:] for line in file if line.startswith("0::/")]
    except OSError:
        return
    for path in paths:
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for count in range(len(parts) + 1):
            try:
                with open(os.path.join(root, *parts[:count], "memory.max"), encoding="ascii") as file:
                    yield int(file.read())
            except (OSError, ValueError):
                continue  # there is none, or it is "max"


def limit_memory(process: subprocess.Popen[Any], limit: int) -> None:
    """Limit the memory of a process that has just begun, in bytes. It ends when it needs more.

    The limit is on memory of its own that it may write (RLIMIT_DATA); Go reserves much more than that without using it.
    """
    if hasattr(resource, "prlimit"):
        try:
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (limit, limit))
        except (OSError, ValueError):
            pass  # it has ended, or the machine allows even less


def collector_limit(limit: int) -> str:
    """The value of GOMEMLIMIT with which Go's garbage collector works harder before the limit is hit."""
    return str(limit * 3 // 4)


def out_of_memory(stderr: str) -> bool:
    """Whether a process ended for want of memory."""
    return _NO_MEMORY.search(stderr) is not None


class _Whole:
    """All that came of a stream."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def add(self, data: bytes) -> int:
        """Take more; how many bytes are kept."""
        self._kept += data
        return len(self._kept)

    def end(self) -> bytes:
        return bytes(self._kept)


class _Lines:
    """Hands each line of a stream on as it comes, and keeps only the first and the last lines."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._first = bytearray()
        self._last = b""
        self._begun = b""

    def add(self, data: bytes) -> int:
        """Take more; how long the line is that has not ended."""
        room = _KEPT - len(self._first)
        self._first += data[:room]
        self._last = (self._last + data[room:])[-_KEPT:]
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            self._take(_text(line))
        return len(self._begun)

    def end(self) -> bytes:
        if self._begun:
            self._take(_text(self._begun))
            self._begun = b""
        return bytes(self._first) + self._last


def hear(
    process: subprocess.Popen[str],
    timeout: Optional[float],
    most: int,
    take: Optional[Callable[[str, str], None]] = None,
) -> tuple[str, str]:
    """Read what a process says, until it has ended.

    Args:
        process: Started with pipes for its output and its errors.
        timeout: Seconds that it may take; None for any time.
        most: How many bytes of each of both are read at most; with `take`, of each line.
        take: Gets "stdout" or "stderr", and each line of it. Of what went there, only the beginning and the end are returned.

    Raises:
        TooLong: It said more.
        subprocess.TimeoutExpired: It took longer. `output` and `stderr` are bytes that it said so far.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    heard: dict[str, Union[_Whole, _Lines]] = {
        name: _Lines(partial(take, name)) if take else _Whole() for name in ("stdout", "stderr")
    }
    with selectors.DefaultSelector() as selector:
        for name in heard:
            stream = getattr(process, name)
            if stream is not None and not stream.closed:
                selector.register(stream, selectors.EVENT_READ, name)
        while selector.get_map():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise _expired(process, timeout, heard)
            for key, _events in selector.select(left):
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                    getattr(process, key.data).close()
                elif heard[key.data].add(data) > most:
                    raise TooLong
    try:
        process.wait(None if deadline is None else max(deadline - time.monotonic(), 0.0))
    except subprocess.TimeoutExpired:
        raise _expired(process, timeout, heard) from None
    return _text(heard["stdout"].end()), _text(heard["stderr"].end())


def _expired(
    process: subprocess.Popen[str], timeout: Optional[float], heard: Mapping[str, Union[_Whole, _Lines]]
) -> subprocess.TimeoutExpired:
    return subprocess.TimeoutExpired(process.args, timeout or 0.0, heard["stdout"].end(), heard["stderr"].end())


def _text(data: bytes | bytearray) -> str:
    return data.decode("utf-8", "replace")


def stop(process: subprocess.Popen[str], grace: float = _GRACE) -> tuple[str, str]:
    """End restic and return what it said since. Ask first, so that it removes its lock object; then kill it."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return hear(process, grace, LARGEST_ANSWER)
    except (subprocess.TimeoutExpired, TooLong) as error:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        return _text(getattr(error, "output", b"") or b""), _text(getattr(error, "stderr", b"") or b"")
