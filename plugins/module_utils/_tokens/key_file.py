# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps the files of a host beside its repository's record: its S3 key pair, and whether it is frozen.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from .._common.errors import HoldfastError
from .._common.private_file import read_private, write_private
from .._common.record import RecordError, folder

FILE, NEXT_FILE, FROZEN_FILE = "host_keys.json", "host_keys.next.json", "frozen"


class FrozenError(HoldfastError):
    """The host is frozen, and gets no keys."""


@dataclass
class KeyFile:
    """The file of one pair."""

    path: str

    def read(self) -> dict[str, str] | None:
        """Return its content; None when there is no file."""
        try:
            data = json.loads(read_private(self.path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordError(f"The keys {self.path} cannot be read: {error.strerror}.") from error
        except ValueError:
            data = None
        if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
            raise RecordError(f"The keys {self.path} are not as they were written; restore the file from a copy.")
        return data

    def write(self, **data: str) -> None:
        try:
            write_private(self.path, (json.dumps(data, indent=2, sort_keys=True) + "\n").encode())
        except OSError as error:
            raise RecordError(f"{self.path} cannot be written: {error.strerror}.") from error

    def remove(self) -> None:
        if os.path.exists(self.path):
            os.unlink(self.path)


def kept_pair(record_dir: str | None, bucket: str, prefix: str) -> tuple[str, str, str | None] | None:
    """The host's own key pair, when it is managed and so kept here; in the form of key_pair()."""
    if not record_dir:
        return None
    found = KeyFile(os.path.join(folder(record_dir, bucket, prefix), FILE)).read() or {}
    if "access_key_id" not in found or "secret_access_key" not in found:
        return None
    return found["access_key_id"], found["secret_access_key"], None


def refuse_frozen(record_dir: str | None, bucket: str, prefix: str) -> None:
    """Raise FrozenError when the host is frozen: then it gets no keys until it is thawed."""
    if record_dir and os.path.exists(os.path.join(folder(record_dir, bucket, prefix), FROZEN_FILE)):
        name = f"{bucket}/{prefix}".rstrip("/")
        raise FrozenError(
            f"The host of {name} was frozen after a break-in, so that it gets no keys: once it is a new host, "
            "run the recover playbook with holdfast_recover=thaw, then this again."
        )
