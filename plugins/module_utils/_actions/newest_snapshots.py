# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers which snapshots an audit has read and which of them are there, for the page.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable

from .._audit.auditor import Auditor
from .._audit.newest import newest, remember
from .._r2.s3 import S3Object


def remember_newest(auditor: Auditor, objects: Iterable[S3Object]) -> None:
    """Write down the newest snapshots of each job that are among the objects. Without a record, nothing is remembered."""
    start = f"{auditor.prefix}snapshots/"
    stored = {one.key[len(start) :]: one.last_modified for one in objects if one.key.startswith(start)}
    if auditor.settings.folder:
        found = newest(auditor.read, stored, auditor.settings.plan.jobs)
        remember(auditor.settings.folder, found, auditor.cloudflare.server_time())
