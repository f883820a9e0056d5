# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the values of settings for metrics, messages and the page; see _setting_rules.py. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re

from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.untrusted import shown
from ..module_utils._page.evidence import period_of


def metrics_file(text: str) -> None:
    """A file that node_exporter reads, and that is the same wherever Ansible is run."""
    told = repr(shown(text, 80))
    if text and not text.startswith(("/", "~")):
        raise ValueError(f"is {told}, which is another file wherever this is run: write it from / on")
    if text and not text.endswith(".prom"):
        raise ValueError(f"is {told}, and node_exporter reads no other files than *.prom: write {shown(text, 80)}.prom")


def period(text: str) -> None:
    if not text:
        return
    try:
        period_of(text)
    except HoldfastError:
        raise ValueError(
            f"is {shown(text, 80)!r}, which is no period: write a year or a month in quotes, as in '2026-03'"
        ) from None


def file_mode(text: str) -> None:
    # With its 0, for a number without quotes has lost it, and 0644 has become 420.
    if not re.fullmatch(r"0[0-7]{3}", text):
        raise ValueError(
            f"is {shown(text, 80)!r}, which are no permissions of a file: write 0 and three octal digits in quotes, as in '0640'"
        )


def address(text: str) -> None:
    """An address of Apprise. It holds a password, and is not shown."""
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://\S", text):
        raise ValueError(
            "has an entry that is no address: write it as Apprise reads it, as in mailtos://USER:PASSWORD@HOST?to=NAME"
        )
