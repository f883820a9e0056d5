# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the entries of the guard's journal: it has no inventory, and so no playbook's table to make them of. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .entries import Entry

CLOSED_BY = "the guard"


def guard_entries(buckets: Iterable[Mapping[str, Any]], failure: str = "", **common: Any) -> list[Entry]:
    """One entry for each window that was closed and each bucket with a problem; one that says that all is well without any.

    Args:
        buckets: As the module returns them.
        failure: Why the guard could not look.
        common: More fields of each entry.
    """
    found: list[Entry] = [{"result": "failed", "text": failure}] if failure else []
    for bucket in buckets:
        name, line = bucket["bucket"], bucket["line"]
        for window in bucket["closed"]:
            closed = {
                "parts": window["parts"],
                "lease": window.get("lease"),
                "state": window["state"],
                "ended_by": CLOSED_BY,
            }
            found.append(
                {"result": "ok", "text": line, "bucket": name, "prefix": window["prefix"], "windows": [closed]}
            )
        found += [
            {"result": "ok", "text": line, "bucket": name, "prefix": fence["prefix"]} for fence in bucket["fences"]
        ]
        if bucket["problems"]:
            found.append({"result": "failed", "text": " ".join(bucket["problems"]), "bucket": name})
    return [{**common, "run": "guard", **entry} for entry in found or [{"result": "ok"}]]
