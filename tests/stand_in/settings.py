# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be set while the stand-in runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Optional


@dataclass
class Settings:
    """How this stand-in behaves where R2 may vary or is slow.

    Attributes:
        lock_delay: Seconds until rules that were added or enabled are in force.
        unlock_delay: Seconds until rules that were removed or disabled stop being in force; None: as lock_delay.
        token_delay: Seconds until S3 requests notice that a token was made, changed, rolled or removed.
        conditions_first: Whether conditions of a write are looked at before the lock rules.
        latency: Seconds that every S3 and REST request takes on top.
        rate_limit: REST calls allowed in a period.
        rate_period: Length of that period in seconds.
        block_seconds: How long all REST calls are refused once the limit was exceeded.
        refusal_status: HTTP status of a refusal by a lock rule (409 was observed, 403 is documented).
        multi_delete_refusal: "key" answers 200 with an error for each locked key, "request" refuses as a whole.
        missing_key_if_match: HTTP status of a PUT with If-Match on a key that does not exist (412 or 404).
        bare_lock_document: Whether the lock document of a bucket that never had rules lacks even the empty list
            (a report says so; wrangler cannot cope with it).
        create_upload_refused: Whether a multipart upload onto a locked key is already refused when it begins.
        write_seconds: Seconds in which the same key can be written once; more are refused with 429.
        clock_offset: Seconds by which the server's clock differs from the machine's.
        max_skew: Seconds by which a signature's time may differ from the server's.
    """

    lock_delay: float = 0.0
    unlock_delay: Optional[float] = None
    token_delay: float = 0.0
    conditions_first: bool = False
    latency: float = 0.0
    rate_limit: int = 1200
    rate_period: float = 300.0
    block_seconds: float = 300.0
    refusal_status: int = 409
    multi_delete_refusal: str = "key"
    missing_key_if_match: int = 412
    bare_lock_document: bool = False
    create_upload_refused: bool = False
    write_seconds: float = 1.0
    clock_offset: float = 0.0
    max_skew: float = 900.0

    def update(self, values: dict[str, Any]) -> dict[str, Any]:
        """Set what is given; a name that does not exist is an error."""
        unknown = sorted(set(values) - {entry.name for entry in fields(self)})
        if unknown:
            raise ValueError(f"There is no setting {', '.join(unknown)}.")
        for name, value in values.items():
            setattr(self, name, value)
        return asdict(self)
