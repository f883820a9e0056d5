# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a network namespace from which one server can be reached and nothing else, through a socket that is made in it.

The process in it finds the server's address at its own loopback; for a server that has a name, a proxy there that makes tunnels
to it. Both are this module's, which runs outside, and goes through the user's own proxy where there is one.
Also runs on backed-up hosts.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import ipaddress
import re
import socket
import ssl
import struct
import threading
import urllib.request
from typing import Optional
from urllib.parse import unquote, urlsplit

from .._common.errors import HoldfastError
from .._common.network import NO_PROXY, PROXIES

# From linux/sched.h, linux/sockios.h and linux/if.h.
NEWNET = 0x40000000
_SET_FLAGS, _SET_ADDRESS, _UP = 0x8914, 0x8916, 1
_TIMEOUT = 60.0
_LONGEST_HEAD = 1 << 13
# restic has about ten. Of more, the process in the namespace waits for its own, and this one does not run out of threads.
MOST_CONNECTIONS = 64


class Gateway:
    """The way out to one server.

    Args:
        endpoint: The address of the server, https://; or http:// and an IPv4 address.
    """

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._direct = parts.scheme != "https"
        # An address is given to the loopback of the namespace, and is found there; a name takes a proxy.
        self._address = "127.0.0.1" if self._host == "localhost" else self._host if _is_ipv4(self._host) else ""
        if not self._address and parts.scheme != "https":
            raise HoldfastError(
                f"restic cannot be confined to {endpoint}, which is not reached by https: use https, or set confinement "
                "to none (for the playbook restore holdfast_restore_confinement)."
            )
        self._inside, self._outside = socket.socketpair()
        self._listener: Optional[socket.socket] = None
        self._free = threading.Semaphore(MOST_CONNECTIONS)
        # In the namespace every port is free.
        self._entry = self._port if self._address else 3128

    def environment(self) -> dict[str, str]:
        """The addresses for the process in the namespace."""
        way = "" if self._address else f"http://127.0.0.1:{self._entry}"
        return {**dict.fromkeys(PROXIES, way), **dict.fromkeys(NO_PROXY, "")}

    def enter(self) -> None:
        """In the process that is in the namespace already: make the way in, before it loses its rights."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sH14x", b"lo", _UP))
            if self._address and not self._address.startswith("127."):
                address = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(self._address))
                fcntl.ioctl(control, _SET_ADDRESS, address)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.bind((self._address or "127.0.0.1", self._entry))
            listener.listen(64)
            socket.send_fds(self._inside, [b"l"], [listener.fileno()])

    def open(self) -> None:
        """In this process, once the other one has begun: let through what comes."""
        self._inside.close()
        with self._outside:
            _word, descriptors, _flags, _from = socket.recv_fds(self._outside, 1, 1)
        if descriptors:
            self._listener = socket.socket(fileno=descriptors[0])
            threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        for one in (self._inside, self._outside):
            one.close()
        if self._listener:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            self._free.acquire()
            try:
                inner, _address = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(inner,), daemon=True).start()

    def _pass(self, inner: socket.socket) -> None:
        try:
            self._connect(inner)
        finally:
            self._free.release()

    def _connect(self, inner: socket.socket) -> None:
        with inner, contextlib.suppress(OSError, ValueError):
            if not self._address:
                asked = _head(inner).split(b" ", 2)
                if asked[:2] != [b"CONNECT", f"{self._host}:{self._port}".encode()]:
                    inner.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                    return
            with self._tunnel() as outer:
                outer.settimeout(None)
                if not self._address:
                    inner.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=_pour, args=(outer, inner), daemon=True)
                back.start()
                _pour(inner, outer)
                back.join()

    def _tunnel(self) -> socket.socket:
        """A connection to the server, through the proxy of this process's environment where there is one."""
        proxy = urllib.request.getproxies().get("https")
        local = self._address.startswith("127.")
        if self._direct or local or not proxy or urllib.request.proxy_bypass(self._host):
            return socket.create_connection((self._host, self._port), timeout=_TIMEOUT)
        parts = urlsplit(proxy)
        outer = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=_TIMEOUT)
        if parts.scheme == "https":
            outer = ssl.create_default_context().wrap_socket(outer, server_hostname=parts.hostname)
        lines = [f"CONNECT {self._host}:{self._port} HTTP/1.1", f"Host: {self._host}:{self._port}"]
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}")
        outer.sendall("\r\n".join([*lines, "", ""]).encode())
        if not re.match(rb"HTTP/1\.[01] 2", _head(outer)):
            outer.close()
            raise ValueError("the proxy refuses the tunnel")
        return outer


def _is_ipv4(host: str) -> bool:
    try:
        return bool(ipaddress.IPv4Address(host))
    except ValueError:
        return False


def _head(connection: socket.socket) -> bytes:
    """Read up to an empty line, and nothing behind it."""
    found = b""
    while not found.endswith(b"\r\n\r\n"):
        one = connection.recv(1)
        if not one or len(found) > _LONGEST_HEAD:
            raise ValueError("no head")
        found += one
    return found


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            data = source.recv(1 << 16)
            if not data:
                break
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
