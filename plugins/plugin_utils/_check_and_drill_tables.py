# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the lines that the playbooks check and drill add to the table at their end. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..module_utils._common.untrusted import shown
from ._tables import LINE_LIMIT, UNREACHABLE, Report, figure, readable_size


def check_report(read: Mapping[str, Any], bucket: str = "") -> Report:
    """One line about what restic_read_through returned."""
    if read.get("unreachable"):
        return {"bucket": bucket, "done": False, "text": UNREACHABLE}
    parts, left = len(read.get("read") or ()), len(read.get("left") or ())
    if not parts and not left:
        text = "nothing was due"
    elif not parts:
        text = f"would read {left} parts"
    else:
        size = readable_size(read.get("bytes"))
        text = f"read {parts} of {parts + left} parts that were due, {size} in {figure(read.get('packs'))} packs"
    since = shown(str(read.get("oldest") or "")[:10])
    text += (
        f"; all that was stored before {since} was read since" if read.get("complete") else "; the first round goes on"
    )
    return {"bucket": bucket, "done": True, "text": text}


def drill_report(drilled: Mapping[str, Any], job: str, bucket: str = "", check_mode: bool = False) -> Report:
    """One line about what restic_drill returned."""
    if drilled.get("unreachable"):
        text = "The machine for drills could not be reached; nothing was restored."
        return {"bucket": bucket, "done": False, "text": f"{job}: {text}"}
    if check_mode and drilled.get("snapshot") and not drilled.get("msg"):
        text = f"{job}: would restore {shown(str(drilled['snapshot'])[:8])}, {readable_size(drilled.get('all_bytes'))}"
        return {"bucket": bucket, "done": True, "text": text}
    if not drilled.get("ok"):
        return {
            "bucket": bucket,
            "done": False,
            "text": shown(f"{job}: {drilled.get('msg') or 'It failed, see above.'}", LINE_LIMIT),
        }
    what = "a sample" if drilled.get("sample") else "all"
    snapshot = shown(str(drilled.get("snapshot"))[:8])
    text = f"{job}: restored and proved {what} of {snapshot}, {readable_size(drilled.get('bytes'))}"
    text += f" in {figure(drilled.get('files'))} files and folders in {figure(drilled.get('seconds'))} s"
    if drilled.get("all_seconds") is not None:
        text += f"; all of it would take {figure(drilled['all_seconds'])} s"
    if drilled.get("command"):
        text += "; its command succeeded"
    return {"bucket": bucket, "done": True, "text": text}
