# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything the stand-in knows, and the one lock under which it changes."""

from __future__ import annotations

import copy
import datetime
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Optional

from tests.stand_in.locks import Locks
from tests.stand_in.objects import Objects, set_uploaded_at, uploaded_at
from tests.stand_in.settings import Settings
from tests.stand_in.storage import Storage
from tests.stand_in.tokens import PERMISSION_GROUPS, TOKENS_WRITE, USER_TOKENS_WRITE, Token, new_value, policies_for


def iso(instant: float, fraction: bool = False) -> str:
    """An instant as the API writes it."""
    stamp = datetime.datetime.fromtimestamp(instant, tz=datetime.timezone.utc)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" if fraction else stamp.strftime("%Y-%m-%dT%H:%M:%SZ")


def default_lifecycle() -> list[dict[str, Any]]:
    """The rules that a new bucket has."""
    abort = {"condition": {"type": "Age", "maxAge": 604800}}
    rule_id = "Default Multipart Abort Rule"
    return [{"id": rule_id, "enabled": True, "conditions": {"prefix": ""}, "abortMultipartUploadsTransition": abort}]


@dataclass
class Bucket:
    """One bucket, apart from its objects."""

    name: str
    jurisdiction: str
    creation_date: str
    location: str
    storage_class: str = "Standard"
    managed_domain: bool = False
    domain_id: str = field(default_factory=lambda: secrets.token_hex(16))
    lifecycle: list[dict[str, Any]] = field(default_factory=default_lifecycle)
    locks: Locks = field(default_factory=Locks)
    deleted: Optional[float] = None

    def to_json(self) -> dict[str, Any]:
        """As it is written to disk."""
        return {**vars(self), "locks": self.locks.to_json()}

    def shown(self) -> dict[str, Any]:
        """As the API shows it."""
        names = ("name", "creation_date", "location", "jurisdiction", "storage_class")
        return {name: getattr(self, name) for name in names}


@dataclass
class State:
    """Accounts, tokens, buckets and their objects; change it only while holding the lock."""

    account_id: str
    settings: Settings
    storage: Storage
    lock: threading.RLock = field(default_factory=threading.RLock)
    objects: Objects = field(default_factory=Objects)
    tokens: dict[str, Token] = field(default_factory=dict)
    # What S3 takes a token for, and until when; not kept on disk.
    lagging: dict[str, list[tuple[float, Optional[Token]]]] = field(default_factory=dict)
    buckets: dict[tuple[str, str], Bucket] = field(default_factory=dict)
    deleted_buckets: list[Bucket] = field(default_factory=list)
    locations: dict[str, str] = field(default_factory=dict)
    temporary: dict[str, dict[str, Any]] = field(default_factory=dict)
    destructive: list[dict[str, Any]] = field(default_factory=list)
    # When each key was last written, by a clock that nobody sets; not kept on disk.
    written: dict[tuple[str, str, str], float] = field(default_factory=dict)

    def now(self) -> float:
        """The server's time in seconds since the epoch."""
        return time.time() + self.settings.clock_offset

    def add_token(self, name: str, policies: list[dict[str, Any]], **more: Any) -> Token:
        """Make a token."""
        token = Token(
            id=more.pop("id", None) or secrets.token_hex(16),
            name=name,
            policies=policies,
            value=more.pop("value", None) or new_value(),
            **more,
        )
        stamp = iso(self.now())
        token.dates = {"issued_on": stamp, "modified_on": stamp}
        self.changing(token.id)
        self.tokens[token.id] = token
        return token

    def add_root_token(self, value: Optional[str]) -> Token:
        """Make the token that may do everything on the account."""
        group = next(key for key, entry in PERMISSION_GROUPS.items() if entry[2] == TOKENS_WRITE)
        policies = policies_for(self.account_id, None, True)
        policies[0]["permission_groups"].append({"id": group})
        group = next(key for key, entry in PERMISSION_GROUPS.items() if entry[2] == USER_TOKENS_WRITE)
        user = f"com.cloudflare.api.user.{secrets.token_hex(16)}"
        policies.append({"effect": "allow", "resources": {user: "*"}, "permission_groups": [{"id": group}]})
        return self.add_token("root", policies, value=value)

    def changing(self, token_id: str) -> None:
        """A token is about to be made, changed or removed: S3 takes a while to notice."""
        delay = self.settings.token_delay
        if delay:
            before = copy.copy(self.tokens.get(token_id))
            self.lagging.setdefault(token_id, []).append((self.now() + delay, before))

    def token_for_s3(self, token_id: str) -> Optional[Token]:
        """What S3 takes a token for right now."""
        now = self.now()
        return next(
            (token for until, token in self.lagging.get(token_id, ()) if now < until), self.tokens.get(token_id)
        )

    def token_by_value(self, value: str) -> Optional[Token]:
        """The token that a bearer shows."""
        return next((token for token in self.tokens.values() if secrets.compare_digest(token.value, value)), None)

    def create_bucket(self, name: str, jurisdiction: str, location: str, storage_class: str = "Standard") -> Bucket:
        """Make a bucket; a name that was used before keeps its first location."""
        location = self.locations.setdefault(name, location.upper())
        bucket = Bucket(name, jurisdiction, iso(self.now(), fraction=True), location, storage_class)
        self.objects.create_bucket(jurisdiction, name)
        self.buckets[jurisdiction, name] = bucket
        self.save_bucket(bucket)
        return bucket

    def delete_bucket(self, bucket: Bucket) -> bool:
        """Remove a bucket; False if it is not empty."""
        if not self.objects.delete_bucket(bucket.jurisdiction, bucket.name):
            return False
        del self.buckets[bucket.jurisdiction, bucket.name]
        self.storage.drop_bucket(bucket.jurisdiction, bucket.name)
        bucket.deleted = self.now()
        self.deleted_buckets.append(bucket)
        self.save_bucket(bucket)
        return True

    def held(self, bucket: Bucket, key: str) -> bool:
        """Whether the key exists and a lock rule keeps it from being changed."""
        found = self.objects.find(bucket.jurisdiction, bucket.name, key)
        return found is not None and bucket.locks.hold(key, uploaded_at(found), self.now())

    def written_just_now(self, bucket: Bucket, key: str) -> bool:
        """Whether the key, with or without an object, was written too short a time ago to be written again."""
        last = self.written.get((bucket.jurisdiction, bucket.name, key))
        return last is not None and time.monotonic() - last < self.settings.write_seconds

    def stored(self, bucket: Bucket, key: str) -> None:
        """An object was just written: stamp it with the server's time and keep it."""
        if self.settings.write_seconds:
            self.written[bucket.jurisdiction, bucket.name, key] = time.monotonic()
        found = self.objects.find(bucket.jurisdiction, bucket.name, key)
        if found is not None:
            set_uploaded_at(found, self.now())
        self.storage.write_object(bucket.jurisdiction, bucket.name, key, found)

    def delete_object(self, bucket: Bucket, key: str) -> None:
        """Remove an object for good."""
        self.objects.delete(bucket.jurisdiction, bucket.name, key)
        self.storage.write_object(bucket.jurisdiction, bucket.name, key, None)

    def record_destruction(self, bucket: Bucket, key: str, operation: str, key_id: str) -> None:
        """Note that a request changed or removed what was there before."""
        entry = {
            "time": self.now(),
            "bucket": bucket.name,
            "jurisdiction": bucket.jurisdiction,
            "key": key,
            "operation": operation,
            "key_id": key_id,
        }
        self.destructive.append(entry)
        self.storage.append_destruction(entry)

    def save(self) -> None:
        """Write down what belongs to the account."""
        tokens = [token.to_json() for token in self.tokens.values()]
        account = {"account_id": self.account_id, "tokens": tokens, "temporary": self.temporary}
        self.storage.write_json("account", account)

    def save_bucket(self, bucket: Bucket) -> None:
        """Write down a bucket, but for its objects."""
        # One that was deleted makes room for the next of its name; the ledger still tells of it.
        suffix = f"@{bucket.deleted}" if bucket.deleted else ""
        name = f"buckets/{bucket.jurisdiction}/{bucket.name}"
        self.storage.write_json(name + suffix, bucket.to_json())
        if suffix:
            self.storage.remove_json(name)

    def load(self) -> bool:
        """Read what an earlier process wrote down; False if there is nothing."""
        account = self.storage.read_json("account")
        if account is None:
            return False
        self.account_id, self.temporary = account["account_id"], account["temporary"]
        self.tokens = {entry["id"]: Token(**entry) for entry in account["tokens"]}
        for entry in self.storage.read_buckets():
            self._load_bucket(Bucket(**{**entry, "locks": Locks.from_json(entry["locks"])}))
        self.destructive = self.storage.read_destruction()
        return True

    def _load_bucket(self, bucket: Bucket) -> None:
        self.locations.setdefault(bucket.name, bucket.location)
        if bucket.deleted:
            self.deleted_buckets.append(bucket)
            return
        self.objects.create_bucket(bucket.jurisdiction, bucket.name)
        self.buckets[bucket.jurisdiction, bucket.name] = bucket
        backend = self.objects.backend(bucket.jurisdiction)
        self.storage.read_objects(backend, bucket.jurisdiction, bucket.name)
        self.storage.read_uploads(backend, bucket.jurisdiction, bucket.name)
