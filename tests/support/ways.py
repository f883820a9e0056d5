# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ways to the stand-in: a proxy that knows hosts of its own, and a door with a certificate of a private authority."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# Two that no resolver knows.
NAMES = ("localhost", "api.invalid", "s3.invalid")
_PASSED_OVER = {"connection", "proxy-connection", "proxy-authorization", "transfer-encoding", "expect", "keep-alive"}


class Way(ThreadingHTTPServer):
    """Hands everything on to one server, and notes for which host it was and which agent asked for it."""

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = urlsplit(behind).netloc
        self.passed: list[tuple[str, str, str]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def agents(self) -> set[str]:
        """The clients that came this way, by the first word of what they call themselves."""
        return {agent.partition("/")[0].partition(" ")[0] for _host, agent, _proof in self.passed}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Way

    def _pass(self) -> None:
        asked = urlsplit(self.path)
        known = (
            self.headers.get("Host", ""),
            self.headers.get("User-Agent", ""),
            self.headers.get("Proxy-Authorization", ""),
        )
        self.server.passed.append(known)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        behind = http.client.HTTPConnection(self.server.behind, timeout=60)
        behind.putrequest(
            self.command, asked._replace(scheme="", netloc="").geturl(), skip_host=True, skip_accept_encoding=True
        )
        for name, value in self.headers.items():
            if name.lower() not in _PASSED_OVER:
                behind.putheader(name, value)
        behind.endheaders(body or None)
        answer = behind.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {*_PASSED_OVER, "content-length", "date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        behind.close()

    def do_CONNECT(self) -> None:
        """A tunnel to what is behind, whatever host was asked for."""
        self.server.passed.append((self.path, "", self.headers.get("Proxy-Authorization", "")))
        host, _colon, port = self.server.behind.partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pour, args=(there, self.connection), daemon=True)
            back.start()
            _pour(self.connection, there)
            back.join()
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _pass

    def log_message(self, format: str, *args: object) -> None:
        pass


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def way(behind: str, certificate: Path | None = None) -> Iterator[Way]:
    """A proxy before a server; with a certificate and its key in one file, a door that is opened by TLS."""
    with Way(behind) as found:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            found.socket = context.wrap_socket(found.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=found.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield found
        finally:
            found.shutdown()
            thread.join()


def authority(folder: Path, later: timedelta = timedelta()) -> tuple[Path, Path]:
    """A private authority's certificate, and one that it gave to these names, with its key.

    Args:
        later: How much later than now the other one is good; the authority's own is good now.
    """
    keys = [ec.generate_private_key(ec.SECP256R1()) for _each in range(2)]
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("A private authority", "localhost")
    ]
    now = datetime.now(timezone.utc)
    written = []
    for number, name in enumerate(names):
        builder = (
            x509.CertificateBuilder().subject_name(name).issuer_name(names[0]).public_key(keys[number].public_key())
        )
        builder = builder.serial_number(x509.random_serial_number())
        moment = now + later * number
        builder = builder.not_valid_before(moment - timedelta(days=1)).not_valid_after(moment + timedelta(days=2))
        extensions: list[x509.ExtensionType] = [
            x509.BasicConstraints(ca=number == 0, path_length=None),
            x509.SubjectKeyIdentifier.from_public_key(keys[number].public_key()),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()),
        ]
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        if number == 0:
            usage = [False, False, False, False, False, True, True, False, False]
            builder = builder.add_extension(x509.KeyUsage(*usage), critical=True)
        else:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in NAMES]), critical=False
            )
        written.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    key = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "authority.pem").write_bytes(written[0])
    (folder / "localhost.pem").write_bytes(written[1] + key)
    return folder / "authority.pem", folder / "localhost.pem"
