# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hands the keys of objects that findings are about from the audit to the removal, past Ansible's variables.

A host chooses keys. A person who copies one into a variable lets Ansible evaluate it as a template, so people name findings
by their ids, or a file, and the keys themselves stay in files of the node.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from .._common.errors import HoldfastError
from .._common.private_file import open_private, read_private, write_private
from .checks import MOST_OBJECTS, Finding

FILE = "findings.json"
# Far more than findings with all their keys take.
MOST_BYTES = 256 << 20


class JudgedError(HoldfastError):
    """There is no such finding, or a file of keys cannot be read."""


def keep(folder: str, findings: Iterable[Finding]) -> None:
    """Remember the exact keys of findings beside the record of their repository."""
    known = {one.id: {"code": one.code, "keys": list(one.objects[:MOST_OBJECTS])} for one in findings if one.objects}
    path = os.path.join(folder, FILE)
    if not known and not os.path.exists(path):
        return
    try:
        write_private(path, json.dumps(known, indent=1).encode())
    except OSError as error:
        raise JudgedError(f"{path} cannot be written: {error.strerror}.") from error


def keys_of(folder: str, ids: Iterable[str]) -> list[str]:
    """The keys of those findings, of which each must be among the last that were kept."""
    path = os.path.join(folder, FILE)
    known = _read(path, "run the step judge of the playbook recover first", read_private)
    keys: set[str] = set()
    for name in ids:
        if not isinstance(known, dict) or name not in known:
            raise JudgedError(
                f"The last look at the repository has no finding {name} with objects ({path}); nothing was removed. "
                "Run the step judge again, and use an id that it shows."
            )
        keys.update(known[name]["keys"])
    return sorted(keys)


def keys_in(path: str) -> list[str]:
    """The keys in a file: a JSON list of texts."""
    keys = _read(path, "it is to hold a JSON list of keys")
    if keys == []:
        raise JudgedError(f"{path} names no object, so that there is nothing to remove: look at what made the list.")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise JudgedError(f'{path} does not hold a JSON list of keys, like ["index/0123…"]; nothing was removed.')
    return sorted(set(keys))


def _bounded(path: str) -> bytes:
    with open_private(path) as stream:
        return stream.read(MOST_BYTES)


def _read(path: str, advice: str, read: Callable[[str], bytes] = _bounded) -> Any:
    try:
        return json.loads(read(path))
    except OSError as error:
        raise JudgedError(f"{path} cannot be read ({error.strerror}); {advice}.") from error
    except ValueError as error:
        raise JudgedError(f"{path} is no JSON; {advice}.") from error
