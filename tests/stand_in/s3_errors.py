# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors of the S3 side: codes, statuses and texts as R2 has them."""

from __future__ import annotations

from typing import Optional
from xml.sax.saxutils import escape

from tests.stand_in.messages import Response

STATUS = {
    "AccessDenied": 403,
    "BadDigest": 400,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "ExpiredRequest": 400,
    "IncompleteBody": 400,
    "InternalError": 500,
    "InvalidArgument": 400,
    "InvalidBucketName": 400,
    "InvalidDigest": 400,
    "InvalidObjectName": 400,
    "InvalidPart": 400,
    "InvalidRequest": 400,
    "MalformedXML": 400,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NotImplemented": 501,
    "ObjectLockedByBucketPolicy": 409,
    "PreconditionFailed": 412,
    "RequestTimeTooSkewed": 403,
    "SignatureDoesNotMatch": 403,
    "TooManyRequests": 429,
    "Unauthorized": 401,
    "NoSuchLifecycleConfiguration": 404,
    "MissingContentLength": 411,
}
MESSAGE = {
    "AccessDenied": "Access Denied",
    "BadDigest": "The Content-MD5 you specified did not match what we received.",
    "BucketNotEmpty": "The bucket you tried to delete is not empty.",
    "InvalidBucketName": "The specified bucket name is not valid.",
    "NoSuchBucket": "The specified bucket does not exist.",
    "NoSuchKey": "The specified key does not exist.",
    "NoSuchUpload": "The specified multipart upload does not exist.",
    "ObjectLockedByBucketPolicy": "The object is locked by the bucket policy.",
    "PreconditionFailed": "At least one of the pre-conditions you specified did not hold.",
    "SignatureDoesNotMatch": "The request signature we calculated does not match the signature you provided. "
    "Check your secret access key and signing method.",
    "TooManyRequests": "There are too many writes of this object; the limit is one a second.",
    "Unauthorized": "Unauthorized",
}


class S3Error(Exception):
    """A refusal on the S3 side."""

    def __init__(self, code: str, message: Optional[str] = None, status: Optional[int] = None) -> None:
        self.code = code
        self.message = message or MESSAGE.get(code, code)
        self.status = status or STATUS.get(code, 400)
        super().__init__(self.message)


def error_response(error: S3Error) -> Response:
    """The XML document that tells a client."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
    )
    return Response(error.status, {"content-type": "application/xml"}, text.encode())
