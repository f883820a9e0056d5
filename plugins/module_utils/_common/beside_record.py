# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps a private JSON file beside the record of a repository, one for each concern.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
from typing import Any

from .private_file import read_private, write_private
from .record import RecordError


def load_beside(path: str, name: str) -> Any:
    """What is in the file, or None when there is none.

    Args:
        path: The folder of the record.
        name: The name of the file.
    """
    file = os.path.join(path, name)
    try:
        return json.loads(read_private(file))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise damaged(path, name) from error


def damaged(path: str, name: str) -> RecordError:
    """The error for a file that holds something else than it should."""
    return RecordError(
        f"{os.path.join(path, name)} is damaged: restore it from a copy of the record, or remove it, and all of it counts as not "
        "done yet."
    )


def save_beside(path: str, name: str, data: Any) -> None:
    file = os.path.join(path, name)
    try:
        write_private(file, (json.dumps(data, indent=1, sort_keys=True) + "\n").encode())
    except OSError as error:
        raise RecordError(f"{file} cannot be written: {error.strerror}.") from error
