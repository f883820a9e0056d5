# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that restic_audit and restic_prune share, as settings of the auditor. Documented in the fragment auditor.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Optional

from .._clients import Clients
from .._common.errors import HoldfastError
from .._common.record import Record, folder, load, no_record, stored
from .snapshot_checks import Expected

# doc fragment: audit
AUDIT = {
    "record_dir": {"type": "path"},
    "duplicates": {"type": "str", "choices": ["verify", "refuse"], "default": "verify"},
    "expected_hosts": {"type": "list", "elements": "str", "default": []},
    "expected_paths": {"type": "list", "elements": "str", "default": []},
    "max_age": {"type": "float"},
    "longest_backup": {"type": "float", "default": 48.0},
    "first_read_limit": {"type": "int", "default": 10},
    "scratch_dir": {"type": "path"},
    "time_limit": {"type": "int", "default": 43200},
}


def expected_from(params: Mapping[str, Any]) -> Expected:
    """What snapshots should be like.

    Raises:
        HoldfastError: An option makes no sense.
    """
    if not 60 <= params["time_limit"] <= 31 * 86400:
        raise HoldfastError(f"time_limit is {params['time_limit']}; it must be from 60 to {31 * 86400} seconds.")
    for name in ("max_age", "longest_backup", "first_read_limit"):
        if params[name] is not None and not 0 <= params[name] <= 1_000_000:
            raise HoldfastError(f"{name} is {params[name]}; it must be from 0 to 1000000.")
    return Expected(
        hosts=frozenset(params["expected_hosts"]),
        paths=frozenset(params["expected_paths"]),
        max_age=None if params["max_age"] is None else timedelta(hours=params["max_age"]),
        longest=timedelta(hours=params["longest_backup"]),
        by_upload=params.get("retention_time", "uploaded") == "uploaded",
    )


def remembered(clients: Clients) -> dict[str, Any]:
    """The fields of AuditSettings that come from the record, and how to compare with it."""
    params = clients.params
    record, copies, path = recorded(params["record_dir"], clients.bucket, clients.prefix)
    return {
        "read_duplicates": params["duplicates"] == "verify",
        "repository_id": params["repository_id"],
        "record": record,
        "copies": copies,
        "folder": path,
        "first_read": params["first_read_limit"] << 30,
        "scratch_dir": params["scratch_dir"],
        "time_limit": params["time_limit"],
    }


def recorded(record_dir: Optional[str], bucket: str, prefix: str) -> tuple[Optional[Record], dict[str, bytes], str]:
    """The record, the copies of objects that it holds, and where it is."""
    if not record_dir:
        return None, {}, ""
    path = folder(record_dir, bucket, prefix)
    record = load(path)
    if record is None:
        raise no_record(record_dir, bucket, prefix)
    copies = {name: stored(path, name) for name in ("config", *(f"keys/{name}" for name in record.keys))}
    return record, {name: content for name, content in copies.items() if content is not None}, path
