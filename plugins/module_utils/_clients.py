# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds clients from the parameters of a module.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

from ._common.errors import HoldfastError
from ._common.network import use
from ._common.record import folder, load
from ._locks.probe import LockProbe
from ._locks.rules import normalise_prefix
from ._locks.store import CloudflareLocks, cloudflare_client
from ._r2.places import checked_bucket, checked_jurisdiction
from ._r2.s3 import S3, S3Error, boto3_problem, endpoint, key_pair
from ._restic.cli import MINIMUM, Repository, Restic
from ._tokens.key_file import kept_pair

_ID = re.compile(r"[0-9a-f]{64}")


class Clients:
    """The clients of one module run, each made when first asked for. The S3 keys are looked up once.

    Args:
        params: The parameters of the module.
        hide: Told every secret that was derived, which Ansible itself does not know to hide from its output.
    """

    def __init__(self, params: Mapping[str, Any], hide: Callable[[str], Any] = lambda secret: None) -> None:
        use(params)
        checked_jurisdiction(params.get("jurisdiction"))
        self.params = params
        self._hide = hide

    @property
    def bucket(self) -> str:
        name = str(self.params["bucket"])
        return checked_bucket(name)

    @property
    def prefix(self) -> str:
        return normalise_prefix(self.params.get("prefix") or "")

    @property
    def name(self) -> str:
        """The repository, for a person: the bucket, and the prefix if there is one."""
        return f"{self.bucket}/{self.prefix}".rstrip("/")

    @cached_property
    def cloudflare(self) -> CloudflareLocks:
        return cloudflare_client(dict(self.params))

    @cached_property
    def keys(self) -> tuple[str, str, str | None]:
        """Access key id, secret and session token."""
        params = self.params
        derived = not params.get("secret_access_key") and params.get("api_token")
        pair = key_pair(params, self.cloudflare if derived and not params.get("access_key_id") else None)
        self._hide(pair[1])
        return pair

    @cached_property
    def s3(self) -> S3:
        return self.make_s3()

    @property
    def make_s3(self) -> Callable[..., S3]:
        """Makes an S3 client like `s3`, for a process or a thread of its own; takes more settings of S3."""
        return self.s3_with(self.keys)

    def s3_with(self, keys: tuple[str, str, str | None]) -> Callable[..., S3]:
        """Makes an S3 client of the bucket with other keys."""
        return partial(S3, endpoint(self.params), *keys, bucket=self.bucket)

    @property
    def make_cloudflare(self) -> Callable[..., CloudflareLocks]:
        """Makes a client like `cloudflare`, for a process of its own; takes more settings of the client."""
        return partial(cloudflare_client, dict(self.params))

    @cached_property
    def host_keys(self) -> tuple[str, str, str | None] | None:
        """The host's own keys, as given or as they are kept beside the record; None where they are not known here."""
        params = self.params
        if params.get("host_secret_access_key"):
            if not params.get("host_access_key_id"):
                raise S3Error(
                    "The host's secret access key is set, but its access key id is not: set both or neither (in the playbooks "
                    "holdfast_access_key_id and holdfast_secret_access_key)."
                )
            names = ("access_key_id", "secret_access_key", "session_token")
            return key_pair({name: params.get(f"host_{name}") for name in names})
        pair = kept_pair(params.get("record_dir"), self.bucket, self.prefix)
        if pair:
            self._hide(pair[1])
        return pair

    @property
    def lock_probe(self) -> LockProbe:
        """Asks R2 whether the locks are in force."""
        keys = self.host_keys
        host = self.s3_with(keys) if keys else None
        return LockProbe(self.prefix, lambda: self.s3, host)

    def restic(self, key_id: str | None = None) -> Restic:
        """restic for the repository.

        Args:
            key_id: The key to open it with when the parameters name none.
        """
        for name in ("key_id", "repository_id"):
            if self.params.get(name) and not _ID.fullmatch(self.params[name]):
                raise HoldfastError(f"The {name} {self.params[name]!r} is not a full id of 64 hexadecimal digits.")
        repository = Repository(
            endpoint(self.params),
            self.bucket,
            self.prefix,
            *self.keys,
            password=self.params["password"],
            key_id=self.params.get("key_id") or key_id,
        )
        return Restic(repository, path=self.params["restic_path"], cache_dir=self.params.get("cache_dir"))

    def open_repository(self) -> Restic:
        """restic for a repository that is there, can be opened, and has the expected id; both as recorded, where it is."""
        records = self.params.get("record_dir")
        record = load(folder(records, self.bucket, self.prefix)) if records else None
        restic = self.restic(record.key_id if record else None)
        restic.require(MINIMUM, "A repository in R2")
        if boto3_problem() is None:
            # says in a second what restic would try again and again, such as keys that are not accepted
            self.s3.first_key(f"{self.prefix}config")
        restic.open(self.params.get("repository_id") or (record.repository_id if record else None))
        return restic
