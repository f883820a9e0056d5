# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a repository, also when another process makes one at the same moment.

`restic init` looks whether there is a config object and writes its own, without a condition: of two that run at once, both
succeed, and neither key fits the config that is left. Under the lock that cannot be mended. So restic makes the repository in a
folder, and its config is stored by a request that only works while there is none. The process that stores it first has
the repository; the other one has written nothing.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from .._common.errors import HoldfastError
from .._r2.s3 import S3, S3Error
from .._restic.cli import Restic

# A key derivation, which restic fits to the machine, and a handful of folders.
_MAKING = 300.0


class RepositoryError(HoldfastError):
    """The repository is not as it should be."""


def initialise(restic: Restic, s3: S3) -> None:
    """Make the repository, and bring its config and then its key into the bucket.

    Raises:
        RepositoryError: Another process was first, or only the config could be stored.
        HoldfastError: It could not be made; nothing is in the bucket.
    """
    repository = restic.repository
    config, key, content = _made(restic)
    if not _stored_first(s3, f"{repository.prefix}config", config):
        raise RepositoryError(
            f"Repository {repository.name} was made by another run at this moment, and nothing of this one is in it. Find out "
            "which host or playbook has the same bucket and prefix; if it is one of yours, run this again."
        )
    try:
        _stored_first(s3, f"{repository.prefix}keys/{key}", content)
    except S3Error as error:
        raise half_made(repository.name, repository.prefix) from error


def half_made(name: str, prefix: str) -> RepositoryError:
    """The error for a config without keys. Nothing can have been backed up with it, for only a key opens it."""
    return RepositoryError(
        f"Repository {name} was only half made: it has a config and no key. If another run makes it at this moment, run this "
        f"again when that has ended; if not, delete {prefix}config (while no lock rule holds it) and run this again."
    )


def _made(restic: Restic) -> tuple[bytes, str, bytes]:
    """The config, the id of the key and the key of a new repository."""
    try:
        with tempfile.TemporaryDirectory(prefix="holdfast-init-", ignore_cleanup_errors=True) as name:
            folder = Path(name, "repository")
            restic.through(str(folder)).succeed(["init", "--no-cache"], timeout=_MAKING)
            (key,) = (folder / "keys").iterdir()
            return (folder / "config").read_bytes(), key.name, key.read_bytes()
    except (OSError, ValueError) as error:
        raise HoldfastError(
            f"Repository {restic.repository.name} could not be made in a temporary folder ({error}); nothing is in the bucket."
        ) from error


def _stored_first(s3: S3, key: str, content: bytes) -> bool:
    """Whether the object there is ours. After a lost answer, the next try finds our own."""
    try:
        if s3.put_if(key, content) is not None:
            return True
    except S3Error as error:
        # Two writes within a second; or a rule that holds the object, which is looked at before the condition.
        if not (error.too_often or error.locked):
            raise
    return s3.get(key) == content
