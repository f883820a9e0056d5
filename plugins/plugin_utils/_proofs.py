# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the playbooks check and drill say of one repository. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._reports import UNREACHABLE, Report, readable_size


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
        text = f"read {parts} of {parts + left} parts that were due, {size} in {read.get('packs')} packs"
    since = str(read.get("oldest") or "")[:10]
    text += (
        f"; all that was stored before {since} was read since" if read.get("complete") else "; the first round goes on"
    )
    return {"bucket": bucket, "done": True, "text": text}
