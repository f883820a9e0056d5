# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps the record of a repository on the maintenance node, where no backed-up host can write.

A folder with record.json and copies of the two objects without which no data can be decrypted: config and keys/<id>.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from .errors import HoldfastError
from .private_file import read_private, write_private

_NAME = "record.json"
_LEAVING = "leaving"
_ID = re.compile(r"[0-9a-f]{64}")


class RecordError(HoldfastError):
    """The record cannot be read or written, or is damaged."""


@dataclass(frozen=True)
class Record:
    """The record.

    extra holds the fields of record.json that others have added; they are kept.
    """

    bucket: str
    prefix: str
    repository_id: str
    key_id: str
    created: str
    keys: list[str]
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def leaving(self) -> list[str]:
        """Keys that are being removed on purpose: each of them may still be there, or be gone."""
        found = self.extra.get(_LEAVING, [])
        return list(found) if isinstance(found, list) else [found]

    def opened_by(self, key_id: str, leaving: list[str]) -> Record:
        """The record of a repository of which this is the only key, while others leave it."""
        extra = {name: value for name, value in self.extra.items() if name != _LEAVING}
        return replace(self, key_id=key_id, keys=[key_id], extra={**extra, **({_LEAVING: leaving} if leaving else {})})


def folder(record_dir: str, bucket: str, prefix: str) -> str:
    """Where the record of a repository is; bucket and prefix must have been validated."""
    return os.path.join(record_dir, bucket, *prefix.split("/")[:-1])


def load(path: str) -> Record | None:
    """The record in this folder, or None when there is none."""
    name = os.path.join(path, _NAME)
    try:
        data = json.loads(read_private(name))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f"The record {name} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise RecordError(f"The record {name} is not valid JSON; restore it from a copy.") from error
    return _record(name, data)


def _record(name: str, data: Any) -> Record:
    known = [item.name for item in fields(Record) if item.name != "extra"]
    if not isinstance(data, dict) or any(key not in data for key in known):
        raise RecordError(f"The record {name} does not hold all of {', '.join(known)}; restore it from a copy.")
    record = Record(**{key: data.pop(key) for key in known}, extra=data)
    ids = [record.repository_id, record.key_id, *record.keys, *record.leaving]
    if not all(isinstance(value, str) and _ID.fullmatch(value) for value in ids):
        raise RecordError(f"The record {name} holds an id that is not 64 hexadecimal digits; restore it from a copy.")
    return record


def no_record(record_dir: str, bucket: str, prefix: str) -> RecordError:
    """The error where a record should be and is not."""
    name = f"{bucket}/{prefix}".rstrip("/")
    return RecordError(
        f"There is no record of {name} in {record_dir}: run site first, or set record_dir (in the playbooks holdfast_record_dir) "
        "to the folder that site wrote into. Where there was a record before, look for it: a new one would take all that is in "
        "the bucket now for yours."
    )


def recorded(record_dir: str, bucket: str = "") -> Iterator[Record]:
    """All records below the folder of records, or below that of a bucket.

    Raises:
        RecordError: One of them, or a folder, cannot be read.
    """

    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise RecordError(f"The folder of records {error.filename} cannot be read: {error.strerror}.") from error

    for path, _folders, _files in os.walk(os.path.join(record_dir, bucket), onerror=unreadable):
        record = load(path)
        if record is not None:
            yield record


def recorded_as(record_dir: str, repository_id: str) -> str:
    """Where the repository of this id is by the records; empty when none has it."""
    found = (record for record in recorded(record_dir) if record.repository_id == repository_id)
    return next((f"{record.bucket}/{record.prefix}".rstrip("/") for record in found), "")


def stored(path: str, name: str) -> bytes | None:
    """A copy of an object in the record, or None when there is none."""
    try:
        return read_private(os.path.join(path, name))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f"{os.path.join(path, name)} cannot be read: {error.strerror}.") from error


def forget(path: str, name: str) -> None:
    """Remove the copy of an object from the record; one that is not there is gone."""
    try:
        os.unlink(os.path.join(path, name))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RecordError(f"{os.path.join(path, name)} cannot be removed: {error.strerror}.") from error


def save(path: str, record: Record, objects: Mapping[str, bytes]) -> None:
    """Write the record and the copies of the objects, named as in the repository. record.json comes last."""
    data = asdict(record)
    data.update(data.pop("extra"))
    files = {**objects, _NAME: (json.dumps(data, indent=2, sort_keys=True) + "\n").encode()}
    for name, content in files.items():
        target = os.path.join(path, name)
        try:
            write_private(target, content)
        except OSError as error:
            raise RecordError(f"{target} cannot be written: {error.strerror}.") from error
