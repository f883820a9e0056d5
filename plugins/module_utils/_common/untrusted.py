# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a text that a host could have written fit for a person, a log or a record. No such text goes another way.

The result is one line of bounded length. Characters that steer a terminal, or turn or hide what follows them, are written
as escapes, so that the text can neither look like another line nor like another word, and so is the brace that begins a
template, because not every reader of a record knows which of its texts must not be evaluated.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

LIMIT = 200
# For data: paths can be this long, and a sentence never is.
LONG = 4096
# Control, format (also those that turn the direction), surrogates, private use, not assigned; line and paragraph ends.
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
# What begins an expression, a statement or a comment of Jinja.
TEMPLATE = re.compile(r"\{(?=[{%#])")


def shown(text: Any, limit: int = LIMIT) -> str:
    r"""A text as one visible line: hidden characters as `\xNN` or `\uNNNN`, and cut at `limit`. Twice is as good as once.

    Args:
        text: Anything; what is no text is written as one first.
        limit: The length of the result, at most. A text that is longer says so at its end.
    """
    raw = text if isinstance(text, str) else str(text)
    # No more than what can be shown is looked at: a host may have sent a gigabyte.
    visible = TEMPLATE.sub(r"\\x7b", "".join(map(_visible, raw[: limit + 1])))
    if len(raw) <= limit and len(visible) <= limit:
        return visible
    end = f"… ({len(raw)} characters)"
    return visible[: max(0, limit - len(end))] + end


def shown_all(data: Any, limit: int = LONG) -> Any:
    """Data of JSON's types in which every text, also every name, went through `shown`."""
    if isinstance(data, dict):
        return {shown(name, limit): shown_all(value, limit) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [shown_all(value, limit) for value in data]
    return shown(data, limit) if isinstance(data, str) else data


def _visible(character: str) -> str:
    if character.isprintable() and unicodedata.category(character) not in HIDDEN:
        return character
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
