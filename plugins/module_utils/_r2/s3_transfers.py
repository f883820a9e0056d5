# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects in R2 by the piece and by the thousand: reading and storing without taking them into memory, deleting many.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any, Optional

from .prepared_deletes import PreparedDelete
from .s3_types import NOT_UNDERSTOOD, STRANGE, S3Error, S3Object

try:
    from botocore.awsrequest import AWSResponse
    from botocore.exceptions import BotoCoreError
except ImportError:
    # Told by _s3, without which nothing here is used.
    pass

_CHUNK = 1 << 18
_DELETED_AT_ONCE = 1000
_SINGLE_DELETES = 8
_BATCHES = 4


class _NotUnderstood(Exception):
    """The service does not know the request that deletes many objects."""


def content_md5(params: dict[str, Any], **_event: Any) -> None:
    """The digest of a request that deletes many, as S3 always had it: newer checksums are not understood everywhere."""
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
    params.get("context", {}).pop("checksum", None)


class _Answered(io.BytesIO):
    """An answer's body as botocore reads it."""

    def stream(self, *_size: Any) -> Iterator[bytes]:
        yield self.read()


def _unsent(request: Any, **_event: Any) -> Any:
    """Answers instead of the service, to which nothing is sent."""
    return AWSResponse(
        request.url, 200, {}, _Answered(b"<DeleteResult><Deleted><Key>rehearsed</Key></Deleted></DeleteResult>")
    )


class Transfers:
    """The part of the S3 client that moves and deletes much.

    Attributes:
        multi_delete: Whether the service is taken to know the request that deletes many objects.
    """

    bucket: str
    client: Any
    multi_delete = True

    def call(self, operation: str, *needed: str, **parameters: Any) -> dict[str, Any]:
        raise NotImplementedError

    def head(self, key: str) -> Optional[S3Object]:
        raise NotImplementedError

    def delete(self, key: str) -> None:
        raise NotImplementedError

    def stream(self, item: S3Object, first: int | None = None, last: int | None = None) -> tuple[int, Iterator[bytes]]:
        """The bytes of an object, or from the first to the last of a range, a piece at a time, and how many.

        The object must be as it was listed; raises S3Error, with status 412, when another is in its place.
        """
        span = {} if first is None else {"Range": f"bytes={first}-{'' if last is None else last}"}
        answer = self.call(
            "get_object", "Body", "ContentLength", "ETag", Key=item.key, IfMatch=f'"{item.etag}"', **span
        )
        whole = f"/{answer['ContentLength']}" if first is None else answer.get("ContentRange", "")
        if answer["ETag"].strip('"') != item.etag or whole.rpartition("/")[2] != str(item.size):
            answer["Body"].close()
            raise S3Error(f"{item.key} in bucket {self.bucket} is not as it was listed.", status=412)
        return answer["ContentLength"], self._chunks(item.key, answer["Body"])

    def _chunks(self, key: str, body: Any) -> Iterator[bytes]:
        try:
            yield from body.iter_chunks(_CHUNK)
        except BotoCoreError as error:
            raise S3Error(f"Reading {key} from bucket {self.bucket} stopped halfway: {error}") from error
        finally:
            body.close()

    def put_new(self, key: str, body: IO[bytes], size: int, md5: str) -> str:
        """Store what a file holds, if there is no such object, without taking it into memory; returns the ETag.

        An object that is there already, and is the same by size and MD5, is ours: its answer was lost.

        Args:
            key: The object.
            body: The file, which is read from its beginning, more than once if need be.
            size: How many bytes it holds.
            md5: Their MD5, in hexadecimal, which the service verifies.

        Raises:
            S3Error: With status 412 when there is another object.
        """
        body.seek(0)
        digest = base64.b64encode(bytes.fromhex(md5)).decode()
        try:
            answer = self.call(
                "put_object", "ETag", Key=key, Body=body, ContentLength=size, ContentMD5=digest, IfNoneMatch="*"
            )
        except S3Error as error:
            # The lock is looked at before the condition.
            if error.status != 412 and not error.locked:
                raise
            found = self.head(key)
            if found is None or (found.size, found.etag) != (size, md5):
                raise S3Error(f"There is another {key} in bucket {self.bucket}.", status=412) from None
            return found.etag
        return str(answer["ETag"]).strip('"')

    def prepared_delete(self, keys: Iterable[str]) -> PreparedDelete | None:
        """The request that deletes these objects, to be started; None where one request does not do."""
        keys = list(dict.fromkeys(keys))
        if not self.multi_delete or len(keys) > _DELETED_AT_ONCE:
            return None
        return PreparedDelete(lambda: self._delete_objects(keys))

    def delete_many(self, keys: Iterable[str], prepared: PreparedDelete | None = None) -> dict[str, S3Error]:
        """Delete objects, a thousand with a request; returns those that were not deleted, and why.

        Nothing is repeated here. After a request that was refused for all of its objects, no more are sent; the first is
        sent by itself, those after it several at a time.

        Args:
            keys: The objects.
            prepared: The request that deletes them all.
        """
        keys = list(dict.fromkeys(keys))
        if prepared is not None and self.multi_delete:
            return self._delete_batch(keys, prepared.send)
        refused: dict[str, S3Error] = {}
        start, count = 0, _DELETED_AT_ONCE
        while start < len(keys):
            some, start = keys[start : start + count], start + count
            batches = [some[at : at + _DELETED_AT_ONCE] for at in range(0, len(some), _DELETED_AT_ONCE)]
            failed = self._delete_batches(batches)
            for one in failed:
                refused.update(one)
            whole = [one for one, batch in zip(failed, batches) if len(one) == len(batch)]
            if whole:
                refused.update(dict.fromkeys(keys[start:], next(reversed(whole[-1].values()))))
                break
            count = _BATCHES * _DELETED_AT_ONCE
        return refused

    def rehearse_delete(self) -> None:
        """Go through a delete of one object without sending it, so that the first in a window takes no longer than others.

        It waits for nothing, and no problem of it is told: it decides nothing.
        """
        events = self.client.meta.events
        events.register("before-send.s3.DeleteObjects", _unsent)
        try:
            with suppress(Exception):
                self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": "rehearsed"}]})
        finally:
            events.unregister("before-send.s3.DeleteObjects", _unsent)

    def _delete_batches(self, batches: list[list[str]]) -> list[dict[str, S3Error]]:
        if not self.multi_delete or len(batches) == 1:
            return [self.delete_batch(batch) for batch in batches]
        with ThreadPoolExecutor(len(batches)) as pool:
            return list(pool.map(self.delete_batch, batches))

    def delete_batch(self, keys: list[str]) -> dict[str, S3Error]:
        return self._delete_batch(keys, lambda: self._delete_objects(keys))

    def _delete_batch(self, keys: list[str], delete: Callable[[], dict[str, S3Error]]) -> dict[str, S3Error]:
        if self.multi_delete:
            try:
                return delete()
            except _NotUnderstood:
                self.multi_delete = False
        with ThreadPoolExecutor(_SINGLE_DELETES) as pool:
            errors = list(pool.map(self._delete_one, keys))
        return {key: error for key, error in zip(keys, errors) if error}

    def _delete_one(self, key: str) -> S3Error | None:
        try:
            self.delete(key)
        except S3Error as error:
            return error
        return None

    def _delete_objects(self, keys: list[str]) -> dict[str, S3Error]:
        try:
            # Not quiet: what was deleted is named, else a proxy's page would look like success.
            answer = self.call("delete_objects", Delete={"Objects": [{"Key": key} for key in keys], "Quiet": False})
        except S3Error as error:
            # "500" is how botocore tells of an answer that is no XML.
            if error.status in (405, 501) or error.code in (*NOT_UNDERSTOOD, STRANGE, "500"):
                raise _NotUnderstood from None
            return dict.fromkeys(keys, error)
        deleted = {item.get("Key") for item in answer.get("Deleted", [])}
        told = {item.get("Key"): item for item in answer.get("Errors", [])}
        if not deleted and not told:
            raise _NotUnderstood
        return {key: self._refusal(key, told.get(key)) for key in keys if key in told or key not in deleted}

    def _refusal(self, key: str, item: Mapping[str, str] | None) -> S3Error:
        if item is None:
            return S3Error(f"Whether {key} was deleted from bucket {self.bucket} was not answered.")
        code, text = item.get("Code", ""), item.get("Message", "")
        return S3Error(
            f"{key} was not deleted from bucket {self.bucket}: {code}: {text}", code=code, status=200, text=text
        )
