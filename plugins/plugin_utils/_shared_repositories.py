# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds hosts that would share one repository: two that start together make it at once, later ones mix their snapshots.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..module_utils._common.untrusted import shown
from ..module_utils._r2.places import default_bucket

# What a repository is known by: settings of the role repository, and where they come from.
PARTS = ("account_id", "jurisdiction", "bucket", "prefix")
PLACE = tuple(f"{role}_{part}" for part in PARTS for role in ("repository", "holdfast"))


def place_of(host: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the repository of a host is, by what was set for it and else by the defaults of the role repository."""
    defaults = (os.environ.get("CLOUDFLARE_ACCOUNT_ID", ""), "default", default_bucket(host), "")
    place = []
    for part, default in zip(PARTS, defaults, strict=True):
        value = values.get(f"repository_{part}", values.get(f"holdfast_{part}"))
        place.append(str(default if value is None or value == "" else value).strip())
    return (place[0].lower(), *place[1:3], place[3].strip("/"))


def shared(places: Mapping[str, tuple[str, ...]], chosen: set[str]) -> list[str]:
    """Problems, in sentences, where one of the chosen hosts has the repository of another host.

    Args:
        places: Where the repository is of each host of the inventory.
        chosen: The hosts that the run is about.
    """
    hosts: dict[tuple[str, ...], list[str]] = {}
    for host, place in sorted(places.items()):
        hosts.setdefault(place, []).append(host)
    return [_sentence(place, names) for place, names in hosts.items() if len(names) > 1 and chosen & set(names)]


def _sentence(place: tuple[str, ...], names: list[str]) -> str:
    some = ", ".join(shown(name, 60) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    where = f"bucket {shown(place[2], 70)}" + (f", prefix {shown(place[3], 70)}" if place[3] else "")
    return (
        f"{some}{more} would share one repository ({where}): write a holdfast_bucket, or in a shared bucket a holdfast_prefix, "
        "that is different for each host."
    )
