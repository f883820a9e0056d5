# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads how a restic ended: exit status and reason. Pure.

Also runs on backed-up hosts: Python 3.9 and the standard library only.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

NO_REPOSITORY = 10
LOCKED = 11
WRONG_PASSWORD = 12

# Before 0.17.1 these had exit status 1 like everything else; the text tells them apart.
_TEXTS = (
    ("wrong password or no key found", WRONG_PASSWORD),
    ("repository is already locked", LOCKED),
    ("Is there a repository at the following location?", NO_REPOSITORY),
    ("repository does not exist", NO_REPOSITORY),
)

# What it says before it tries again.
_AGAIN = re.compile(r" returned error, retrying after \S+: (.+)")


class Completed(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


def failure(completed: Completed) -> int:
    """The exit status, as restic 0.17.1 and later would have it."""
    if completed.exit_code == 1:
        for text, code in _TEXTS:
            if text in completed.stderr:
                return code
    return completed.exit_code


def reason(completed: Completed) -> str:
    """The reason of a failure in restic's words: its last line, and the first error if there were others before."""
    lines = [_message(line) for line in _without_stacks(completed.stderr.splitlines()) if line.strip()]
    fatal = [text for kind, text in lines if text.startswith("Fatal: ")]
    retried = [found[1] for found in (_AGAIN.search(text) for _kind, text in lines) if found]
    errors = [text for kind, text in lines if kind == "error"] or retried
    if fatal and errors:
        return f"{short(fatal[-1])}; the first error: {short(errors[0])}"
    if fatal or lines:
        return short(fatal[-1] if fatal else lines[-1][1])
    return "it did not say why"


def _without_stacks(lines: list[str]) -> list[str]:
    """The lines that say something: below an error that it did not expect, restic writes a function and its place by turns."""
    places = {number for number, line in enumerate(lines) if line.startswith("\t")}
    return [line for number, line in enumerate(lines) if not places & {number, number + 1}]


def _message(line: str) -> tuple[str, str]:
    """Kind and text of one line of restic's error output, which is JSON only in part."""
    try:
        message = json.loads(line)
        return str(message["message_type"]), str(message.get("message") or message["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "", line.strip()


def short(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= 300 else text[:300] + "…"
