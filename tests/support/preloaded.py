# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs as forks of a small process that has loaded them: most of a short run is loading boto3, or moto.

The forks are not made by the process of the tests, which has threads and descriptors that no program should inherit. What
they are given is what a process of its own gets: arguments, environment, folder, session, and files for input, output and
errors. The process that forks ends when nobody is left who could ask it.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

MODULES = "ansible_collections.holdfast.restic_r2.plugins.modules"
STAND_IN = "tests.stand_in.__main__"
ROOT = Path(__file__).resolve().parents[2]
# How many seconds a program may take; ends only what hangs, also beside much other work.
LONGEST = 1500.0
# Of a message to the process that forks; an environment takes some thousands.
_LONGEST = 1 << 17
_starting = threading.Lock()
_forkers: dict[str, tuple[subprocess.Popen[bytes], socket.socket]] = {}


class Forked:
    """A program that runs in a fork.

    Args:
        program: The module whose main() it is.
        arguments: What it finds in sys.argv behind its own name.
        environment: Its environment, whole.
        files: The descriptors of its input, output and errors.
    """

    def __init__(
        self, program: str, arguments: Sequence[str], environment: Mapping[str, str], files: Sequence[int]
    ) -> None:
        order = {"argv": [program, *arguments], "environment": dict(environment), "cwd": os.getcwd()}
        reading, writing = os.pipe()
        self._told = open(reading, "rb", buffering=0)  # noqa: SIM115 - closed when it has told the end
        try:
            socket.send_fds(forker(), [json.dumps(order).encode()], [*files, writing])
        finally:
            os.close(writing)
        first = self._told.readline()
        assert first, f"{program} could not be started in a fork; why is on stderr"
        self.pid = int(first)
        self.status: int | None = None

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit status, or -9 when it was killed; None when it goes on after that many seconds."""
        if self.status is None and select.select([self._told], [], [], timeout)[0]:
            self.status = int(self._told.readline() or -signal.SIGKILL)
            self._told.close()
        return self.status

    def send_signal(self, number: int) -> None:
        if self.wait(0) is None:
            os.kill(self.pid, number)


def run_module(
    name: str, given: str, environment: Mapping[str, str], timeout: float = LONGEST
) -> subprocess.CompletedProcess[str]:
    """Run a module of the collection in a fork, as subprocess.run runs a program."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(given.encode())
        stdin.seek(0)
        files = [stdin.fileno(), stdout.fileno(), stderr.fileno()]
        fork = Forked(f"{MODULES}.{name}", [], environment, files)
        try:
            status = fork.wait(timeout)
        finally:
            fork.send_signal(signal.SIGKILL)
        assert status is not None, f"{name} was not done within {timeout} s"
        for file in (stdout, stderr):
            file.seek(0)
        return subprocess.CompletedProcess([name], status, stdout.read().decode(), stderr.read().decode())


def forker() -> socket.socket:
    """The socket of a process that forks, in the network in which the caller is: test hosts have one of their own.

    It goes with the network of test hosts, and another one is started for the next.
    """
    network = os.readlink("/proc/thread-self/ns/net")
    with _starting:
        process, ours = _forkers.get(network, (None, None))
        if process is None or ours is None or process.poll() is not None:
            process, ours = _forkers[network] = _started()
        return ours


def _started() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(its.fileno())],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / ".cache" / "collections")])},
            stdin=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
            start_new_session=True,
        )
    return process, ours


# --- The process that forks ------------------------------------------------------------------------------------------


@functools.cache
def _load_modules() -> None:
    for found in pkgutil.iter_modules(importlib.import_module(MODULES).__path__):
        importlib.import_module(f"{MODULES}.{found.name}")
    # What the first client reads stays with boto3's session.
    from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3

    S3("http://127.0.0.1:1", "none", "none")
    gc.freeze()


@functools.cache
def _load_stand_in() -> None:
    importlib.import_module(STAND_IN)
    gc.freeze()


def _become(order: dict[str, Any], files: list[int]) -> int:
    """Be the program, to its end; its exit status."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, descriptor in enumerate(files):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    os.chdir(order["cwd"])
    sys.argv = order["argv"]
    main: Callable[[], int | None] = sys.modules[sys.argv[0]].main
    try:
        with open(0, encoding="utf-8", closefd=False) as sys.stdin:
            return main() or 0
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:  # noqa: BLE001 - as an interpreter does at its end
        traceback.print_exc()
        return 1


def _serve(control: socket.socket) -> None:
    while True:
        message, descriptors, _flags, _address = socket.recv_fds(control, _LONGEST, 4)
        if not message:
            return
        order = json.loads(message)
        (_load_stand_in if order["argv"][0] == STAND_IN else _load_modules)()
        if os.fork() == 0:
            control.close()
            *files, told = descriptors
            os.set_inheritable(told, False)
            os.write(told, f"{os.getpid()}\n".encode())
            status = _become(order, files)
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(told, f"{status}\n".encode())
            os._exit(status)
        for descriptor in descriptors:
            os.close(descriptor)


def main() -> None:
    """Fork what is asked for until nobody can ask any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to reap the forks
    with socket.socket(fileno=int(sys.argv[1])) as control:
        control.set_inheritable(False)
        _serve(control)


if __name__ == "__main__":
    main()
