# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives jobs what they need of their host: settings, credentials, the lock of all who run restic, notes of what runs."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, Optional
from urllib.parse import urlsplit, urlunsplit

CREDENTIALS = ("s3", "password", "key_id", "heartbeat")
# These would win over the files.
FOREIGN = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "RESTIC_PASSWORD",
    "RESTIC_PASSWORD_COMMAND", "RESTIC_REPOSITORY_FILE", "RESTIC_HOST", "RESTIC_KEY_HINT",
)  # fmt: skip
# From linux/prctl.h and linux/capability.h.
_AMBIENT, _RAISE, _CLEAR_ALL, _DAC_READ_SEARCH = 47, 2, 4, 2


class Stop(Exception):
    """The end, with an exit status."""

    def __init__(self, message: str, status: int = 64) -> None:
        super().__init__(message)
        self.status = status


def say(message: str) -> None:
    print(f"holdfast-restic: {message}", file=sys.stderr, flush=True)


class Signals:
    """What asks this program to end. It ends at once and removes what it decrypted; while restic runs, it waits for restic."""

    def __init__(self) -> None:
        self.came = False
        self._waiting = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._come)

    def _come(self, number: int, _frame: Optional[FrameType]) -> None:
        self.came = True
        if not self._waiting:
            raise Stop("interrupted", 128 + number)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """restic gets the signal too and ends; what is left to do here is to tell how it ended."""
        self._waiting = True
        yield
        self._waiting = False


def settings(path: str) -> dict[str, Any]:
    """What the role wrote, handed over by systemd or read by root."""
    given = os.path.join(os.environ.get("CREDENTIALS_DIRECTORY", ""), "settings")
    path = given if os.path.isabs(given) and os.path.exists(given) else path
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        raise Stop(f"the settings cannot be read: {error}") from error
    return dict(found)


def job_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    for job in config["jobs"]:
        if job["name"] == name:
            return dict(job)
    raise Stop(f"there is no job {name!r} on this host")


def drop_rights() -> None:
    """Programs that are started from here may do no more than their user."""
    _ambient(_CLEAR_ALL)


@contextlib.contextmanager
def reading_every_file() -> Iterator[None]:
    """What is started inside has the capability that the unit of a job has: restic, and no other program."""
    _ambient(_RAISE, _DAC_READ_SEARCH)
    try:
        yield
    finally:
        drop_rights()


def _ambient(operation: int, capability: int = 0) -> None:
    """Change the ambient capabilities; without effect where this program has none."""
    ctypes.CDLL(None).prctl(_AMBIENT, *[ctypes.c_ulong(number) for number in (operation, capability, 0, 0)])


@contextlib.contextmanager
def credentials(config: dict[str, Any]) -> Iterator[str]:
    """A folder with the credentials, as systemd hands them over, or decrypted for root."""
    given = os.environ.get("CREDENTIALS_DIRECTORY", "")
    folder = os.environ.get("HOLDFAST_CREDENTIALS") or config["directory"]
    if given and os.path.exists(os.path.join(given, "s3")):
        yield given
    elif os.path.exists(os.path.join(folder, "s3.cred")):
        with tempfile.TemporaryDirectory(prefix="holdfast.", dir="/run") as private:
            for name in CREDENTIALS:
                command = ["systemd-creds", "decrypt", f"--name={name}", os.path.join(folder, f"{name}.cred"), "-"]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
                if done.returncode != 0:
                    raise Stop(f"the credential {name} in {folder} cannot be decrypted")
                write(os.path.join(private, name), done.stdout)
            yield private
    elif os.access(os.path.join(folder, "s3"), os.R_OK):
        yield folder
    else:
        raise Stop(f"only root can read the credentials in {folder}")


def write(path: str, content: bytes, mode: int = 0o600) -> None:
    """Write a file through no link."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(content)


def heartbeat_address(address: str, suffix: str) -> str:
    """The address that is told of a start, a success or a failure; nothing where there is none for it.

    The suffix belongs to the path, before a query. A query with status=up tells of a success, and of nothing else.
    """
    parts = urlsplit(address)
    up = "status=up" in parts.query.split("&")
    if not address or (up and suffix == "/start"):
        return ""
    if up and suffix:
        query = "&".join("status=down" if one == "status=up" else one for one in parts.query.split("&"))
        return urlunsplit(parts._replace(query=query))
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + suffix if suffix else parts.path))


def network(config: dict[str, Any]) -> dict[str, str]:
    """The way to the bucket and the heartbeat, as variables that restic and Python read; what is not set stays as it is."""
    found: dict[str, str] = {}
    if config["proxy"]:
        found.update(dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), config["proxy"]))
    if config["proxy"] or config["no_proxy"]:
        around = ",".join(("localhost", "127.0.0.1", "::1", *config["no_proxy"]))
        found.update(dict.fromkeys(("NO_PROXY", "no_proxy"), around))
    if config["ca_file"]:
        found.update(dict.fromkeys(("RESTIC_CACERT", "SSL_CERT_FILE"), config["ca_file"]))
    return found


def restic_environment(config: dict[str, Any], folder: str) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    with open(os.path.join(folder, "key_id"), encoding="utf-8") as file:
        key_id = file.read().strip()
    return {
        **environment,
        **network(config),
        **({"RESTIC_KEY_HINT": key_id} if key_id else {}),
        "RESTIC_REPOSITORY": config["repository"],
        "RESTIC_PASSWORD_FILE": os.path.join(folder, "password"),
        "RESTIC_CACHE_DIR": os.environ.get("CACHE_DIRECTORY") or config["cache"],
        "AWS_SHARED_CREDENTIALS_FILE": os.path.join(folder, "s3"),
        "AWS_DEFAULT_REGION": "auto",
    }


class Lock:
    """Shared by all jobs that run restic, exclusive for the job that removes stale locks.

    restic takes a lock of this host for stale when it may not signal the process that made it, as with another user's job.
    The file is in a folder that only root and the jobs may enter: a user who can open it could hold it for ever.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._wait = float(config["lock_wait"])
        folder = os.environ.get("CACHE_DIRECTORY") or config["jobs_cache"]
        if not os.path.isdir(folder):
            folder = config["cache"]
            os.makedirs(folder, mode=0o700, exist_ok=True)
        self._path = os.path.join(folder, "lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        self._file = os.open(self._path, flags, 0o600)
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise Stop(f"{self._path} is no file", 1)
        if os.geteuid() == 0:
            # Also when root comes first, jobs can open it.
            owner = os.stat(folder)
            os.fchown(self._file, owner.st_uid, owner.st_gid)

    def share(self) -> None:
        end = time.monotonic() + self._wait
        while not self._take(fcntl.LOCK_SH):
            if time.monotonic() > end:
                raise Stop(
                    f"something else has held {self._path} for {self._wait:g} seconds; see 'fuser {self._path}'", 1
                )
            time.sleep(0.1)

    def take_alone(self) -> bool:
        return self._take(fcntl.LOCK_EX)

    def _take(self, kind: int) -> bool:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def was_cut_off(config: dict[str, Any], job: str) -> bool:
    """Whether the run before this one left its note behind."""
    try:
        return note(config, job).partition("\n")[2] == "again"
    except OSError:
        return False


def note(config: dict[str, Any], job: str) -> str:
    """What the note of a job says: the boot in which it began, and whether there was one already."""
    descriptor = os.open(os.path.join(config["notes"], job), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return file.read(100).decode(errors="replace")


def begin(config: dict[str, Any], name: str) -> int:
    if not os.path.isdir(config["notes"]):
        os.makedirs(config["notes"])
        os.chmod(config["notes"], 0o755)
    path = os.path.join(config["notes"], job_of(config, name)["name"])
    again = "again" if os.path.lexists(path) else ""
    write(path, f"{os.environ.get('HOLDFAST_BOOT', '')}\n{again}".encode())
    # Jobs read it; who else does learns nothing.
    os.chmod(path, 0o644)
    return 0


def end(config: dict[str, Any], name: str, status: Optional[str] = None) -> int:
    if (status or os.environ.get("EXIT_STATUS")) in ("0", "3"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(config["notes"], job_of(config, name)["name"]))
    return 0
