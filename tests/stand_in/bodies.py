# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bodies: checked against the signature and the digests, and freed from aws-chunked framing."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import zlib
from typing import Callable

from tests.stand_in.messages import Request
from tests.stand_in.s3_errors import S3Error
from tests.stand_in.sigv4 import ALGORITHM, UNSIGNED, Signature, payload_hash

EMPTY = hashlib.sha256(b"").hexdigest()
STREAMING_UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
STREAMING_SIGNED = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "x-amz-checksum-crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "x-amz-checksum-sha1": lambda data: hashlib.sha1(data).digest(),
    "x-amz-checksum-sha256": lambda data: hashlib.sha256(data).digest(),
}
CHUNK_HEAD = re.compile(rb"([0-9a-fA-F]+)(?:;chunk-signature=([0-9a-f]{64}))?")


class _Frames:
    """Reads the frames of an aws-chunked body."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.position = 0

    def line(self) -> bytes:
        end = self.body.find(b"\r\n", self.position)
        if end < 0:
            raise S3Error("IncompleteBody")
        line = self.body[self.position : end]
        self.position = end + 2
        return line

    def head(self) -> tuple[int, str]:
        match = CHUNK_HEAD.fullmatch(self.line())
        if not match:
            raise S3Error("InvalidRequest", "A chunk is malformed.")
        return int(match[1], 16), (match[2] or b"").decode()

    def take(self, size: int) -> bytes:
        data = self.body[self.position : self.position + size]
        self.position += size
        return data

    def trailers(self) -> dict[str, str]:
        found = {}
        while self.position < len(self.body):
            name, _colon, value = self.line().decode().partition(":")
            if name:
                found[name.lower()] = value.strip()
        return found


def _check_chunk(claimed: Signature, previous: str, data: bytes, signature: str) -> None:
    digest = hashlib.sha256(data).hexdigest()
    text = "\n".join((f"{ALGORITHM}-PAYLOAD", claimed.stamp, claimed.scope, previous, EMPTY, digest))
    if not hmac.compare_digest(claimed.sign(text), signature):
        raise S3Error("SignatureDoesNotMatch")


def _check_trailer(claimed: Signature, previous: str, trailers: dict[str, str]) -> None:
    signature = trailers.pop("x-amz-trailer-signature", "")
    lines = "".join(f"{name}:{value}\n" for name, value in sorted(trailers.items()))
    digest = hashlib.sha256(lines.encode()).hexdigest()
    text = "\n".join((f"{ALGORITHM}-TRAILER", claimed.stamp, claimed.scope, previous, digest))
    if not hmac.compare_digest(claimed.sign(text), signature):
        raise S3Error("SignatureDoesNotMatch")


def _unframe(request: Request, claimed: Signature, kind: str) -> bytes:
    frames = _Frames(request.body)
    previous = claimed.signature
    body = bytearray()
    while True:
        size, signature = frames.head()
        data = frames.take(size)
        if kind in STREAMING_SIGNED:
            _check_chunk(claimed, previous, data, signature)
            previous = signature
        if size == 0:
            break
        body += data
        frames.line()
    trailers = frames.trailers()
    if kind == STREAMING_SIGNED[1]:
        _check_trailer(claimed, previous, trailers)
    if len(body) != int(request.headers.get("x-amz-decoded-content-length", len(body))):
        raise S3Error("IncompleteBody")
    # Moto keeps the checksum of an object only when it comes as a header.
    request.headers.update({name: value for name, value in trailers.items() if name in CHECKSUMS})
    return bytes(body)


def _check_digests(request: Request) -> None:
    given = request.headers.get("content-md5")
    if given:
        try:
            wanted = base64.b64decode(given, validate=True)
        except binascii.Error:
            raise S3Error("InvalidDigest") from None
        if hashlib.md5(request.body).digest() != wanted:
            raise S3Error("BadDigest")
    # Of a multipart upload's end they are about the object, not about the body.
    for name, digest in CHECKSUMS.items() if request.method == "PUT" else ():
        if request.headers.get(name) and base64.b64encode(digest(request.body)).decode() != request.headers[name]:
            raise S3Error("BadDigest", f"The {name} you specified did not match what we received.")


def open_body(request: Request, claimed: Signature) -> None:
    """Replace the request's body by the object's bytes; raise S3Error if they are not what was signed."""
    kind = payload_hash(request, claimed)
    if kind in STREAMING_SIGNED or kind == STREAMING_UNSIGNED:
        request.body = _unframe(request, claimed, kind)
        encodings = [entry.strip() for entry in request.headers.pop("content-encoding", "").split(",")]
        kept = ",".join(entry for entry in encodings if entry and entry != "aws-chunked")
        if kept:
            request.headers["content-encoding"] = kept
    elif kind != UNSIGNED and hashlib.sha256(request.body).hexdigest() != kind:
        raise S3Error("SignatureDoesNotMatch", "The provided x-amz-content-sha256 does not match what was computed.")
    _check_digests(request)
