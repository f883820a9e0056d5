# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The S3 side: signature, rights, lock rules and conditions, in front of moto."""

from __future__ import annotations

import re
from typing import Any, Callable
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from moto.s3.models import FakeMultipart

from tests.stand_in import lifecycle, listing
from tests.stand_in.bodies import open_body
from tests.stand_in.conditions import check_conditions
from tests.stand_in.identity import Identity, Keyring
from tests.stand_in.messages import Request, Response
from tests.stand_in.operations import missing_feature, right_for, split_path
from tests.stand_in.s3_errors import S3Error, error_response
from tests.stand_in.sigv4 import verify
from tests.stand_in.state import Bucket, State
from tests.stand_in.tokens import ITEM_READ

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
JURISDICTIONS = ("eu", "fedramp", "us")


def jurisdiction_of(host: str) -> str:
    """The jurisdiction that an endpoint's host name tells."""
    labels = host.partition(":")[0].split(".")
    return next((label for label in labels if label in JURISDICTIONS), "default")


def xml_response(text: str, status: int = 200) -> Response:
    """Answer with an XML document."""
    return Response(status, {"content-type": "application/xml"}, (HEAD + text).encode())


class S3Side:
    """Answers S3 requests."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.special: dict[str, Callable[[Request, Bucket, str, Identity], Response]] = {
            "DeleteBucket": self._delete_bucket,
            "GetBucketLocation": lambda *_all: xml_response("<LocationConstraint>auto</LocationConstraint>"),
            "ListObjectsV2": self._list_objects,
            "ListMultipartUploads": self._list_uploads,
            "GetBucketLifecycleConfiguration": self._get_lifecycle,
            "PutBucketLifecycleConfiguration": self._put_lifecycle,
            "DeleteBucketLifecycle": self._delete_lifecycle,
            "DeleteObject": self._delete_object,
            "DeleteObjects": self._delete_objects,
            "PutObject": self._write_object,
            "CopyObject": self._copy_object,
            "CreateMultipartUpload": self._create_upload,
            "UploadPart": self._upload_part,
            "UploadPartCopy": self._upload_part,
            "CompleteMultipartUpload": self._complete_upload,
            "AbortMultipartUpload": self._abort_upload,
        }

    def answer(self, request: Request, operation: str, entry: dict[str, Any]) -> Response:
        """Answer one request; what is learned about it goes into its log entry."""
        try:
            return self._answer(request, operation, entry)
        except S3Error as error:
            return error_response(error)

    def _answer(self, request: Request, operation: str, entry: dict[str, Any]) -> Response:
        state = self.state
        host = request.headers.get("host", "")
        jurisdiction = jurisdiction_of(host)
        keyring = Keyring(state, host, request.address)
        claimed = verify(request, keyring.secret_of, state.now(), state.settings.max_skew)
        identity = keyring.identity
        assert identity
        entry["key_id"] = identity.key_id
        missing = missing_feature(request, operation)
        if missing:
            raise missing
        open_body(request, claimed)
        bucket_name, key = split_path(request.path)
        # What a listing reaches is what it lists.
        reached = request.query.get("prefix", "") if operation.startswith("ListObjects") else key
        self._check_rights(identity, operation, jurisdiction, bucket_name, reached)
        if request.in_flight:
            request.in_flight()
            if request.judged_again:
                keyring.secret_of(claimed)
        with state.lock:
            if operation == "ListBuckets":
                return state.objects.answer(jurisdiction, request, "")
            if operation == "CreateBucket":
                return self._create_bucket(request, jurisdiction, bucket_name)
            bucket = state.buckets.get((jurisdiction, bucket_name))
            if bucket is None:
                raise S3Error("NoSuchBucket")
            handler = self.special.get(operation)
            return handler(request, bucket, key, identity) if handler else self._pass(request, bucket, key)

    def _check_rights(self, identity: Identity, operation: str, jurisdiction: str, bucket: str, key: str) -> None:
        right, on_account = right_for(operation)
        if on_account and identity.narrowed is None:
            allowed = identity.may(self.state, right, jurisdiction, None)
        else:
            allowed = identity.may(self.state, right, jurisdiction, bucket)
        if operation != "DeleteObjects":
            allowed = allowed and identity.may_operate(operation, key)
        if not allowed:
            raise S3Error("AccessDenied")

    def _pass(self, request: Request, bucket: Bucket, key: str) -> Response:
        return self.state.objects.answer(bucket.jurisdiction, request, key)

    def _refuse_if_held(self, bucket: Bucket, key: str) -> None:
        if self.state.held(bucket, key):
            raise S3Error("ObjectLockedByBucketPolicy", status=self.state.settings.refusal_status)

    def _create_bucket(self, request: Request, jurisdiction: str, name: str) -> Response:
        if (jurisdiction, name) in self.state.buckets:
            raise S3Error("BucketAlreadyOwnedByYou", "The bucket you tried to create already exists, and you own it.")
        location = "ENAM"
        if request.body:
            found = ElementTree.fromstring(request.body).find("{*}LocationConstraint")
            location = found.text or location if found is not None and found.text != "auto" else location
        self.state.create_bucket(name, jurisdiction, location)
        return Response(200, {"location": f"/{name}"})

    def _delete_bucket(self, request: Request, bucket: Bucket, key: str, identity: Identity) -> Response:
        if not self.state.delete_bucket(bucket):
            raise S3Error("BucketNotEmpty")
        return Response(204)

    def _list_objects(self, request: Request, bucket: Bucket, key: str, identity: Identity) -> Response:
        return xml_response(listing.list_objects(self.state.objects.backend(bucket.jurisdiction), bucket.name, request))

    def _list_uploads(self, request: Request, bucket: Bucket, key: str, identity: Identity) -> Response:
        found = self.state.objects.uploads(bucket.jurisdiction, bucket.name).values()
        return xml_response(listing.list_uploads(found, bucket.name, request))

    def _get_lifecycle(self, request: Request, bucket: Bucket, key: str, identity: Identity) -> Response:
        if not bucket.lifecycle:
            raise S3Error("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist.")
        return xml_response(lifecycle.to_xml(bucket.lifecycle))

    def _put_lifecycle(self, request: Request, bucket: Bucket, key: str, identity: Identity) -> Response:
        bucket.lifecycle = lifecycle.from_xml(request.body)
        self.state.save_bucket(bucket)
        return Response(200)

    def _delete_lifecycle(self, request: Request, bucket: Bucket, key: str, identity: Identity) -> Response:
        bucket.lifecycle = []
        self.state.save_bucket(bucket)
        return Response(204)

    def _delete_object(self, request: Request, bucket: Bucket, key: str, identity: Identity) -> Response:
        self._refuse_if_held(bucket, key)
        self._destroy(bucket, key, "DeleteObject", identity)
        return Response(204)

    def _destroy(self, bucket: Bucket, key: str, operation: str, identity: Identity) -> None:
        if self.state.objects.find(bucket.jurisdiction, bucket.name, key) is not None:
            self.state.delete_object(bucket, key)
            self.state.record_destruction(bucket, key, operation, identity.key_id)

    def _delete_objects(self, request: Request, bucket: Bucket, key: str, identity: Identity) -> Response:
        try:
            document = ElementTree.fromstring(request.body)
        except ElementTree.ParseError:
            raise S3Error("MalformedXML") from None
        names = [found.text or "" for found in document.findall("{*}Object/{*}Key")]
        if not 1 <= len(names) <= 1000:
            raise S3Error("MalformedXML")
        if self.state.settings.multi_delete_refusal == "request":
            for name in names:
                self._refuse_if_held(bucket, name)
        quiet = document.findtext("{*}Quiet", "false") == "true"
        lines = [self._delete_one(bucket, name, identity, quiet) for name in names]
        return xml_response(f"<DeleteResult>{''.join(lines)}</DeleteResult>")

    def _delete_one(self, bucket: Bucket, key: str, identity: Identity, quiet: bool) -> str:
        try:
            if not identity.may_operate("DeleteObjects", key):
                raise S3Error("AccessDenied")
            self._refuse_if_held(bucket, key)
        except S3Error as error:
            text = f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
            return f"<Error><Key>{escape(key)}</Key>{text}</Error>"
        self._destroy(bucket, key, "DeleteObjects", identity)
        return "" if quiet else f"<Deleted><Key>{escape(key)}</Key></Deleted>"

    def _write_object(
        self,
        request: Request,
        bucket: Bucket,
        key: str,
        identity: Identity,
        operation: str = "PutObject",
        prefix: str = "",
    ) -> Response:
        found = self.state.objects.find(bucket.jurisdiction, bucket.name, key)
        if not self.state.settings.conditions_first:
            self._refuse_if_held(bucket, key)
        check_conditions(request, found, self.state.settings.missing_key_if_match, prefix)
        if operation == "CopyObject":
            self._check_source_conditions(request, bucket)
        self._refuse_if_held(bucket, key)
        if self.state.written_just_now(bucket, key):
            raise S3Error("TooManyRequests")
        response = self._pass(request, bucket, key)
        if response.status == 200:
            self._stored(bucket, key, found is not None, operation, identity)
        return response

    def _stored(self, bucket: Bucket, key: str, existed: bool, operation: str, identity: Identity) -> None:
        self.state.stored(bucket, key)
        if existed:
            self.state.record_destruction(bucket, key, operation, identity.key_id)

    def _check_source(self, request: Request, bucket: Bucket, identity: Identity) -> None:
        source, source_key = split_path(unquote(request.headers["x-amz-copy-source"].partition("?")[0]))
        reading = identity.may(self.state, ITEM_READ, bucket.jurisdiction, source)
        if not reading or not identity.may_operate("CopyObject", source_key):
            raise S3Error("AccessDenied")
        if (bucket.jurisdiction, source) not in self.state.buckets:
            raise S3Error("NoSuchBucket")

    def _check_source_conditions(self, request: Request, bucket: Bucket) -> None:
        source, key = split_path(unquote(request.headers["x-amz-copy-source"].partition("?")[0]))
        found = self.state.objects.find(bucket.jurisdiction, source, key)
        check_conditions(request, found, 404, "x-amz-copy-source-")

    def _copy_object(self, request: Request, bucket: Bucket, key: str, identity: Identity) -> Response:
        self._check_source(request, bucket, identity)
        return self._write_object(request, bucket, key, identity, "CopyObject", "cf-copy-destination-")

    def _create_upload(self, request: Request, bucket: Bucket, key: str, identity: Identity) -> Response:
        if self.state.settings.create_upload_refused:
            self._refuse_if_held(bucket, key)
        response = self._pass(request, bucket, key)
        if response.status == 200:
            # The answer repeats the key, with which it may be no XML.
            found = re.search(rb"<UploadId>([^<]*)</UploadId>", response.body)
            upload = self._upload(found[1].decode() if found else "", bucket, key)
            self.state.storage.write_upload(bucket.jurisdiction, bucket.name, upload)
        return response

    def _upload(self, upload_id: str, bucket: Bucket, key: str) -> FakeMultipart:
        upload = self.state.objects.uploads(bucket.jurisdiction, bucket.name).get(upload_id)
        if upload is None or upload.key_name != key:
            raise S3Error("NoSuchUpload")
        return upload

    def _upload_part(self, request: Request, bucket: Bucket, key: str, identity: Identity) -> Response:
        upload = self._upload(request.query["uploadId"], bucket, key)
        if "x-amz-copy-source" in request.headers:
            self._check_source(request, bucket, identity)
        response = self._pass(request, bucket, key)
        if response.status == 200:
            number = int(request.query["partNumber"])
            self.state.storage.write_upload(bucket.jurisdiction, bucket.name, upload, number)
        return response

    def _complete_upload(self, request: Request, bucket: Bucket, key: str, identity: Identity) -> Response:
        upload = self._upload(request.query["uploadId"], bucket, key)
        sizes = [part.contentsize for _number, part in sorted(upload.parts.items())]
        if len(set(sizes[:-1])) > 1 or (sizes and sizes[-1] > sizes[0]):
            raise S3Error("InvalidPart", "All non-trailing parts must have the same length.")
        response = self._write_object(request, bucket, key, identity, "CompleteMultipartUpload")
        if response.status == 200:
            self.state.storage.drop_upload(bucket.jurisdiction, bucket.name, upload.id)
        return response

    def _abort_upload(self, request: Request, bucket: Bucket, key: str, identity: Identity) -> Response:
        upload = self._upload(request.query["uploadId"], bucket, key)
        self._refuse_if_held(bucket, key)
        self.state.storage.drop_upload(bucket.jurisdiction, bucket.name, upload.id)
        return self._pass(request, bucket, key)
