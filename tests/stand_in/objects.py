# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moto's S3 backend, without a server of its own: requests in, answers out, objects to look at."""

from __future__ import annotations

import datetime
import io
import threading
from typing import Any, Optional
from urllib.parse import quote

from moto.core.request import Request as MotoRequest
from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeKey, FakeMultipart, S3Backend, s3_backends
from moto.s3.responses import S3Response

from tests.stand_in.messages import Request, Response

# A jurisdiction is a namespace of its own, which is what an account is to moto.
ACCOUNT = "{:012d}"
# Moto keeps a region in this header; it never checks the signature, which has been done by then.
AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20200101/us-east-1/s3/aws4_request"
DROPPED = ("authorization", "host", "transfer-encoding", "x-amz-content-sha256", "x-amz-decoded-content-length")

# From so many bytes on, the file of an object is freed only so many seconds after it was deleted.
LARGE, FREED_AFTER = 1 << 20, 1.0


class Objects:
    """The objects of every bucket, as moto keeps them."""

    def __init__(self) -> None:
        self._accounts: dict[str, str] = {}
        self._deleted: list[Any] = []

    def backend(self, jurisdiction: str) -> S3Backend:
        """Moto's backend for one jurisdiction."""
        account = self._accounts.setdefault(jurisdiction, ACCOUNT.format(len(self._accounts) + 1))
        return s3_backends[account]["aws"]

    def _environ(self, jurisdiction: str, request: Request) -> dict[str, Any]:
        self.backend(jurisdiction)
        path = request.path
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path.encode().decode("latin-1"),
            "RAW_URI": quote(path, safe="/~-_."),
            "QUERY_STRING": request.raw_query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(request.body),
            "HTTP_HOST": "localhost",
            "HTTP_AUTHORIZATION": AUTHORIZATION,
            "HTTP_X_MOTO_ACCOUNT_ID": self._accounts[jurisdiction],
        }
        for name, value in request.headers.items():
            if name not in DROPPED:
                environ["HTTP_" + name.upper().replace("-", "_")] = value
        environ["CONTENT_TYPE"] = request.headers.get("content-type", "application/octet-stream")
        environ["CONTENT_LENGTH"] = str(len(request.body))
        # Moto reads form bodies as forms; an object may well be declared as one.
        if environ["CONTENT_TYPE"].startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
            environ["CONTENT_TYPE"] = environ["HTTP_CONTENT_TYPE"] = "application/octet-stream"
        return environ

    def answer(self, jurisdiction: str, request: Request, key: str) -> Response:
        """Let moto answer a request."""
        moto_request = MotoRequest(self._environ(jurisdiction, request))
        respond = S3Response().key_response if key else S3Response().bucket_response
        status, headers, body = respond(moto_request, moto_request.raw_url, dict(moto_request.headers))
        # Moto remembers every object it ever made, for the sake of its own tests.
        for kind in (FakeKey, FakeMultipart):
            kind.instances_tracked.clear()  # type: ignore[union-attr]
        kept = {name: str(value) for name, value in headers.items() if name.lower() not in ("date", "server")}
        return Response(int(status), kept, body.encode() if isinstance(body, str) else body or b"")

    def create_bucket(self, jurisdiction: str, bucket: str) -> None:
        """Make an empty bucket."""
        self.backend(jurisdiction).create_bucket(bucket, "us-east-1")
        # Moto shares one namespace among accounts; jurisdictions do not.
        s3_backends.bucket_accounts.pop(bucket, None)

    def delete_bucket(self, jurisdiction: str, bucket: str) -> bool:
        """Remove a bucket; False if it is not empty."""
        return self.backend(jurisdiction).delete_bucket(bucket) is not None

    def find(self, jurisdiction: str, bucket: str, key: str) -> Optional[FakeKey]:
        """One object, if it exists."""
        try:
            return self.backend(jurisdiction).get_object(bucket, key)
        except S3ClientError:
            return None

    def keys(self, jurisdiction: str, bucket: str) -> list[str]:
        """The names of all objects of a bucket, in order."""
        return sorted(self.backend(jurisdiction).get_bucket(bucket).keys)

    def delete(self, jurisdiction: str, bucket: str, key: str) -> None:
        """Remove one object. The file of a large one is freed later: that takes a millisecond, and on R2 nobody waits for it."""
        found = self.find(jurisdiction, bucket, key)
        if found is not None and found.size > LARGE:
            content, found._value_buffer = found._value_buffer, io.BytesIO()
            self._free_later(content)
        self.backend(jurisdiction).delete_object(bucket, key)

    def _free_later(self, content: Any) -> None:
        self._deleted.append(content)
        if len(self._deleted) == 1:
            later = threading.Timer(FREED_AFTER, self._free)
            later.daemon = True
            later.start()

    def _free(self) -> None:
        deleted, self._deleted = self._deleted, []
        for content in deleted:
            content.close()

    def uploads(self, jurisdiction: str, bucket: str) -> dict[str, FakeMultipart]:
        """The multipart uploads that are not finished."""
        return self.backend(jurisdiction).get_bucket(bucket).multiparts


def uploaded_at(found: FakeKey) -> float:
    """When an object was stored, in seconds since the epoch."""
    return float(found.last_modified.replace(tzinfo=datetime.timezone.utc).timestamp())


def set_uploaded_at(found: FakeKey, instant: float) -> None:
    """Change when an object was stored."""
    stamp = datetime.datetime.fromtimestamp(instant, tz=datetime.timezone.utc)
    found.last_modified = stamp.replace(tzinfo=None)
