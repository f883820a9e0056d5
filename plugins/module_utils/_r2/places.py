# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks names of buckets, and makes the addresses at which repositories are reached. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import re

from .._common.errors import HoldfastError
from .._common.untrusted import shown

# Where R2 guarantees that data stays; each has an API and an S3 endpoint of its own.
_JURISDICTIONS = ("default", "eu", "fedramp", "us")
# Names those that R2 got after this release, separated by commas.
MORE_JURISDICTIONS = "HOLDFAST_JURISDICTIONS"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


def is_bucket(name: str) -> bool:
    """Whether R2 takes this name for a bucket."""
    return _BUCKET.fullmatch(name) is not None


def checked_bucket(name: str, error: type[HoldfastError] = HoldfastError) -> str:
    """The name, which then is one of a bucket and nothing else: it becomes a part of addresses."""
    if not is_bucket(name):
        raise error(
            f"{name!r} is not a bucket name: it has 3 to 63 lower-case letters, digits and hyphens, and neither begins nor "
            "ends with a hyphen."
        )
    return name


def jurisdictions() -> tuple[str, ...]:
    """The jurisdictions that R2 has, as far as this release and the environment know them."""
    more = (name.strip() for name in os.environ.get(MORE_JURISDICTIONS, "").split(","))
    return _JURISDICTIONS + tuple(name for name in more if re.fullmatch(r"[a-z0-9-]{1,32}", name))


def checked_jurisdiction(name: str | None, error: type[HoldfastError] = HoldfastError) -> str:
    """The name, before R2 is asked about a jurisdiction that it does not have, which it does not answer at once."""
    value = name or "default"
    known = jurisdictions()
    if value not in known:
        raise error(
            f"The jurisdiction {shown(value, 40)!r} is not known: write one of {', '.join(known)}. For one that "
            f"R2 got after this release, set the environment variable {MORE_JURISDICTIONS} to its name."
        )
    return value


def default_bucket(host: str) -> str:
    """The bucket of a host for which none is set."""
    return "backup-" + re.sub(r"[^a-z0-9-]", "-", host.lower())


def s3_address(account: str, jurisdiction: str = "default") -> str:
    """The S3 endpoint of an account; empty where the account is not known."""
    infix = "" if jurisdiction in ("", "default") else f".{jurisdiction}"
    return f"https://{account}{infix}.r2.cloudflarestorage.com" if account else ""
