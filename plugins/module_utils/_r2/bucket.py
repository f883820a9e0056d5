# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Creates or updates a bucket.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._common.record import Record, RecordError, recorded
from .api import Bucket, Cloudflare, CloudflareError, NotFound


def present(client: Cloudflare, params: Mapping[str, Any], *, write: bool) -> tuple[Bucket, Bucket]:
    """Return the bucket with its public access, before and after; {} when it was not there."""
    name, storage_class, public = params["name"], params["storage_class"], params["public_access"]
    before = _found(client, params)
    record = next(recorded(params["record_dir"], name), None) if params["record_dir"] and not before else None
    if record:
        # The known list may be that of another account or jurisdiction.
        before = _found(client, {**params, "known_buckets": None})
        if not before:
            raise _vanished(name, params["record_dir"], record)
    if not before and not write:
        return {}, _new(params)
    after = dict(before)
    if not before:
        after = {**client.create_bucket(name, params["location_hint"], storage_class)}
        # It may have been there after all, with any settings.
        after["public_access"] = client.public_access(name)
    if storage_class and (after.get("storage_class") or "").lower() != storage_class.lower():
        if write:
            client.set_storage_class(name, storage_class)
            after.update(client.bucket(name) or {})
            _check(name, "storage_class", storage_class, after.get("storage_class"))
        else:
            after["storage_class"] = storage_class
    if after["public_access"] != public:
        after["public_access"] = client.set_public_access(name, public) if write else public
        _check(name, "public_access", public, after["public_access"])
    return before, after


def _vanished(name: str, record_dir: str, record: Record) -> RecordError:
    """The error where there should be a repository: an empty bucket in its place would hide that it is gone."""
    return RecordError(
        f"Bucket {name} has vanished, or is in another account or jurisdiction: {record_dir} has the record of a repository "
        f"in it, {record.repository_id}. Nothing was changed. Find out who deleted it; only if it was meant to go, remove "
        "its record."
    )


def absent(client: Cloudflare, params: Mapping[str, Any], *, write: bool) -> tuple[Bucket, Bucket]:
    """Return the bucket before and after; {} when it is not there."""
    before = _known(params) or client.bucket(params["name"]) or {}
    if before and write:
        client.delete_bucket(params["name"])
    return before, {}


def _found(client: Cloudflare, params: Mapping[str, Any]) -> Bucket:
    known = params["known_buckets"]
    bucket = _known(params) if known is not None else client.bucket(params["name"])
    if not bucket:
        return {}
    try:
        return {**bucket, "public_access": client.public_access(params["name"])}
    except NotFound:
        return {}


def _known(params: Mapping[str, Any]) -> Bucket | None:
    for bucket in params["known_buckets"] or []:
        jurisdiction = bucket.get("jurisdiction") or params["jurisdiction"]
        if bucket.get("name") == params["name"] and jurisdiction == params["jurisdiction"]:
            return dict(bucket)
    return None


def _new(params: Mapping[str, Any]) -> Bucket:
    bucket = {
        "name": params["name"],
        "jurisdiction": params["jurisdiction"],
        "location": (params["location_hint"] or "").upper() or None,
        "storage_class": params["storage_class"] or "Standard",
        "public_access": params["public_access"],
    }
    return {key: value for key, value in bucket.items() if value is not None}


def _check(name: str, what: str, desired: Any, found: Any) -> None:
    if str(desired).lower() != str(found).lower():
        raise CloudflareError(f"The {what} of bucket {name!r} was set to {desired!r}, but the API says {found!r}.")
