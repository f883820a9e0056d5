# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which S3 operation a request is, and what R2 thinks of it."""

from __future__ import annotations

from typing import Optional

from tests.stand_in.messages import Request
from tests.stand_in.s3_errors import S3Error
from tests.stand_in.tokens import ACCOUNT_READ, ACCOUNT_WRITE, ITEM_READ, ITEM_WRITE

# Of each operation that R2 has: method, for a key or a bucket, subresource.
OPERATIONS = {
    ("GET", "", ""): "ListBuckets",
    ("HEAD", "bucket", ""): "HeadBucket",
    ("PUT", "bucket", ""): "CreateBucket",
    ("DELETE", "bucket", ""): "DeleteBucket",
    ("GET", "bucket", ""): "ListObjects",
    ("GET", "bucket", "location"): "GetBucketLocation",
    ("GET", "bucket", "cors"): "GetBucketCors",
    ("PUT", "bucket", "cors"): "PutBucketCors",
    ("DELETE", "bucket", "cors"): "DeleteBucketCors",
    ("GET", "bucket", "lifecycle"): "GetBucketLifecycleConfiguration",
    ("PUT", "bucket", "lifecycle"): "PutBucketLifecycleConfiguration",
    ("DELETE", "bucket", "lifecycle"): "DeleteBucketLifecycle",
    ("GET", "bucket", "uploads"): "ListMultipartUploads",
    ("POST", "bucket", "delete"): "DeleteObjects",
    ("GET", "key", ""): "GetObject",
    ("HEAD", "key", ""): "HeadObject",
    ("PUT", "key", ""): "PutObject",
    ("DELETE", "key", ""): "DeleteObject",
    ("POST", "key", "uploads"): "CreateMultipartUpload",
    ("PUT", "key", "uploadId"): "UploadPart",
    ("GET", "key", "uploadId"): "ListParts",
    ("POST", "key", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "key", "uploadId"): "AbortMultipartUpload",
}
# fmt: off
BUCKET_SUBRESOURCES = (
    "acl", "policy", "policyStatus", "versioning", "versions", "tagging", "website", "logging", "notification",
    "replication", "encryption", "object-lock", "publicAccessBlock", "requestPayment", "accelerate", "analytics",
    "intelligent-tiering", "inventory", "metrics", "ownershipControls", "cors", "lifecycle", "location", "uploads",
    "delete",
)
KEY_SUBRESOURCES = (
    "acl", "tagging", "retention", "legal-hold", "torrent", "restore", "select", "attributes", "uploads", "uploadId",
    "versionId",
)
# fmt: on
# Needed on the account; everything else needs a right on the bucket.
ACCOUNT_RIGHTS = {
    "ListBuckets": ACCOUNT_READ,
    "GetBucketCors": ACCOUNT_READ,
    "GetBucketLifecycleConfiguration": ACCOUNT_READ,
    "CreateBucket": ACCOUNT_WRITE,
    "DeleteBucket": ACCOUNT_WRITE,
    "PutBucketCors": ACCOUNT_WRITE,
    "DeleteBucketCors": ACCOUNT_WRITE,
    "PutBucketLifecycleConfiguration": ACCOUNT_WRITE,
    "DeleteBucketLifecycle": ACCOUNT_WRITE,
}
READING = (
    "HeadBucket",
    "ListObjects",
    "ListObjectsV2",
    "GetBucketLocation",
    "ListMultipartUploads",
    "GetObject",
    "HeadObject",
    "ListParts",
)
MISSING_HEADERS = (
    "x-amz-object-lock-",
    "x-amz-bypass-governance-retention",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-tagging",
    "x-amz-acl",
    "x-amz-grant-",
    "x-amz-website-redirect-location",
    "x-amz-request-payer",
    "x-amz-expected-bucket-owner",
    "x-amz-source-expected-bucket-owner",
    "x-amz-mfa",
)


def split_path(path: str) -> tuple[str, str]:
    """Bucket and key of a path-style address; either may be empty."""
    bucket, _slash, key = path.lstrip("/").partition("/")
    return bucket, key


def operation_of(request: Request, bucket: str, key: str) -> str:
    """The name of the operation; of one that R2 does not have, "NotImplemented"."""
    query = request.query
    level = "key" if key else "bucket" if bucket else ""
    known = KEY_SUBRESOURCES if key else BUCKET_SUBRESOURCES
    subresource = next((name for name in known if name in query), "")
    name = OPERATIONS.get((request.method, level, subresource), "NotImplemented")
    if name == "ListObjects" and query.get("list-type") == "2":
        return "ListObjectsV2"
    if "x-amz-copy-source" in request.headers and name in ("PutObject", "UploadPart"):
        return {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}[name]
    return name


def right_for(operation: str) -> tuple[str, bool]:
    """The right that an operation needs, and whether on the account."""
    if operation in ACCOUNT_RIGHTS:
        return ACCOUNT_RIGHTS[operation], True
    return (ITEM_READ if operation in READING else ITEM_WRITE), False


def missing_feature(request: Request, operation: str) -> Optional[S3Error]:
    """The refusal of what R2 has not implemented."""
    if operation == "NotImplemented":
        names = ", ".join(request.query) or request.method
        return S3Error("NotImplemented", f"{request.method} {names} not implemented")
    for name, value in request.headers.items():
        if name.startswith(MISSING_HEADERS):
            return S3Error("NotImplemented", f"Header '{name}' with value '{value}' not implemented")
    if request.headers.get("x-amz-server-side-encryption", "AES256") != "AES256":
        return S3Error("NotImplemented", "Header 'x-amz-server-side-encryption' with this value not implemented")
    return None
