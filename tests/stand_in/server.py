# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The transport: HTTP/1.1 with connections kept alive, one thread for each."""

from __future__ import annotations

import contextlib
import socket
import struct
import traceback
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable
from urllib.parse import urlsplit

from tests.stand_in.messages import Cut, Request, Response

BODILESS = (204, 304)


class Server(ThreadingHTTPServer):
    """A threaded server that hands each request to one callable."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, host: str, port: int, answer: Callable[[Request], Response], now: Callable[[], float]) -> None:
        self.answer = answer
        self.now = now
        super().__init__((host, port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are everyday life here, not worth a traceback."""


class Handler(BaseHTTPRequestHandler):
    """Reads requests from one connection until it ends."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: the request log is asked for over HTTP."""

    def handle_expect_100(self) -> bool:
        """Ask for the body at once; the buffer would keep this answer back."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _read_chunked(self) -> bytes:
        body = bytearray()
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                return bytes(body)

    def _read_body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._read_chunked()
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else b""
        if len(body) < length:
            raise ConnectionError("the client went away in the middle of a body")
        return body

    def _request(self) -> Request:
        headers: dict[str, str] = {}
        for sent, value in self.headers.items():
            name = sent.lower()
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        target = self.path
        if not target.startswith("/"):  # the client takes us for its proxy
            parts = urlsplit(target)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        path, _unused, query = target.partition("?")
        return Request(self.command, path, query, headers, self._read_body(), self.client_address[0])

    def _cut(self) -> None:
        # A reset instead of an orderly end, as a lost connection looks to the client.
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _send(self, response: Response) -> None:
        self.send_response_only(response.status)
        names = {name.lower() for name in response.headers}
        self.send_header("Date", formatdate(self.server.now(), usegmt=True))
        for name, value in response.headers.items():
            self.send_header(name, value)
        if "content-length" not in names and response.status not in BODILESS:
            self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD" and response.status not in BODILESS:
            self.wfile.write(response.body)
        self.wfile.flush()

    def answer_one(self) -> None:
        """Answer the request whose head has been read."""
        try:
            try:
                response = self.server.answer(self._request())
            except Cut:
                self._cut()
                return
            except (ConnectionError, TimeoutError):
                raise
            except Exception:  # noqa: BLE001  (a mistake in here shall be seen by the test that met it)
                response = Response(500, {"content-type": "text/plain"}, traceback.format_exc().encode())
            self._send(response)
            if response.cut:
                self._cut()
        except OSError:
            self.close_connection = True

    def finish(self) -> None:
        """Close the connection, which may have been cut already."""
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_OPTIONS = answer_one
