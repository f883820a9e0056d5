# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a confined restic can reach and ask of the kernel; the program in its place is a script that tries."""

from __future__ import annotations

import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import confined_network
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Repository, Restic
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.confinement import (
    Confined,
    ConfinementError,
    require,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.syscall_filter import TABLES, calls

from tests.stand_in.client import StandIn
from tests.support.repositories import program
from tests.support.ways import way

HEADERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
TRIES = """import ctypes, json, os, socket, sys
from urllib.parse import urlsplit

libc = ctypes.CDLL(None, use_errno=True)

def error(name, *arguments):
    return 0 if getattr(libc, name)(*arguments) >= 0 else ctypes.get_errno()

def asked(address, request=b""):
    try:
        with socket.create_connection(address, timeout=60) as there:
            there.sendall(request or b"GET /hello HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n")
            return there.recv(100).split(b"\\r\\n")[0].decode()
    except OSError as caught:
        return type(caught).__name__

here, other, tunnels = json.loads(sys.argv[1])
proxy = urlsplit(os.environ.get("HTTPS_PROXY") or "http://127.0.0.1:1")
print(json.dumps({{
    "here": asked(("127.0.0.1", here)),
    "other": asked(("127.0.0.1", other)),
    "tunnels": [asked((proxy.hostname, proxy.port), f"CONNECT {{to}} HTTP/1.1\\r\\n\\r\\n".encode()) for to in tunnels],
    "families": [error("socket", family, 1, 0) for family in (1, 16, 40)],
    "ring": error("syscall", 425, 0, None),
    "unshare": error("unshare", 0x10000000),
    "mount": error("mount", b"none", b"/proc", b"tmpfs", 0, None),
    "ptrace": error("ptrace", 0, 0, 0, 0),
    "clone": error("syscall", {clone}, 0x10000000 | 17, 0, 0, 0, 0),
    "clone3": error("syscall", 435, 0, 0),
    "newer": error("syscall", 9999),
    "chown": error("chown", sys.argv[2].encode(), os.geteuid(), os.getegid()),
}}))
"""


@pytest.fixture(autouse=True)
def can_be_confined() -> None:
    try:
        require("/nowhere", special=False)
    except ConfinementError as error:
        pytest.skip(str(error))


def tried(folder: Path, endpoint: str, here: int, other: int, *tunnels: str) -> dict[str, Any]:
    tries, table = folder / "tries.py", calls()
    tries.write_text(TRIES.format(clone=table.clone if table else 0), encoding="utf-8")
    path = program(folder / "restic", f"exec '{sys.executable}' '{tries}' \"$@\"")
    restic = Restic(Repository(endpoint, "backup", "", "id", "secret", None, "password"), path=path)
    done = Confined(restic, [str(folder)], special=False).run([json.dumps([here, other, tunnels]), str(tries)])
    assert done.exit_code == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_nothing_but_the_server_is_reached(tmp_path: Path, shared_stand_in: StandIn) -> None:
    with way(shared_stand_in.url) as server, way(shared_stand_in.url) as other:
        found = tried(tmp_path, f"http://127.0.0.1:{server.port}", server.port, other.port)
        assert found["here"].startswith("HTTP/1.1 ") and found["other"] == "ConnectionRefusedError"
        assert len(server.passed) == 1 and other.passed == []


class Counted(socketserver.ThreadingTCPServer):
    """Answers each connection by a letter and holds it; the most that there were at a time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Held)
        self.lock, self.open, self.most = threading.Lock(), 0, 0

    def count(self, step: int) -> None:
        with self.lock:
            self.open += step
            self.most = max(self.most, self.open)


class Held(socketserver.BaseRequestHandler):
    server: Counted

    def handle(self) -> None:
        self.server.count(1)
        self.request.sendall(b"x")
        self.request.recv(1)
        self.server.count(-1)


MANY = """import socket, sys
there = [socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60) for _number in range(12)]
for one in there:
    assert one.recv(1) == b"x"
    one.close()
"""


def test_connections_are_bounded_and_all_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined_network, "MOST_CONNECTIONS", 4)
    many = tmp_path / "many.py"
    many.write_text(MANY, encoding="utf-8")
    path = program(tmp_path / "restic", f"exec '{sys.executable}' '{many}' \"$@\"")
    with Counted() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        restic = Restic(
            Repository(f"http://127.0.0.1:{port}", "backup", "", "id", "secret", None, "password"), path=path
        )
        done = Confined(restic, [str(tmp_path)], special=False).run([str(port)])
        server.shutdown()
    assert done.exit_code == 0, done.stderr
    assert 2 <= server.most <= 4


def test_a_server_elsewhere_is_reached_by_tunnels_to_it_alone(
    tmp_path: Path, shared_stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go through the proxy of this machine's user, whose address is not known to the confined program."""
    with way(shared_stand_in.url) as proxy:
        monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "example.com")
        wanted, unwanted = "s3.invalid:443", ("api.invalid:443", "s3.invalid:80", f"127.0.0.1:{proxy.port}")
        found = tried(tmp_path, "https://s3.invalid", proxy.port, proxy.port, wanted, *unwanted)
        assert found["tunnels"] == ["HTTP/1.1 200 OK", *["HTTP/1.1 403 Forbidden"] * 3]
        assert (found["here"], found["other"]) == ("ConnectionRefusedError", "ConnectionRefusedError")
        assert [host for host, _agent, _proof in proxy.passed] == [wanted]
        assert proxy.passed[0][2].startswith("Basic ")


def test_a_server_that_is_not_reached_safely_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="not reached by https"):
        tried(tmp_path, "http://s3.invalid", 1, 1)


@pytest.mark.skipif(calls() is None, reason="the system calls of this machine are not known")
def test_system_calls_that_jobs_cannot_use_are_refused(tmp_path: Path) -> None:
    found = tried(tmp_path, "http://127.0.0.1:1", 1, 1)
    refused = {name: os.strerror(found[name]) for name in ("unshare", "mount", "ptrace", "clone")}
    assert set(refused.values()) == {"Operation not permitted"}, refused
    # As on a kernel that does not have them: programs have another way.
    assert {os.strerror(found[name]) for name in ("clone3", "newer")} == {"Function not implemented"}
    assert found["chown"] == 0


@pytest.mark.skipif(calls() is None, reason="the system calls of this machine are not known")
def test_nothing_of_the_machine_is_reached_that_listens_in_its_file_system(tmp_path: Path) -> None:
    """As systemd, D-Bus and databases do; a network of its own does not keep them away. Nor what lets others make a socket."""
    found = tried(tmp_path, "http://127.0.0.1:1", 1, 1)
    assert {os.strerror(one) for one in found["families"]} == {"Address family not supported by protocol"}
    assert os.strerror(found["ring"]) == "Function not implemented"


def _members(name: str) -> set[str]:
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    words = [line.strip() for line in told.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return set().union(*(_members(word) if word.startswith("@") else {word} for word in words))


@pytest.mark.skipif(
    not (shutil.which("systemd-analyze") and HEADERS.exists()), reason="needs systemd-analyze, linux-libc-dev"
)
def test_the_calls_are_those_of_jobs() -> None:
    """Newer versions of systemd and of the kernel have more of them; none is gone, and none that is refused is among them."""
    numbers = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", HEADERS.read_text())}
    jobs = _members("@system-service") - _members("@privileged") - _members("@resources")
    wanted = {numbers[name] for name in jobs | _members("@chown") | _members("@default") if name in numbers}
    table = TABLES["x86_64"]
    allowed = {number for first, last in table.ranges() for number in range(first, last + 1)}
    assert allowed <= wanted
    assert {number for number in wanted - allowed if number < 450} == {numbers["unshare"], numbers["setns"]}
    for name in ("mount", "bpf", "ptrace", "init_module", "reboot", "setuid", "open_by_handle_at", "kexec_load"):
        assert numbers[name] not in allowed, name
