# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Conditional requests that write: If-Match and its kin."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Optional

from moto.s3.models import FakeKey

from tests.stand_in.messages import Request
from tests.stand_in.objects import uploaded_at
from tests.stand_in.s3_errors import S3Error

NAMES = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")


def _listed(found: Optional[FakeKey], value: str) -> bool:
    if found is None:
        return False
    wanted = [entry.strip().removeprefix("W/").strip('"') for entry in value.split(",")]
    return "*" in wanted or found.etag.strip('"') in wanted


def check_conditions(request: Request, found: Optional[FakeKey], missing_status: int, prefix: str = "") -> None:
    """Take the conditions off a request; raise S3Error if one does not hold for what is stored now."""
    given = {name: request.headers.pop(prefix + name) for name in NAMES if prefix + name in request.headers}
    for name, value in given.items():
        if name == "if-match":
            if found is None and missing_status == 404:
                raise S3Error("NoSuchKey")
            holds = _listed(found, value)
        elif name == "if-none-match":
            holds = not _listed(found, value)
        elif found is None:
            holds = True
        else:
            newer = int(uploaded_at(found)) > parsedate_to_datetime(value).timestamp()
            holds = newer if name == "if-modified-since" else not newer
        if not holds:
            raise S3Error("PreconditionFailed")
