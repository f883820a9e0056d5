# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Straight at what is there: while it is locked, and at the very moment when it is not."""

from __future__ import annotations

from threading import Event
from typing import Any

from tests.attacks.attack import Attack
from tests.attacks.host import PARTS, Host


def targets(host: Host) -> list[str]:
    return [key for key in host.sizes() if key.startswith(PARTS)]


def delete(host: Host) -> None:
    keys = targets(host)
    for key in keys:
        host.attempt("delete", host.s3.delete_object, Bucket=host.bucket, Key=key)
    every = {"Objects": [{"Key": key} for key in keys]}
    host.attempt("delete as a batch", host.s3.delete_objects, Bucket=host.bucket, Delete=every)


def overwrite(host: Host) -> None:
    host.put("locks/evil", b"")
    source = {"Bucket": host.bucket, "Key": "locks/evil"}
    for key in targets(host):
        where = {"Bucket": host.bucket, "Key": key}
        host.attempt("overwrite", host.s3.put_object, Body=b"", **where)
        host.attempt("copy onto", host.s3.copy_object, CopySource=source, **where)
        host.attempt("copy onto itself", host.s3.copy_object, CopySource=where, MetadataDirective="REPLACE", **where)
        host.attempt("complete an upload", multipart, host=host, **where)


def multipart(host: Host, **where: Any) -> Any:
    upload = {**where, "UploadId": host.s3.create_multipart_upload(**where)["UploadId"]}
    part = host.s3.upload_part(PartNumber=1, Body=b"evil", **upload)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    return host.s3.complete_multipart_upload(MultipartUpload=parts, **upload)


def configure(host: Host) -> None:
    """Let the service delete."""
    rule = {"ID": "gone", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    host.attempt(
        "expire everything",
        host.s3.put_bucket_lifecycle_configuration,
        Bucket=host.bucket,
        LifecycleConfiguration={"Rules": [rule]},
    )
    host.attempt("remove lifecycle rules", host.s3.delete_bucket_lifecycle, Bucket=host.bucket)
    host.attempt("delete the bucket", host.s3.delete_bucket, Bucket=host.bucket)


def delete_meanwhile(host: Host, ended: Event) -> None:
    """Over and over again, so that whatever is open for a moment is gone."""
    keys = targets(host)
    every = [keys[start : start + 20] for start in range(0, len(keys), 20)]
    while not ended.wait(0.02):
        for some in every:
            objects = {"Objects": [{"Key": key} for key in some]}
            host.attempt("delete", host.s3.delete_objects, Bucket=host.bucket, Delete=objects)


def overwrite_meanwhile(host: Host, ended: Event) -> None:
    """Only what is there: what maintenance has removed is not overwritten, but added again."""
    pages = host.s3.get_paginator("list_objects_v2").paginate(Bucket=host.bucket)
    found = [item for page in pages for item in page["Contents"] if item["Key"].startswith(("data/", "snapshots/"))]
    while not ended.wait(0.02):
        for item in found:
            where = {"Bucket": host.bucket, "Key": item["Key"], "IfMatch": item["ETag"]}
            host.attempt("overwrite", host.s3.put_object, Body=b"pay up", **where)


ATTACKS = [
    Attack("direct: delete", None, delete),
    Attack("direct: overwrite, copy, multipart", frozenset({"unfinished_uploads"}), overwrite),
    Attack("direct: lifecycle, bucket", None, configure),
    Attack("window: delete", None, meanwhile=delete_meanwhile),
    Attack("window: overwrite", None, meanwhile=overwrite_meanwhile),
]
