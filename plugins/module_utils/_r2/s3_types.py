# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Types of the S3 API: listed objects, and errors.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .._common.errors import HoldfastError

LOCKED_CODE = "ObjectLockedByBucketPolicy"
# Our own code for an answer that no S3 API gives.
STRANGE = "NotS3"
# The codes by which a service says that it does not know a request.
NOT_UNDERSTOOD = frozenset({"NotImplemented", "MethodNotAllowed", "InvalidRequest", "InvalidArgument"})


class S3Error(HoldfastError):
    """The S3 side refused, failed or could not be reached.

    Args:
        message: The sentence.
        code: The error code of the answer, empty when there was no answer.
        status: The HTTP status of the answer, 0 when there was no answer.
        text: The text of the answer, and nothing else: a writer of the bucket chooses the names of objects.
    """

    def __init__(self, message: str, *, code: str = "", status: int = 0, text: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.text = text

    @property
    def too_often(self) -> bool:
        """Whether the key was written less than a second ago: R2 takes no more writes of one key (429, number 10058)."""
        return self.status == 429 or self.code in ("SlowDown", "TooManyRequests", "10058")

    @property
    def locked(self) -> bool:
        """Whether a bucket lock refused the request; the documented status is 403, the observed one 409."""
        return (
            self.code in (LOCKED_CODE, "10069") or "locked by the bucket policy" in self.text or "(10069)" in self.text
        )


@dataclass(frozen=True)
class S3Object:
    """An object; last_modified, in UTC, is when the service stored it (a listing has more digits than a HEAD)."""

    key: str
    size: int
    last_modified: datetime
    etag: str
