# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets the way to Cloudflare: a proxy, and the authorities whose certificates count.

They travel in the environment of this process, where the client of the API, boto3, restic and every process that is started from
here find them, and never in arguments: the address of a proxy may hold a password. Also runs on backed-up hosts.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from datetime import datetime, timezone
from typing import Any, Optional

from .errors import HoldfastError

# Some programs read the one spelling, some the other, and none of them only one of the two.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
NO_PROXY = ("NO_PROXY", "no_proxy")
# What OpenSSL (and with it the client of the API), boto3 and restic read.
_AUTHORITIES = ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "RESTIC_CACERT", "REQUESTS_CA_BUNDLE")
# This machine is never reached through a proxy.
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# How OpenSSL and Go say that a certificate is good at another time than now.
_OTHER_TIME = re.compile(r"certificate (?:has expired|is not yet valid)")


class NetworkError(HoldfastError):
    """The way to Cloudflare cannot be used."""


def use(params: Mapping[str, Any], environment: Optional[MutableMapping[str, str]] = None) -> None:
    """Go the way that the options of the doc fragment cloudflare say; without any, the environment of the module says it."""
    environment = os.environ if environment is None else environment
    proxy, around, authorities = (params.get(name) for name in ("proxy", "no_proxy", "ca_file"))
    if proxy:
        environment.update(dict.fromkeys(PROXIES, proxy))
    if proxy or around:
        environment.update(dict.fromkeys(NO_PROXY, ",".join([*_LOOPBACK, *(around or ())])))
    if authorities:
        if not os.access(authorities, os.R_OK) or os.path.isdir(authorities):
            raise NetworkError(
                f"The certificates in {authorities} cannot be read on the machine that runs this module: put the file there, "
                "readable for all users, or correct ca_file (in the playbooks holdfast_ca_file)."
            )
        environment.update(dict.fromkeys(_AUTHORITIES, authorities))


def with_clock(reason: str, now: Optional[datetime] = None) -> str:
    """Why a connection failed; with the time of this machine where a certificate is good at another time than now."""
    if not _OTHER_TIME.search(reason):
        return reason
    told = f"{now or datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    return (
        f"{reason} (the clock of this machine says {told}: where that is wrong, set it, for example with timedatectl)"
    )
