# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one base of every error that a user, a host or a network can cause.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from typing import Any

from .untrusted import LONG, shown


class HoldfastError(Exception):
    """A failure in one sentence: the event, the object, the advice.

    Args:
        message: The sentence. Never holds a secret. What a host could have written in it is made visible.
        details: Extra data for the module's result (JSON types, no secrets).
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(shown(message, LONG))
        self.details = details
