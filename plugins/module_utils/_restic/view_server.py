# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Serves a view to restic: its REST protocol, version 2, on a unix socket that no other user can reach.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import socketserver
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from itertools import islice
from typing import Any, NamedTuple, Optional

from .._common.errors import HoldfastError
from .._r2.s3 import S3Error
from .view import KINDS, LARGEST, View, key_of
from .view_objects import FAILED, GONE, NO_LENGTH, NO_RANGE, REFUSED, ViewError

VERSION_2 = "application/vnd.x.restic.rest.v2"
_THREADS = 32
# Seconds: for a request to come, for bytes to move in it, and for the threads to end.
_WAITING = 60.0
_STALLED = 600.0
_ENDING = 10.0
# Seconds that one request may take in all: a big pack that restic reads no faster than it can send another.
_LONGEST = 2 * 3600.0
# When all threads are taken, a connection that has waited for so long without a request gives way.
_GIVES_WAY = 1.0
_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})")
_LISTED_AT_ONCE = 1000
# The kernel takes 107 bytes for the path of a socket; restic splits its address at colons.
_FOLDER = re.compile(r"/[A-Za-z0-9/._-]{0,80}")


@contextmanager
def serve(
    view: View,
    *,
    threads: int = _THREADS,
    waiting: float = _WAITING,
    stalled: float = _STALLED,
    longest: float = _LONGEST,
) -> Iterator[str]:
    """Serve the view as long as the context lasts; gives restic's address of it.

    Args:
        view: The view.
        threads: How many requests are answered at a time.
        waiting: Seconds in which a request must have come.
        stalled: Seconds in which at least something of a request or its answer must move.
        longest: Seconds in which it must be done.
    """
    folder = _folder()
    try:
        path = os.path.join(folder, "s")
        with _Server(path, view, threads, _Timeouts(waiting, stalled, longest)) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            thread.start()
            try:
                yield f"rest:http+unix://{path}:/"
            finally:
                server.stop()
                thread.join(_ENDING)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> str:
    """A folder that only we can enter, with a path that suits a socket and an address."""
    tried = ""
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm")):
        if _FOLDER.fullmatch(parent):
            try:
                return tempfile.mkdtemp(prefix="hf-", dir=parent)
            except OSError as error:
                tried = f" ({parent}: {error.strerror})"
    raise HoldfastError(f"No temporary folder can be made for the socket to restic{tried}; set TMPDIR to one that can.")


class _Timeouts(NamedTuple):
    waiting: float
    stalled: float
    longest: float


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, path: str, view: View, threads: int, timeouts: _Timeouts) -> None:
        self.view = view
        self.timeouts = timeouts
        self._slots = threading.BoundedSemaphore(threads)
        self._ending = threading.Event()
        self._mutex = threading.Lock()
        # Whether a request is being answered on each connection, and since when that is so.
        self._connections: dict[socket.socket, tuple[bool, float]] = {}
        super().__init__(path, _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether the other side is us; the folder's mode says so already."""
        peer = getattr(socket, "SO_PEERCRED", None)
        if peer is None:
            return True
        _pid, uid, _gid = struct.unpack("3i", request.getsockopt(socket.SOL_SOCKET, peer, struct.calcsize("3i")))
        return bool(uid == os.geteuid())

    def process_request(self, request: Any, client_address: Any) -> None:
        while not self._slots.acquire(timeout=0.05):
            if self._ending.is_set():
                self.shutdown_request(request)
                return
            self._make_room()
        self.mark(request, busy=False)
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            # No thread could be had.
            self._done(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._done(request)

    def _done(self, request: socket.socket) -> None:
        with self._mutex:
            self._connections.pop(request, None)
        self._slots.release()

    def mark(self, request: socket.socket, *, busy: bool) -> None:
        with self._mutex:
            self._connections[request] = (busy, time.monotonic())

    def service_actions(self) -> None:
        """Called between connections: those that have taken too long end, however slowly they were moving."""
        self._end(self.timeouts.waiting)

    def _make_room(self) -> None:
        self._end(min(_GIVES_WAY, self.timeouts.waiting))

    def _end(self, waiting: float) -> None:
        now = time.monotonic()
        with self._mutex:
            for request, (busy, since) in self._connections.items():
                if now - since > (self.timeouts.longest if busy else waiting):
                    _cut(request)

    def stop(self) -> None:
        self._ending.set()
        self.shutdown()
        with self._mutex:
            for request in self._connections:
                _cut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that end are everyday life here, not worth a traceback."""


def _cut(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.timeouts.stalled)

    def address_string(self) -> str:
        return "restic"

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: restic reports enough."""

    def handle_one_request(self) -> None:
        self.server.mark(self.connection, busy=False)
        with suppress(OSError):
            super().handle_one_request()
            return
        self.close_connection = True

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def answer(self) -> None:
        self.server.mark(self.connection, busy=True)
        view = self.server.view
        view.count(self.command)
        self._body = _Body(
            self.rfile, _length(self.headers.get("Content-Length", "" if self.command == "POST" else "0"))
        )
        self._begun = False
        try:
            self._answer(view)
        except ViewError as error:
            self._fail(error.status, str(error))
        except S3Error as error:
            self._fail(FAILED, str(error))
        except OSError:
            self.close_connection = True
        except Exception as error:  # noqa: BLE001  (restic would go on asking for a quarter of an hour)
            self._fail(REFUSED, str(view.problem(f"A request of restic was not answered: {type(error).__name__}.")))
        if self._body.left:
            # An unread rest would be taken for the next request.
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_DELETE = answer

    def _answer(self, view: View) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        if self.command == "GET" and len(parts) == 1 and parts[0] in KINDS:
            self._list(view, parts[0])
            return
        key = "config" if parts == ["config"] else key_of(*parts) if len(parts) == 2 else None
        if key is None:
            # A repository is neither made nor removed here.
            raise ViewError("There is no such thing here.", GONE if self.command in ("GET", "HEAD") else REFUSED)
        if self.command == "POST":
            if self._body.length is None:
                raise ViewError("How long the object is must be said.", NO_LENGTH)
            view.add(key, self._body, self._body.length)
            self._send(200)
        elif self.command == "DELETE":
            view.delete(key)
            self._send(200)
        elif self.command == "HEAD":
            self._send(200, length=view.size(key))
        else:
            self._read(view, key)

    def _list(self, view: View, kind: str) -> None:
        """A piece at a time: a big repository has a million packs."""
        found = iter(view.listed(kind))
        self._send(200, {"Content-Type": VERSION_2, "Transfer-Encoding": "chunked"})
        begin = "["
        while some := list(islice(found, _LISTED_AT_ONCE)):
            self._chunk(begin + ",".join(json.dumps({"name": name, "size": size}) for name, size in some))
            begin = ","
        self._chunk("[]" if begin == "[" else "]")
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _chunk(self, text: str) -> None:
        self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())

    def _read(self, view: View, key: str) -> None:
        first, last = self._range()
        reading = view.read(key, first, last)
        headers = {"Content-Type": "application/octet-stream"}
        if first is not None:
            headers["Content-Range"] = f"bytes {first}-{first + reading.size - 1}/{reading.total}"
        self._send(200 if first is None else 206, headers, length=reading.size)
        for chunk in reading.chunks:
            self.wfile.write(chunk)
        self.wfile.flush()

    def _range(self) -> tuple[Optional[int], Optional[int]]:
        value = self.headers.get("Range")
        if value is None:
            return None, None
        found = _RANGE.fullmatch(value)
        if not found or (found[2] and int(found[2]) < int(found[1])):
            raise ViewError("This range is not understood.", NO_RANGE)
        return int(found[1]), int(found[2]) if found[2] else None

    def _send(
        self, status: int, headers: Optional[dict[str, str]] = None, body: bytes = b"", length: Optional[int] = None
    ) -> None:
        self._begun = True
        self.send_response_only(status)
        headers = headers or {}
        for name, value in headers.items():
            self.send_header(name, value)
        if "Transfer-Encoding" not in headers:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _fail(self, status: int, sentence: str) -> None:
        if self._begun:
            # Too late for a status: an answer that ends before its length tells it.
            self.close_connection = True
            return
        try:
            # A client that is still sending may not listen yet.
            self._body.drain()
            self._send(status, {"Content-Type": "text/plain; charset=utf-8"}, sentence.encode()[:1000])
        except OSError:
            self.close_connection = True


class _Body:
    """The body of a request, and no byte more."""

    def __init__(self, stream: Any, length: Optional[int]) -> None:
        self._stream = stream
        self.length = length
        self.left = length or 0

    def read(self, size: int) -> bytes:
        chunk: bytes = self._stream.read(min(size, self.left)) if self.left else b""
        self.left -= len(chunk)
        return chunk

    def drain(self) -> None:
        while self.left <= LARGEST and self.read(1 << 18):
            pass


def _length(value: str) -> Optional[int]:
    return int(value) if re.fullmatch(r"[0-9]{1,15}", value) else None
