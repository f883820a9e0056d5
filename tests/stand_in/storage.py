# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept in a folder, so that neither a restart nor kill -9 loses anything that was acknowledged."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any, Optional

from moto.s3.models import FakeKey, S3Backend


class Storage:
    """A folder, or nothing at all when no folder was given."""

    def __init__(self, folder: Optional[Path]) -> None:
        self.folder = folder
        if folder:
            folder.mkdir(parents=True, exist_ok=True)

    def _write(self, path: Path, *parts: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{threading.get_ident()}.new")
        with fresh.open("wb") as stream:
            stream.writelines(parts)
        os.replace(fresh, path)

    def write_state(self, data: dict[str, Any]) -> None:
        """Keep everything but the objects."""
        if self.folder:
            self._write(self.folder / "state.json", json.dumps(data, indent=1).encode())

    def read_state(self) -> Optional[dict[str, Any]]:
        """What was kept, or None."""
        path = self.folder / "state.json" if self.folder else None
        return json.loads(path.read_bytes()) if path and path.exists() else None

    def append_destruction(self, entry: dict[str, Any]) -> None:
        """Keep one line of the ledger."""
        if self.folder:
            with (self.folder / "destructive.jsonl").open("a") as stream:
                stream.write(json.dumps(entry) + "\n")

    def read_destruction(self) -> list[dict[str, Any]]:
        """The lines of the ledger that were kept."""
        path = self.folder / "destructive.jsonl" if self.folder else None
        return [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []

    def clear_destruction(self) -> None:
        """Forget the lines of the ledger."""
        if self.folder:
            (self.folder / "destructive.jsonl").unlink(missing_ok=True)

    def _bucket(self, jurisdiction: str, bucket: str) -> Path:
        assert self.folder
        return self.folder / "objects" / jurisdiction / bucket

    def write_object(self, jurisdiction: str, bucket: str, key: str, found: Optional[FakeKey]) -> None:
        """Keep an object as it is now; None: that there is none."""
        if not self.folder:
            return
        path = self._bucket(jurisdiction, bucket) / hashlib.sha256(key.encode()).hexdigest()
        if found is None:
            path.unlink(missing_ok=True)
            return
        head = {"key": key, "etag": found.etag.strip('"'), "uploaded": found.last_modified.isoformat(),
                "storage_class": found.storage_class, "metadata": dict(found.metadata)}
        self._write(path, json.dumps(head).encode(), b"\n", found.value)

    def read_objects(self, backend: S3Backend, jurisdiction: str, bucket: str) -> None:
        """Put the objects that were kept back into their bucket."""
        folder = self._bucket(jurisdiction, bucket)
        for path in sorted(folder.iterdir()) if folder.exists() else []:
            if path.suffix == ".new":
                path.unlink()  # written by a process that was killed before it acknowledged
                continue
            line, _newline, value = path.read_bytes().partition(b"\n")
            head = json.loads(line)
            found = backend.put_object(bucket, head["key"], value, storage=head["storage_class"], etag=head["etag"])
            found.set_metadata(head["metadata"])
            found.last_modified = datetime.datetime.fromisoformat(head["uploaded"])

    def drop_bucket(self, jurisdiction: str, bucket: str) -> None:
        """Forget a bucket's folder."""
        if self.folder:
            shutil.rmtree(self._bucket(jurisdiction, bucket), ignore_errors=True)
