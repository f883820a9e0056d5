# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls R2 by its S3 API: listings, single objects, lifecycle rules, and the probe of a lock.

The import of boto3 is guarded: the keys and the endpoint are also needed where boto3 is not installed.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import hashlib
import os
import re
import traceback
from collections.abc import Iterator, Mapping
from datetime import timezone
from typing import Any, Protocol
from urllib.parse import unquote_plus

from .._common.network import with_clock
from .places import checked_jurisdiction, s3_address
from .prepared_deletes import await_turn
from .s3_transfers import Transfers, content_md5
from .s3_types import LOCKED_CODE, NOT_UNDERSTOOD, STRANGE, S3Error, S3Object

BOTO3_IMPORT_ERROR: str | None = None
try:
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
except ImportError:
    BOTO3_IMPORT_ERROR = traceback.format_exc()

# The first version with both If-Match on PutObject and the choice of when to send checksums.
BOTO3_MINIMUM = (1, 36, 0)

# Cannot be the ETag of any object: an ETag of a single upload is an MD5, this is one digit short.
IMPOSSIBLE_ETAG = '"0000000000000000000000000000000"'

# At a time: what a view of a repository is asked for by a restic or two.
_CONNECTIONS = 32

# The ways to probe.
PUT, COPY = "conditional_put", "conditional_copy"

_REFUSED_KEYS = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Unauthorized", "NotEntitled"}
)


# Lifecycle rules in the shape of the S3 API; an alias, for inside the class `list` is a method.
Rules = list[dict[str, Any]]


class TokenIdSource(Protocol):
    def token_id(self) -> str:
        """The id of the API token, which is the access key id of the key pair derived from it."""


def endpoint(params: Mapping[str, Any]) -> str:
    """The S3 endpoint that the parameters name, or the one that belongs to the account."""
    explicit = params.get("s3_endpoint")
    if explicit:
        # With a bucket behind the host, restic would work below another prefix than the one that is locked.
        if not re.fullmatch(r"https?://[^/\s@?#]+/*", explicit):
            raise S3Error(
                f"The s3_endpoint {explicit.rpartition('@')[2]!r} is not usable: it must be https:// (or http:// for "
                "tests) and a host, without a bucket or anything else behind it."
            )
        return explicit.rstrip("/")
    account = params.get("account_id")
    if not account:
        raise S3Error("Where the bucket is reached is unknown: set s3_endpoint or account_id.")
    if not re.fullmatch(r"[0-9a-f]{32}", account):
        raise S3Error(f"The account_id {account!r} is not a Cloudflare account id, which has 32 hexadecimal digits.")
    return s3_address(account, checked_jurisdiction(params.get("jurisdiction"), S3Error))


def key_pair(params: Mapping[str, Any], cloudflare: TokenIdSource | None = None) -> tuple[str, str, str | None]:
    """Access key id, secret and session token: as given, else derived from the API token."""
    key_id, secret, token = (params.get("access_key_id"), params.get("secret_access_key"), params.get("api_token"))
    if secret:
        if not key_id:
            raise S3Error("secret_access_key is set, but access_key_id is not; set both or neither.")
        session_token = params.get("session_token")
        _check_characters(access_key_id=key_id, secret_access_key=secret, session_token=session_token)
        return key_id, secret, session_token
    if not token:
        raise S3Error("There are no keys for the bucket: set access_key_id and secret_access_key, or api_token.")
    if not key_id:
        if cloudflare is None:
            raise S3Error("The access key id is unknown: set access_key_id to the id of the API token.")
        key_id = cloudflare.token_id()
    _check_characters(access_key_id=key_id)
    return key_id, hashlib.sha256(token.strip().encode()).hexdigest(), None


def _check_characters(**keys: str | None) -> None:
    """Keeps secrets out of the complaints that the HTTP library would make about them."""
    for name, value in keys.items():
        if value and not re.fullmatch(r"[\x21-\x7e]+", value):
            raise S3Error(f"{name} holds characters, such as spaces or line ends, that no key has.")


def boto3_problem() -> str | None:
    """Why boto3 cannot be used, in one sentence; None when it can."""
    needed = ".".join(map(str, BOTO3_MINIMUM))
    if BOTO3_IMPORT_ERROR is not None:
        return f"boto3 is not installed for the Python that runs this module; install boto3 {needed} or later."
    found = tuple(int(part) for part in re.findall(r"\d+", boto3.__version__)[:3])
    return f"boto3 {boto3.__version__} is too old; {needed} or later is needed." if found < BOTO3_MINIMUM else None


def boto3_version() -> str:
    return str(boto3.__version__)


def _keep_session() -> None:
    """Have a session that knows nothing of the node's own AWS configuration, which is for another service."""
    if boto3.DEFAULT_SESSION is None:
        nowhere = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
        own = botocore.session.Session(session_vars={"profile": (None, None, None, None), **nowhere})
        boto3.setup_default_session(botocore_session=own)


def _upload_keys(page: Mapping[str, Any]) -> Iterator[str]:
    """The keys of an answer: of uploads, botocore does not decode them, and a service may not have encoded them."""
    encoded = page.get("EncodingType") == "url"
    return (unquote_plus(item["Key"]) if encoded else item["Key"] for item in page.get("Uploads", []))


class S3(Transfers):
    """One bucket, through the S3 API.

    Args:
        endpoint: The URL of the S3 API.
        access_key_id: Access key id.
        secret: Secret access key.
        session_token: Session token of temporary credentials.
        bucket: The bucket.
        timeout: Seconds to wait for a connection and for each answer.
        attempts: How often botocore tries a request that failed in a way worth repeating.
    """

    def __init__(
        self,
        endpoint: str,
        access_key_id: str,
        secret: str,
        session_token: str | None = None,
        bucket: str = "",
        *,
        timeout: float = 30,
        attempts: int = 5,
    ) -> None:
        problem = boto3_problem()
        if problem:
            raise S3Error(problem)
        self.endpoint = endpoint
        self.bucket = bucket
        self.requests = 0
        config = Config(
            region_name="auto",
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=timeout,
            read_timeout=timeout,
            max_pool_connections=_CONNECTIONS,
            # R2 refuses checksum headers that newer SDKs send by default.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent_extra="holdfast.restic_r2",
        )
        try:
            _keep_session()
            # The session that boto3 keeps: what it reads of S3, a third of a second's work, does for every client.
            self.client = boto3.client(
                "s3",
                endpoint_url=endpoint,
                aws_access_key_id=access_key_id,
                aws_secret_access_key=secret,
                aws_session_token=session_token,
                config=config,
            )
            self.client.meta.events.register("before-call.s3.DeleteObjects", content_md5)
            self.client.meta.events.register("before-send.s3.DeleteObjects", await_turn)
        except (BotoCoreError, ValueError) as error:
            raise S3Error(f"The S3 client for {endpoint} cannot be made: {error}") from error

    def call(self, operation: str, *needed: str, **parameters: Any) -> dict[str, Any]:
        """Returns an answer that has the needed fields: a proxy's page of HTML would look like an empty bucket."""
        self.requests += 1
        try:
            answer: dict[str, Any] = getattr(self.client, operation)(Bucket=self.bucket, **parameters)
        except ClientError as error:
            raise self._answer(error, parameters.get("Key") or parameters.get("Prefix")) from error
        except BotoCoreError as error:
            key = f" for {parameters['Key']}" if "Key" in parameters else ""
            raise S3Error(
                f"Bucket {self.bucket} could not be reached at {self.endpoint}{key}: {with_clock(str(error))}"
            ) from error
        except (ResponseParserError, ValueError):
            answer = {}
            needed = (*needed, "ResponseMetadata")
        if any(name not in answer for name in needed):
            raise S3Error(
                f"{self.endpoint} answered {operation} on bucket {self.bucket} with something else than the S3 API "
                "does: check s3_endpoint, or the proxy in between.",
                code=STRANGE,
            )
        return answer

    def _answer(self, error: ClientError, what: str | None) -> S3Error:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(error.response.get("Error", {}).get("Code", ""))
        text = error.response.get("Error", {}).get("Message", "")
        where = f"bucket {self.bucket}" + (f", {what}" if what else "")
        if code == "NoSuchBucket":
            reason = (
                "there is no such bucket in this account and jurisdiction; run site first where that was never done"
            )
        elif code == "RequestTimeTooSkewed":
            reason = "the clock of this machine is wrong, so that its requests are refused: set it, for example with timedatectl"
        elif code in _REFUSED_KEYS or (status in (401, 403) and code != LOCKED_CODE):
            reason = f"the S3 keys are not accepted or may not do this ({code})"
        else:
            reason = f"{code}: {text}" if text else code
        return S3Error(
            f"{error.operation_name} on {where} failed with status {status}: {reason.rstrip('.')}.",
            code=code,
            status=status,
            text=text,
        )

    def iterate(self, prefix: str = "") -> Iterator[S3Object]:
        """Every object whose key begins with the prefix, in the order of the keys."""
        more: dict[str, str] | None = {}
        while more is not None:
            found, more = self._page(prefix, more)
            yield from found

    def few(self, prefix: str = "") -> tuple[S3Object, ...] | None:
        """Every object whose key begins with the prefix, as one answer tells it; None where that does not hold them all."""
        found, more = self._page(prefix, {})
        return found if more is None else None

    def _page(self, prefix: str, more: dict[str, str]) -> tuple[tuple[S3Object, ...], dict[str, str] | None]:
        page = self.call("list_objects_v2", "IsTruncated", Prefix=prefix, **more)
        found = tuple(
            S3Object(
                item["Key"],
                item["Size"],
                item["LastModified"].astimezone(timezone.utc),
                item.get("ETag", "").strip('"'),
            )
            for item in page.get("Contents", [])
        )
        return found, {"ContinuationToken": page["NextContinuationToken"]} if page["IsTruncated"] else None

    def list(self, prefix: str = "") -> list[S3Object]:
        return list(self.iterate(prefix))

    def first_key(self, prefix: str) -> str | None:
        """The first key below the prefix, or None."""
        found = self.call("list_objects_v2", "IsTruncated", Prefix=prefix, MaxKeys=1).get("Contents", [])
        return found[0]["Key"] if found else None

    def head(self, key: str) -> S3Object | None:
        """Size, ETag and time of an object, or None when there is none."""
        try:
            answer = self.call("head_object", "ContentLength", "LastModified", "ETag", Key=key)
        except S3Error as error:
            # The answer to HEAD has no body, so the bucket's absence looks the same.
            if error.status == 404 and error.code != "NoSuchBucket":
                return None
            raise
        return S3Object(
            key, answer["ContentLength"], answer["LastModified"].astimezone(timezone.utc), answer["ETag"].strip('"')
        )

    def get(self, key: str) -> bytes:
        answer = self.call("get_object", Key=key)
        try:
            return answer["Body"].read()
        except BotoCoreError as error:
            raise S3Error(f"Reading {key} from bucket {self.bucket} stopped halfway: {error}") from error

    def download(self, key: str, path: str | os.PathLike[str]) -> None:
        """Write an object into a file, a piece at a time."""
        answer = self.call("get_object", Key=key)
        try:
            with open(path, "wb") as stream:
                stream.writelines(answer["Body"].iter_chunks(1 << 20))
        except BotoCoreError as error:
            raise S3Error(f"Reading {key} from bucket {self.bucket} stopped halfway: {error}") from error

    def folders(self, prefix: str = "") -> Iterator[str]:
        """The names directly below the prefix: of objects, and of folders with a slash behind them."""
        more: dict[str, str] = {}
        while True:
            page = self.call("list_objects_v2", "IsTruncated", Prefix=prefix, Delimiter="/", **more)
            for kind, name in (("Contents", "Key"), ("CommonPrefixes", "Prefix")):
                for item in page.get(kind, []):
                    yield item[name][len(prefix) :]
            if not page["IsTruncated"]:
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def uploads(self, prefix: str = "") -> tuple[str, ...]:
        """The keys of unfinished multipart uploads below the prefix; the first thousand will do."""
        # Else a control character in a key makes the answer no XML.
        page = self.call("list_multipart_uploads", "IsTruncated", Prefix=prefix, EncodingType="url")
        return tuple(sorted({key for key in _upload_keys(page) if key.startswith(prefix)}))

    def delete(self, key: str) -> None:
        self.call("delete_object", Key=key)

    def put_if(self, key: str, body: bytes, *, etag: str | None = None) -> str | None:
        """Store an object if there is none, or with an ETag if it is still that one.

        Returns the new ETag, or None when the condition does not hold.
        """
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": f'"{etag}"'}
        try:
            answer = self.call("put_object", "ETag", Key=key, Body=body, **condition)
        except S3Error as error:
            if error.status == 412 or error.code in ("NoSuchKey", "ConditionalRequestConflict"):
                return None
            raise
        return str(answer["ETag"]).strip('"')

    def probe(self, key: str, *, present: bool = False, method: str = PUT) -> str:
        """Whether a lock is in force on an existing object: "locked", "open" or "missing". Changes nothing.

        The lock is looked at before the condition of a request, so one whose condition cannot hold is refused either by
        the lock or by its condition. Should R2 look at the condition first, a locked object is taken for open: that is
        told as a failure, and never the other way round.

        Args:
            key: The object.
            present: It is certain that the object exists, which spares the request that tells "open" from "missing".
            method: PUT, or COPY, which is also tried when the service does not know what to make of a conditional PUT.
        """
        try:
            return self._probe(key, present, method)
        except S3Error as error:
            if method == COPY or error.code not in NOT_UNDERSTOOD:
                raise
            try:
                return self._probe(key, present, COPY)
            except S3Error:
                raise error from None

    def _probe(self, key: str, present: bool, method: str) -> str:
        try:
            if method == COPY:
                # Without another directive, R2 may refuse a copy onto itself before it looks at anything else.
                source = {"CopySource": {"Bucket": self.bucket, "Key": key}, "CopySourceIfMatch": IMPOSSIBLE_ETAG}
                self.call("copy_object", Key=key, MetadataDirective="REPLACE", **source)
            else:
                self.call("put_object", Key=key, Body=b"", IfMatch=IMPOSSIBLE_ETAG)
        except S3Error as error:
            if error.locked and error.status in (403, 409):
                return "locked"
            if error.code == "NoSuchKey":
                return "missing"
            if error.status == 412:
                return "open" if present or self.head(key) else "missing"
            raise
        raise S3Error(
            f"The service at {self.endpoint} ignored the condition of a conditional request, which has replaced {key} in "
            f"bucket {self.bucket}; this service cannot be used."
        )

    def lifecycle_rules(self) -> Rules:
        try:
            return self.call("get_bucket_lifecycle_configuration").get("Rules", [])
        except S3Error as error:
            if error.code == "NoSuchLifecycleConfiguration":
                return []
            raise

    def replace_lifecycle_rules(self, rules: Rules) -> Rules:
        """Write the whole rule list and return the list that is there afterwards."""
        if rules:
            self.call("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": rules})
        else:
            self.call("delete_bucket_lifecycle")
        return self.lifecycle_rules()
