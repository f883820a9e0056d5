# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""API tokens, the S3 keys derived from them, and what each may do."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
import string
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from tests.stand_in.locks import parse_instant

ACCOUNT_READ, ACCOUNT_WRITE, ITEM_READ, ITEM_WRITE = "account-read", "account-write", "read", "write"
TOKENS_WRITE, USER_TOKENS_WRITE = "account-tokens", "user-tokens"

# The four of R2 have the ids that Cloudflare publishes; those of the others are made up, clients go by the name.
PERMISSION_GROUPS = {
    "bf7481a1826f439697cb59a20b22293e": ("Workers R2 Storage Write", "com.cloudflare.api.account", ACCOUNT_WRITE),
    "b4992e1108244f5d8bfbd5744320c2e1": ("Workers R2 Storage Read", "com.cloudflare.api.account", ACCOUNT_READ),
    "2efd5506f9c8494dacb1fa10a3e7d5b6": (
        "Workers R2 Storage Bucket Item Write",
        "com.cloudflare.edge.r2.bucket",
        ITEM_WRITE,
    ),
    "6a018a9f2fc74eb6b293b0c548f38b39": (
        "Workers R2 Storage Bucket Item Read",
        "com.cloudflare.edge.r2.bucket",
        ITEM_READ,
    ),
    "0" * 31 + "1": ("Account API Tokens Write", "com.cloudflare.api.account", TOKENS_WRITE),
    "0" * 31 + "2": ("API Tokens Write", "com.cloudflare.api.user", USER_TOKENS_WRITE),
}
# What a right includes besides itself.
INCLUDED = {
    ACCOUNT_WRITE: {ACCOUNT_WRITE, ACCOUNT_READ, ITEM_WRITE, ITEM_READ},
    ACCOUNT_READ: {ACCOUNT_READ, ITEM_READ},
    ITEM_WRITE: {ITEM_WRITE, ITEM_READ},
    ITEM_READ: {ITEM_READ},
    TOKENS_WRITE: {TOKENS_WRITE},
    USER_TOKENS_WRITE: {USER_TOKENS_WRITE},
}
BUCKET_RESOURCE = re.compile(
    r"com\.cloudflare\.edge\.r2\.bucket\.(?P<account>[0-9a-z]+)_(?P<jurisdiction>[a-z]+)_(?P<bucket>.+)"
)


def new_value() -> str:
    """The secret part of a token, in the form that account tokens have."""
    return "cfat_" + "".join(secrets.choice(string.ascii_letters + string.digits) for _each in range(48))


@dataclass
class Token:
    """One API token."""

    id: str
    name: str
    value: str
    policies: list[dict[str, Any]]
    owner: str = "account"
    status: str = "active"
    not_before: Optional[str] = None
    expires_on: Optional[str] = None
    condition: Optional[dict[str, Any]] = None
    dates: dict[str, str] = field(default_factory=dict)

    @property
    def secret_access_key(self) -> str:
        """The S3 secret that goes with it."""
        return hashlib.sha256(self.value.encode()).hexdigest()

    def state(self, now: float) -> str:
        """active, disabled or expired."""
        if self.expires_on and parse_instant(self.expires_on) <= now:
            return "expired"
        return self.status

    def usable(self, now: float) -> bool:
        """Whether requests with it are accepted."""
        begun = not self.not_before or parse_instant(self.not_before) <= now
        return begun and self.state(now) == "active"

    def works_from(self, address: str) -> bool:
        """Whether requests with it are accepted from this address."""
        networks = (self.condition or {}).get("request_ip") or {}
        allowed, denied = networks.get("in") or [], networks.get("not_in") or []
        return (not allowed or _within(address, allowed)) and not _within(address, denied)

    def to_json(self) -> dict[str, Any]:
        """As it is written to disk."""
        return asdict(self)

    def shown(self, now: float) -> dict[str, Any]:
        """As the API shows it: without the value."""
        data = {name: value for name, value in asdict(self).items() if value is not None}
        for name in ("value", "owner", "dates"):
            del data[name]
        return {**data, **self.dates, "status": self.state(now)}

    def allows(self, right: str, account_id: str, jurisdiction: str = "default", bucket: Optional[str] = None) -> bool:
        """Whether its policies give a right, on the account or on one bucket."""
        verdict = False
        for policy in self.policies:
            if not any(right in _rights(group) for group in policy["permission_groups"]):
                continue
            if any(
                _covers(right, name, value, account_id, jurisdiction, bucket)
                for name, value in policy["resources"].items()
            ):
                if policy.get("effect", "allow") == "deny":
                    return False
                verdict = True
        return verdict


def _within(address: str, networks: list[str]) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in networks)


def _rights(group: dict[str, Any]) -> set[str]:
    known = PERMISSION_GROUPS.get(group.get("id", ""))
    return INCLUDED[known[2]] if known else set()


def _covers(right: str, name: str, value: Any, account_id: str, jurisdiction: str, bucket: Optional[str]) -> bool:
    if name == f"com.cloudflare.api.account.{account_id}":
        if isinstance(value, dict):  # {"com.cloudflare.edge.r2.bucket.*": "*"}: every bucket, not the account
            return bucket is not None and "com.cloudflare.edge.r2.bucket.*" in value
        return bool(value == "*") and right != USER_TOKENS_WRITE
    if name.startswith("com.cloudflare.api.user."):
        return bucket is None and right == USER_TOKENS_WRITE
    match = BUCKET_RESOURCE.fullmatch(name)
    return bool(
        match
        and bucket
        and (match["account"], match["jurisdiction"], match["bucket"]) == (account_id, jurisdiction, bucket)
    )


def policies_for(
    account_id: str, bucket: Optional[str], write: bool, jurisdiction: str = "default"
) -> list[dict[str, Any]]:
    """The policies of a token for one bucket's objects, or for R2 as a whole."""
    kind = (ITEM_WRITE if write else ITEM_READ) if bucket else (ACCOUNT_WRITE if write else ACCOUNT_READ)
    group = next(group_id for group_id, entry in PERMISSION_GROUPS.items() if entry[2] == kind)
    resource = f"com.cloudflare.api.account.{account_id}"
    if bucket:
        resource = f"com.cloudflare.edge.r2.bucket.{account_id}_{jurisdiction}_{bucket}"
    return [
        {
            "id": secrets.token_hex(16),
            "effect": "allow",
            "resources": {resource: "*"},
            "permission_groups": [{"id": group}],
        }
    ]
