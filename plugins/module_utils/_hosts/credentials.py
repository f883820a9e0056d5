# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the secrets of a managed host as files that systemd hands to a service; runs on the host.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

from .._common.errors import HoldfastError

SUFFIX = ".cred"


class CredentialsError(HoldfastError):
    """A credential could not be read, encrypted or written."""


def can_encrypt() -> bool:
    """Whether this host runs systemd and its tool for credentials."""
    return os.path.isdir("/run/systemd/system") and shutil.which("systemd-creds") is not None


def _systemd_creds(verb: str, name: str, content: bytes) -> subprocess.CompletedProcess[bytes]:
    """Encrypt or decrypt; the content goes through pipes only."""
    command = ["systemd-creds", verb, f"--name={name}", "-", "-"]
    try:
        return subprocess.run(command, input=content, capture_output=True, check=False)
    except OSError as error:
        raise CredentialsError(f"systemd-creds does not run: {error}. Set encrypt to never on this host.") from error


@dataclass(frozen=True)
class Credential:
    """One secret below a folder, as a plain file or encrypted for this host."""

    folder: str
    name: str
    encrypted: bool

    @property
    def path(self) -> str:
        """The file that systemd reads."""
        return os.path.join(self.folder, self.name + (SUFFIX if self.encrypted else ""))

    @property
    def other_path(self) -> str:
        """The file of the other form, which must not stay behind."""
        return os.path.join(self.folder, self.name + ("" if self.encrypted else SUFFIX))

    @property
    def partial_path(self) -> str:
        """The file while it is written. It has one name, so that what a kill has left behind is found."""
        return os.path.join(self.folder, f".{self.name}.partial")

    def read(self) -> bytes | None:
        """The secret; nothing when there is no file, or it was encrypted for another host."""
        try:
            with open(self.path, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CredentialsError(f"{self.path} cannot be read: {error.strerror}.") from error
        if not self.encrypted:
            return content
        done = _systemd_creds("decrypt", self.name, content)
        return done.stdout if done.returncode == 0 else None

    def write(self, secret: bytes) -> None:
        """Replace the file in one step."""
        if self.encrypted:
            done = _systemd_creds("encrypt", self.name, secret)
            if done.returncode != 0:
                reason = done.stderr.decode(errors="replace").strip()
                raise CredentialsError(
                    f"systemd-creds cannot encrypt {self.name}: {reason}. Set encrypt to never on this host."
                )
            secret = done.stdout
        try:
            self.discard()
            descriptor = os.open(self.partial_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secret)
                file.flush()
                os.fsync(descriptor)
            os.replace(self.partial_path, self.path)
        except OSError as error:
            self.discard()
            raise CredentialsError(f"{self.path} cannot be written: {error.strerror}.") from error

    def discard(self) -> bool:
        """Remove what an unfinished write has left; whether there was something."""
        try:
            os.unlink(self.partial_path)
        except FileNotFoundError:
            return False
        return True
