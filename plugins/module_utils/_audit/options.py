# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Declares the options that restic_audit, restic_prune and restic_verify share, and makes of their values the settings of an
audit, and what is expected of snapshots.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any, Optional

from .._clients import Clients
from .._common.arguments import JOBS
from .._common.errors import HoldfastError
from .._common.record import Record, folder, load, no_record, stored
from .._restic.jobs import Jobs
from .freshness import Expected
from .signals import Limits

SIGNALS_SECONDS = 900
# Where a run is said to have taken too long.
LIMIT = "time_limit (holdfast_repository_timeout)"
# doc fragment: audit
AUDIT = {
    **JOBS,
    "protected_snapshots": {"type": "list", "elements": "str", "default": []},
    "record_dir": {"type": "path"},
    "expected_hosts": {"type": "list", "elements": "str", "default": []},
    "expected_paths": {"type": "list", "elements": "str", "default": []},
    "max_age": {"type": "float"},
    "longest_backup": {"type": "float", "default": 48.0},
    "first_read_limit": {"type": "int", "default": 10},
    "scratch_dir": {"type": "path"},
    "time_limit": {"type": "int", "default": 43200},
    "signals": {
        "type": "dict",
        "default": {},
        "options": {
            **{item.name: {"type": "float", "default": item.default} for item in fields(Limits)},
            "seconds": {"type": "int", "default": SIGNALS_SECONDS},
        },
    },
}


def expected_from(params: Mapping[str, Any]) -> Expected:
    """What snapshots should be like.

    Raises:
        HoldfastError: An option makes no sense.
    """
    if not 60 <= params["time_limit"] <= 31 * 86400:
        raise HoldfastError(f"time_limit is {params['time_limit']}; it must be from 60 to {31 * 86400} seconds.")
    for name in ("longest_backup", "first_read_limit"):
        if params[name] is not None and not 0 <= params[name] <= 1_000_000:
            raise HoldfastError(f"{name} is {params[name]}; it must be from 0 to 1000000.")
    return Expected(
        hosts=frozenset(params["expected_hosts"]),
        paths=frozenset(params["expected_paths"]),
        longest=timedelta(hours=params["longest_backup"]),
        by_upload=params.get("retention_time", "uploaded") == "uploaded",
        **expected_of_jobs(params),
    )


def expected_of_jobs(params: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of Expected that are about jobs: what these are, and how old their newest snapshots may be."""
    hours = {"": params["max_age"], **{job["name"]: job.get("max_age") for job in params["jobs"]}}
    for name, number in hours.items():
        if number is not None and not 0 <= number <= 1_000_000:
            whose = f" of job {name}" if name else ""
            raise HoldfastError(f"max_age{whose} is {number}; it must be from 0 to 1000000.")
    ages = {name: timedelta(hours=number) for name, number in hours.items() if number is not None}
    return {"max_age": ages.pop("", None), "ages": ages, "jobs": Jobs(params["jobs"], params["expected_hosts"])}


def remembered(clients: Clients) -> dict[str, Any]:
    """The fields of AuditSettings that come from the record, and how to compare with it."""
    params = clients.params
    record, copies, path = recorded(params["record_dir"], clients.bucket, clients.prefix)
    return {
        "repository_id": params["repository_id"],
        "record": record,
        "copies": copies,
        "folder": path,
        "first_read": params["first_read_limit"] << 30,
        "scratch_dir": params["scratch_dir"],
        "time_limit": params["time_limit"],
        **signals_from(params["signals"] or {}),
    }


def signals_from(said: Mapping[str, Any]) -> dict[str, Any]:
    """From when on a change looks like ransomware, and how long to look for that.

    Raises:
        HoldfastError: A threshold is no share, or the time makes no sense.
    """
    shares = {name: value for name, value in said.items() if name != "seconds" and value is not None}
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise HoldfastError(f"{name} in signals is {value}; it must be a share, from 0 to 1.")
    seconds = said.get("seconds") or SIGNALS_SECONDS
    if not 10 <= seconds <= 86400:
        raise HoldfastError(f"seconds in signals is {seconds}; it must be from 10 to 86400.")
    return {"signals": Limits(**shares), "signals_seconds": float(seconds)}


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
