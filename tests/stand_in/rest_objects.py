# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""REST: the objects of a bucket."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any

from tests.stand_in.messages import Request, Response
from tests.stand_in.objects import uploaded_at
from tests.stand_in.rest import Call, RestError, route, success
from tests.stand_in.rest_buckets import BUCKETS, find_bucket
from tests.stand_in.state import Bucket, iso
from tests.stand_in.tokens import ITEM_READ, ITEM_WRITE

OBJECTS = BUCKETS + "/{bucket}/objects"


def _bucket(call: Call, right: str) -> Bucket:
    name = call.values["bucket"]
    if not call.token.allows(right, call.state.account_id, call.jurisdiction, name):
        raise RestError(403, 10000, "Authentication error")
    return find_bucket(call)


def _shown(bucket: Bucket, call: Call, key: str) -> dict[str, Any]:
    found = call.state.objects.find(bucket.jurisdiction, bucket.name, key)
    assert found
    return {
        "key": key,
        "etag": found.etag.strip('"'),
        "size": found.size,
        "last_modified": iso(uploaded_at(found), fraction=True),
        "http_metadata": {"contentType": found.metadata.get("Content-Type")},
        "custom_metadata": {},
        "storage_class": bucket.storage_class,
    }


def _remove(call: Call, bucket: Bucket, key: str) -> bool:
    """Remove an object; False if a lock rule holds it."""
    if call.state.held(bucket, key):
        return False
    if call.state.objects.find(bucket.jurisdiction, bucket.name, key) is not None:
        call.state.delete_object(bucket, key)
        call.state.record_destruction(bucket, key, "rest", call.token.id)
    return True


def _locked() -> RestError:
    return RestError(409, 10069, "The object is locked by the bucket policy.")


@route("GET", OBJECTS)
def list_objects(call: Call) -> Response:
    """A page of objects."""
    bucket = _bucket(call, ITEM_READ)
    query = call.request.query
    size = min(max(int(query.get("per_page", "20")), 1), 1000)
    start = query.get("start_after", "")
    if query.get("cursor"):
        start = base64.urlsafe_b64decode(query["cursor"]).decode()
    keys = call.state.objects.keys(bucket.jurisdiction, bucket.name)
    keys = [key for key in keys if key.startswith(query.get("prefix", "")) and key > start]
    page = keys[:size]
    more = len(keys) > size
    info = {
        "per_page": size,
        "is_truncated": more,
        "cursor": base64.urlsafe_b64encode(page[-1].encode()).decode() if more else "",
    }
    return success([_shown(bucket, call, key) for key in page], info)


@route("GET", OBJECTS + "/{rest*}")
def get_object(call: Call) -> Response:
    """The bytes of an object."""
    bucket = _bucket(call, ITEM_READ)
    found = call.state.objects.find(bucket.jurisdiction, bucket.name, call.values["rest"])
    if found is None:
        raise RestError(404, 10007, "The specified key does not exist.")
    kind = found.metadata.get("Content-Type") or "application/octet-stream"
    return Response(200, {"content-type": kind, "etag": found.etag}, found.value)


@route("PUT", OBJECTS + "/{rest*}")
def put_object(call: Call) -> Response:
    """Store an object."""
    bucket, key = _bucket(call, ITEM_WRITE), call.values["rest"]
    if call.state.held(bucket, key):
        raise _locked()
    existed = call.state.objects.find(bucket.jurisdiction, bucket.name, key) is not None
    headers = {name: value for name, value in call.request.headers.items() if name == "content-type"}
    request = Request("PUT", f"/{bucket.name}/{key}", "", headers, call.request.body)
    call.state.objects.answer(bucket.jurisdiction, request, key)
    call.state.stored(bucket, key)
    if existed:
        call.state.record_destruction(bucket, key, "rest", call.token.id)
    return success(
        {"key": key, "etag": hashlib.md5(call.request.body).hexdigest(), "size": str(len(call.request.body))}
    )


@route("DELETE", OBJECTS + "/{rest*}")
def delete_object(call: Call) -> Response:
    """Remove an object."""
    bucket, key = _bucket(call, ITEM_WRITE), call.values["rest"]
    if not _remove(call, bucket, key):
        raise _locked()
    return success({"key": key})


@route("DELETE", OBJECTS)
def delete_objects(call: Call) -> Response:
    """Remove the objects that are named, or those below a prefix; the latter is a job that skips what is locked."""
    bucket = _bucket(call, ITEM_WRITE)
    if "prefix" not in call.request.query:
        keys = call.document()
        if not isinstance(keys, list):
            raise RestError(400, 10001, "Neither a prefix nor a list of keys was given.")
        if any(call.state.held(bucket, key) for key in keys):
            raise _locked()
        return success([{"key": key} for key in keys if _remove(call, bucket, key)])
    prefix, begin = call.request.query["prefix"], iso(call.state.now())
    keys = [key for key in call.state.objects.keys(bucket.jurisdiction, bucket.name) if key.startswith(prefix)]
    deleted = sum(_remove(call, bucket, key) for key in keys)
    detail = {"prefix": prefix, "deletedObjects": deleted, "isBucketClear": prefix == ""}
    job = {"id": secrets.token_hex(16), "jobType": "prefixDelete", "status": "COMPLETED", "startTime": begin}
    return success({**job, "endTime": iso(call.state.now()), "prefixDelete": detail})
