# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells where a repository is, and what opens it. Pure.

Also used on backed-up hosts: Python 3.9 and the standard library only.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Repository:
    """Where a repository is, and what opens it."""

    endpoint: str
    bucket: str
    prefix: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(repr=False)
    password: str = field(repr=False)
    key_id: str | None = None
    # Where a view of it is served, without keys; R2 itself when None.
    view: str | None = None

    @property
    def address(self) -> str:
        return self.view or f"s3:{self.endpoint}/{self.bucket}/{self.prefix}"

    @property
    def name(self) -> str:
        """Its name for a person: the bucket, and the prefix if there is one."""
        return f"{self.bucket}/{self.prefix}".rstrip("/")

    def through(self, view: str) -> Repository:
        """The same repository as a view shows it; the keys for R2 stay here."""
        return replace(self, view=view, access_key_id="", secret_access_key="", session_token=None)

    def opened_by(self, key_id: str, password: str) -> Repository:
        """The same repository, opened by another one of its keys."""
        return replace(self, key_id=key_id, password=password)

    def scrub(self, text: str) -> str:
        """The text without the secrets of the repository."""
        secrets = sorted(
            filter(None, (self.password, self.secret_access_key, self.session_token)), key=len, reverse=True
        )
        for secret in secrets:
            text = text.replace(secret, "********")
        return text
