# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""holdfast-serve   runs the hooks and the command of one backup job, as its user

systemd starts it with a socket to the job as its standard input. The job asks for one command after the other, each with what
is to be its output and where its exit status goes. Nothing here knows the repository or a credential.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
from typing import Any

KNOWN = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "USER", "LOGNAME", "SHELL")


def receive(server: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next request, and its output, error output and answer; nothing when the job has ended."""
    request, descriptors, _flags, _address = socket.recv_fds(server, 1 << 16, 3)
    while request and not request.endswith(b"\n"):
        more = server.recv(1 << 16)
        request = request + more if more else b""
    return (json.loads(request) if request else {}), list(descriptors)


def run(request: dict[str, Any], output: int, errors: int, server: socket.socket, answer: int) -> int:
    """The exit status of a command."""
    environment = {name: os.environ[name] for name in KNOWN if name in os.environ}
    try:
        child = subprocess.Popen(
            request["words"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env={**environment, **request["environment"]},
            start_new_session=True,
        )
    except OSError as error:
        os.write(errors, f"holdfast-serve: {request['words'][0]}: {error.strerror}\n".encode())
        return 127
    status = outlive(child, server, answer)
    return 128 - status if status < 0 else status


def outlive(child: subprocess.Popen[bytes], server: socket.socket, answer: int) -> int:
    """Wait for a child, and end it when its client is gone."""
    watch = select.poll()
    watch.register(server, select.POLLIN)
    watch.register(answer, 0)
    while child.poll() is None:
        if watch.poll(50):
            os.killpg(child.pid, signal.SIGKILL)
            break
    return child.wait()


def main() -> None:
    server = socket.socket(fileno=os.dup(0))
    while True:
        request, descriptors = receive(server)
        if not request:
            return
        output, errors, answer = descriptors
        status = run(request, output, errors, server, answer)
        # The job may have ended meanwhile.
        with contextlib.suppress(OSError):
            os.write(answer, str(status).encode())
        for descriptor in descriptors:
            os.close(descriptor)


if __name__ == "__main__":
    main()
