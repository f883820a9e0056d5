# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For verify: finds proofs that are missing or too old, of data that was read and of restores that were tried. Asks no service.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Optional

from .._common.dates import parse_date
from .._common.record import load
from .drill_record import drill_finding
from .read_through import reading_finding


@dataclass(frozen=True)
class Proofs:
    """The proofs that must be there.

    Attributes:
        read_within: How soon all stored data must have been read; None to leave it at that.
        drilled_within: How long ago the last good drill of each job may be; None to leave it at that.
        jobs: The names of the jobs.
    """

    read_within: Optional[str] = None
    drilled_within: Optional[str] = None
    jobs: Sequence[str] = ()

    def findings(self, path: str, now: datetime) -> list[tuple[str, str]]:
        """The missing and old proofs: code and sentence of each. No request is made.

        Args:
            path: The folder of the record.
            now: R2's time.
        """
        reading = reading_finding(path, now, self.read_within) if self.read_within else None
        found = [("not_read", reading)] if reading else []
        if self.drilled_within and self.jobs:
            record = load(path)
            created = parse_date(record.created) if record else None
            late = drill_finding(path, now, self.drilled_within, self.jobs, created)
            found += [("not_drilled", late)] if late else []
        return found
