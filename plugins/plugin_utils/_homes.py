# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides for which of a job's units homes are open: they are closed unless something there is named. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

# What systemd's ProtectHome= closes.
_HOMES = ("/home", "/root", "/run/user")
# A home in the words of a command: by its path, or as shells write it.
_NAMED = re.compile(
    r"(?<![\w./~-])/(?:home|root|run/user)(?![\w-])|(?<![\w./~-])~(?:[A-Za-z_][\w-]*)?(?![\w~-])|\$\{?HOME\b"
)


def reads_homes(job: Mapping[str, Any]) -> bool:
    """Whether restic reads homes: a path of the job is there, or above."""
    return _has_home(job.get("paths") or ())


def commands_read_homes(job: Mapping[str, Any], writable: Iterable[str] = ()) -> bool:
    """Whether the command or a hook of a job reads homes: its words or the job's say so, or it may write there."""
    words = [*(job.get("command") or ()), job.get("before") or "", job.get("after") or ""]
    named = any(_NAMED.search(word) for word in words)
    return bool(job.get("open_homes")) or named or reads_homes(job) or _has_home(writable)


def _has_home(paths: Iterable[str]) -> bool:
    normal = [os.path.normpath(path).rstrip("/") + "/" for path in paths]
    return any(f"{home}/".startswith(path) or path.startswith(f"{home}/") for path in normal for home in _HOMES)
