# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""REST: buckets, their locks, lifecycle rules and public domains."""

from __future__ import annotations

import base64
import re

from tests.stand_in import lifecycle
from tests.stand_in.locks import check_rules
from tests.stand_in.messages import Response
from tests.stand_in.rest import Call, RestError, route, success
from tests.stand_in.state import Bucket
from tests.stand_in.tokens import ACCOUNT_READ, ACCOUNT_WRITE

BUCKETS = "/accounts/{account}/r2/buckets"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
HINTS = ("apac", "eeur", "enam", "weur", "wnam", "oc")
CLASSES = ("Standard", "InfrequentAccess")


def bucket_of(call: Call, right: str) -> Bucket:
    """The bucket that a call is about, if the token has the right on the account."""
    call.require(right)
    return find_bucket(call)


def find_bucket(call: Call) -> Bucket:
    """The bucket that a call is about."""
    name = call.values["bucket"]
    if not NAME.fullmatch(name):
        raise RestError(400, 10005, "The specified bucket name is not valid.")
    bucket = call.state.buckets.get((call.jurisdiction, name))
    if bucket is None:
        raise RestError(404, 10006, "The specified bucket does not exist.")
    return bucket


@route("GET", BUCKETS)
def list_buckets(call: Call) -> Response:
    """Buckets of one jurisdiction, a page at a time."""
    call.require(ACCOUNT_READ)
    query = call.request.query
    size = min(int(query.get("per_page", "20")), 1000)
    start = query.get("start_after", "")
    if query.get("cursor"):
        start = base64.urlsafe_b64decode(query["cursor"]).decode()
    names = sorted(
        (
            name
            for jurisdiction, name in call.state.buckets
            if jurisdiction == call.jurisdiction and query.get("name_contains", "") in name
        ),
        reverse=query.get("direction") == "desc",
    )
    if start:
        names = [name for name in names if (name < start if query.get("direction") == "desc" else name > start)]
    page = names[:size]
    info: dict[str, object] = {"per_page": size}
    if len(names) > size:
        info["cursor"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
    return success({"buckets": [call.state.buckets[call.jurisdiction, name].shown() for name in page]}, info)


@route("POST", BUCKETS)
def create_bucket(call: Call) -> Response:
    """Make a bucket."""
    call.require(ACCOUNT_WRITE)
    body = call.document() or {}
    name = str(body.get("name", ""))
    if not NAME.fullmatch(name):
        raise RestError(400, 10005, "The specified bucket name is not valid.")
    if (call.jurisdiction, name) in call.state.buckets:
        raise RestError(409, 10004, "The bucket you tried to create already exists, and you own it.")
    hint, storage_class = body.get("locationHint", "enam"), body.get("storageClass", "Standard")
    if str(hint).lower() not in HINTS or storage_class not in CLASSES:
        raise RestError(400, 10001, "The location hint or the storage class is not valid.")
    bucket = call.state.create_bucket(name, call.jurisdiction, hint, storage_class)
    return success(bucket.shown())


@route("GET", BUCKETS + "/{bucket}")
def get_bucket(call: Call) -> Response:
    """One bucket."""
    return success(bucket_of(call, ACCOUNT_READ).shown())


@route("PATCH", BUCKETS + "/{bucket}")
def patch_bucket(call: Call) -> Response:
    """Change the default storage class."""
    bucket = bucket_of(call, ACCOUNT_WRITE)
    storage_class = call.request.headers.get("cf-r2-storage-class", "")
    if storage_class not in CLASSES:
        raise RestError(400, 10062, "The storage class specified is not valid.")
    bucket.storage_class = storage_class
    call.state.save_bucket(bucket)
    return success(bucket.shown())


@route("DELETE", BUCKETS + "/{bucket}")
def delete_bucket(call: Call) -> Response:
    """Remove an empty bucket."""
    if not call.state.delete_bucket(bucket_of(call, ACCOUNT_WRITE)):
        raise RestError(409, 10008, "The bucket you tried to delete is not empty.")
    return success({})


@route("GET", BUCKETS + "/{bucket}/lock")
def get_lock(call: Call) -> Response:
    """The lock rules."""
    rules = bucket_of(call, ACCOUNT_READ).locks.rules
    bare = rules is None and call.state.settings.bare_lock_document
    return success({} if bare else {"rules": rules or []})


@route("PUT", BUCKETS + "/{bucket}/lock")
def put_lock(call: Call) -> Response:
    """Replace all lock rules."""
    bucket = bucket_of(call, ACCOUNT_WRITE)
    body = call.document()
    try:
        rules = check_rules((body or {}).get("rules", []))
    except (ValueError, AttributeError) as error:
        raise RestError(400, 10001, f"The lock configuration is not valid: {error}.") from None
    settings = call.state.settings
    unlock_delay = settings.lock_delay if settings.unlock_delay is None else settings.unlock_delay
    bucket.locks.replace(rules, call.state.now(), settings.lock_delay, unlock_delay)
    call.state.save_bucket(bucket)
    return success({})


@route("GET", BUCKETS + "/{bucket}/lifecycle")
def get_lifecycle(call: Call) -> Response:
    """The lifecycle rules."""
    return success({"rules": bucket_of(call, ACCOUNT_READ).lifecycle})


@route("PUT", BUCKETS + "/{bucket}/lifecycle")
def put_lifecycle(call: Call) -> Response:
    """Replace all lifecycle rules."""
    bucket = bucket_of(call, ACCOUNT_WRITE)
    try:
        bucket.lifecycle = lifecycle.check((call.document() or {}).get("rules", []))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RestError(400, 10001, f"The lifecycle configuration is not valid: {error}.") from None
    call.state.save_bucket(bucket)
    return success({})


@route("GET", BUCKETS + "/{bucket}/domains/managed")
def get_managed_domain(call: Call) -> Response:
    """Whether the bucket is public under r2.dev."""
    bucket = bucket_of(call, ACCOUNT_READ)
    domain = f"pub-{bucket.domain_id}.r2.dev"
    return success({"bucketId": bucket.domain_id, "domain": domain, "enabled": bucket.managed_domain})


@route("PUT", BUCKETS + "/{bucket}/domains/managed")
def put_managed_domain(call: Call) -> Response:
    """Make the bucket public under r2.dev, or not."""
    enabled = (call.document() or {}).get("enabled")
    if not isinstance(enabled, bool):
        raise RestError(400, 10001, "enabled is not a boolean.")
    bucket = bucket_of(call, ACCOUNT_WRITE)
    bucket.managed_domain = enabled
    call.state.save_bucket(bucket)
    return get_managed_domain(call)


@route("GET", BUCKETS + "/{bucket}/domains/custom")
def list_custom_domains(call: Call) -> Response:
    """Custom domains, of which there are none here."""
    bucket_of(call, ACCOUNT_READ)
    return success({"domains": []})
