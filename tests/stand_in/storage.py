# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept in a folder, so that neither a restart nor kill -9 loses anything that was acknowledged.

account.json                            tokens, temporary credentials
buckets/JURISDICTION/BUCKET.json        a bucket with its lock rules and their history
objects/JURISDICTION/BUCKET/HASH        an object: a line of JSON, then its bytes
uploads/JURISDICTION/BUCKET/ID/         a multipart upload: upload.json, and a file for each part
destructive.jsonl                       the ledger of destructive requests
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from moto.s3.models import FakeKey, FakeMultipart, S3Backend


class Storage:
    """A folder, or nothing at all when no folder was given."""

    def __init__(self, folder: Optional[Path]) -> None:
        self.folder = folder

    def _write(self, path: Path, *parts: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{threading.get_ident()}.new")
        with fresh.open("wb") as stream:
            stream.writelines(parts)
        os.replace(fresh, path)

    def _files(self, name: str) -> Iterator[Path]:
        """The complete files below a folder; what a killed process had not finished is removed."""
        top = self.folder / name if self.folder else None
        for path in sorted(top.rglob("*")) if top and top.exists() else []:
            if path.suffix == ".new":
                path.unlink()
            elif path.is_file():
                yield path

    def write_json(self, name: str, data: Any) -> None:
        """Keep a document."""
        if self.folder:
            self._write(self.folder / f"{name}.json", json.dumps(data).encode())

    def remove_json(self, name: str) -> None:
        """Forget a document."""
        if self.folder:
            (self.folder / f"{name}.json").unlink(missing_ok=True)

    def read_json(self, name: str) -> Any:
        """A document that was kept, or None."""
        path = self.folder / f"{name}.json" if self.folder else None
        return json.loads(path.read_bytes()) if path and path.exists() else None

    def read_buckets(self) -> list[dict[str, Any]]:
        """The documents of all buckets."""
        return [json.loads(path.read_bytes()) for path in self._files("buckets")]

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

    def write_object(self, jurisdiction: str, bucket: str, key: str, found: Optional[FakeKey]) -> None:
        """Keep an object as it is now; None: that there is none."""
        if not self.folder:
            return
        path = self.folder / "objects" / jurisdiction / bucket / hashlib.sha256(key.encode()).hexdigest()
        if found is None:
            path.unlink(missing_ok=True)
            return
        head = {
            "key": key,
            "etag": found.etag.strip('"'),
            "uploaded": found.last_modified.isoformat(),
            "storage_class": found.storage_class,
            "metadata": dict(found.metadata),
        }
        self._write(path, json.dumps(head).encode(), b"\n", found.value)

    def read_objects(self, backend: S3Backend, jurisdiction: str, bucket: str) -> None:
        """Put the objects that were kept back into their bucket."""
        for path in self._files(f"objects/{jurisdiction}/{bucket}"):
            line, _newline, value = path.read_bytes().partition(b"\n")
            head = json.loads(line)
            found = backend.put_object(bucket, head["key"], value, storage=head["storage_class"], etag=head["etag"])
            found.set_metadata(head["metadata"])
            found.last_modified = datetime.datetime.fromisoformat(head["uploaded"])

    def write_upload(self, jurisdiction: str, bucket: str, upload: FakeMultipart, part: Optional[int] = None) -> None:
        """Keep a multipart upload that began, or one more part of it."""
        if not self.folder:
            return
        folder = self.folder / "uploads" / jurisdiction / bucket / upload.id
        if part is None:
            head = {
                "id": upload.id,
                "key": upload.key_name,
                "metadata": dict(upload.metadata),
                "storage": upload.storage,
            }
            self._write(folder / "upload.json", json.dumps(head).encode())
        else:
            self._write(folder / str(part), upload.parts[part].value)

    def read_uploads(self, backend: S3Backend, jurisdiction: str, bucket: str) -> None:
        """Take up the multipart uploads that were kept."""
        for path in list(self._files(f"uploads/{jurisdiction}/{bucket}")):
            if path.name != "upload.json":
                continue
            head = json.loads(path.read_bytes())
            upload = FakeMultipart(
                head["key"], head["metadata"], backend.account_id, backend.region_name, storage=head["storage"]
            )
            upload.id = head["id"]
            for part in path.parent.iterdir():
                if part != path:
                    upload.set_part(int(part.name), part.read_bytes())
            backend.get_bucket(bucket).multiparts[upload.id] = upload

    def drop_upload(self, jurisdiction: str, bucket: str, upload_id: str) -> None:
        """Forget a multipart upload."""
        if self.folder:
            shutil.rmtree(self.folder / "uploads" / jurisdiction / bucket / upload_id, ignore_errors=True)

    def drop_bucket(self, jurisdiction: str, bucket: str) -> None:
        """Forget what is left in a bucket."""
        if self.folder:
            for name in ("objects", "uploads"):
                shutil.rmtree(self.folder / name / jurisdiction / bucket, ignore_errors=True)
