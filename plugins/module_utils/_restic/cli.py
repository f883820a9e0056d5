# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs restic on one repository in R2: environment, JSON, exit codes, errors in one sentence.

Also runs on backed-up hosts: Python 3.9 and the standard library only.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from typing import Any

from .._common.errors import HoldfastError
from .._common.network import PROXIES, with_clock
from .._common.process_signals import dies_with_parent, signals_wait
from .answers import LOCKED, NO_REPOSITORY, WRONG_PASSWORD, Completed, failure, reason, short
from .process import (
    LARGEST_ANSWER,
    ONE_OBJECT,
    SOME_OBJECTS,
    TooLong,
    collector_limit,
    half_of_memory,
    hear,
    limit_memory,
    memory_for,
    out_of_memory,
    stop,
)
from .repository import Repository

# The first that makes and reads repositories of format 2, which can compress.
MINIMUM = (0, 14, 0)

# The first whose forget does not take a refused delete for a success, and which reaches a view.
MAINTENANCE_MINIMUM = (0, 19, 0)

# What restic may inherit. Everything else would change what it does (RESTIC_*, AWS_*) or is a secret of the node.
_INHERITED = (
    "PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "RESTIC_CACERT",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip

# How restic check ends when the repository is not sound.
_DAMAGED = "repository contains errors"

# What a list of snapshots may have, in bytes: some 30,000 of them. And one of them: paths, tags, a summary.
LARGEST_LIST = 32 << 20
LARGEST_SNAPSHOT = 256 << 10

# How long opening a repository may take: a handful of requests and one key derivation.
_OPENING = 60.0
# How long a command may take that reads little, where nothing else is said: restic itself tries again for a quarter of an hour.
# What reads data takes as long as there is data; its module or its playbook bounds it.
SECONDS = {"version": 60.0, "cat": 1800.0, "key": 1800.0, "list": 3600.0, "snapshots": 3600.0}


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"


class ResticError(HoldfastError):
    """restic is missing, failed, or answered what cannot be understood.

    Args:
        message: The sentence.
        exit_code: restic's exit status, None when it did not run to its end.
    """

    def __init__(self, message: str, *, exit_code: int | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.exit_code = exit_code


class TooLargeError(ResticError):
    """An object needs more memory, or makes a longer answer, than anything that restic writes."""


class Restic:
    """The restic program, for one repository.

    Args:
        repository: The repository.
        path: The program, a name on the search path or a full path.
        cache_dir: The folder of restic's cache; restic's own default when None.
    """

    def __init__(self, repository: Repository, *, path: str = "restic", cache_dir: str | None = None) -> None:
        self.repository = repository
        self.path = path
        self.cache_dir = cache_dir
        self._version: tuple[int, ...] | None = None

    def through(self, view: str) -> Restic:
        """The same program, on what a view shows of the repository."""
        return Restic(self.repository.through(view), path=self.path, cache_dir=self.cache_dir)

    def opened_by(self, key_id: str, password: str) -> Restic:
        """The same program, which opens the repository by another key."""
        return Restic(self.repository.opened_by(key_id, password), path=self.path, cache_dir=self.cache_dir)

    def environment(self) -> dict[str, str]:
        """The environment of restic, built from scratch. All secrets travel in it, none in the arguments."""
        repository = self.repository
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment.update(RESTIC_REPOSITORY=repository.address, RESTIC_PASSWORD=repository.password)
        if repository.view:
            # A socket of this machine's.
            environment = {name: value for name, value in environment.items() if name not in PROXIES}
        else:
            environment.update(
                AWS_ACCESS_KEY_ID=repository.access_key_id,
                AWS_SECRET_ACCESS_KEY=repository.secret_access_key,
                AWS_DEFAULT_REGION="auto",
            )
        optional = {
            "AWS_SESSION_TOKEN": repository.session_token,
            "RESTIC_KEY_HINT": repository.key_id,
            "RESTIC_CACHE_DIR": self.cache_dir,
        }
        environment.update({name: value for name, value in optional.items() if value})
        return environment

    def program(self) -> str:
        """The full path of restic."""
        found = shutil.which(self.path)
        if found is None:
            raise ResticError(
                f"restic was not found as {self.path!r} on the machine that runs this module: install restic there, or set "
                "restic_path (holdfast_restic_path for the maintenance node)."
            )
        return found

    def start(self, args: Iterable[str], **popen: Any) -> subprocess.Popen[str]:
        """Start restic and return at once; the caller reads its output and waits for its end."""
        settings: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "encoding": "utf-8",
            "errors": "replace",
            "env": self.environment(),
        }
        process: subprocess.Popen[str] | None = None
        try:
            # A preexec_fn makes it a fork of Python, which would swallow what a signal raises.
            with signals_wait():
                process = subprocess.Popen([self.program(), *args], **{**settings, **popen})
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise ResticError(self.repository.scrub(f"restic ({self.path}) could not be started: {error}")) from error
        except BaseException:
            if process is not None:
                stop(process, grace=0.0)
            raise
        return process

    def run(
        self,
        args: Iterable[str],
        *,
        timeout: float | None = None,
        memory: int = 0,
        most: int = LARGEST_ANSWER,
        take: Callable[[str, str], None] | None = None,
        **popen: Any,
    ) -> Completed:
        """Run restic to its end. On a time-out it is asked to stop, so that it can remove its lock object.

        Args:
            args: The command and its arguments.
            timeout: Seconds that it may take; for commands that read little there is a limit without it, too.
            memory: Bytes of memory that it may use; 0 for any number.
            most: Bytes that it may answer.
            take: Gets each line of its answer as it comes; see hear().
            popen: More for the start of the process.

        Raises:
            TooLargeError: It needed more memory, or answered more.
            ResticError: It could not be run, or took too long.
        """
        args = list(args)
        timeout = SECONDS.get(args[0]) if timeout is None else timeout
        if memory:
            popen["env"] = {**(popen.get("env") or self.environment()), "GOMEMLIMIT": collector_limit(memory)}
        process = self.start(args, **popen)
        try:
            if memory:
                limit_memory(process, memory)
            stdout, stderr = hear(process, timeout, most, take)
        except subprocess.TimeoutExpired as error:
            said = [(before or b"").decode("utf-8", "replace") for before in (error.output, error.stderr)]
            since = stop(process)
            last = self._reason(Completed(process.returncode, said[0] + since[0], said[1] + since[1]))
            raise ResticError(
                f"restic {args[0]} on {self.repository.name} had not ended after {timeout:g} seconds and was stopped: "
                f"{last}."
            ) from error
        except TooLong:
            stop(process, grace=0.0)
            raise self._too_large(args[0], f"answered more than {_size(most)}") from None
        except BaseException:
            stop(process)
            raise
        if process.returncode and out_of_memory(stderr):
            raise self._too_large(
                args[0], f"needed more than {memory >> 20} MiB of memory" if memory else "found no memory"
            )
        return Completed(process.returncode, stdout, stderr)

    def _too_large(self, command: str, what: str) -> TooLargeError:
        return TooLargeError(
            f"restic {command} on {self.repository.name} {what} and was ended: an object in the repository may be made to "
            "exhaust this machine."
        )

    def succeed(self, args: Iterable[str], **limits: Any) -> Completed:
        """Run restic, and raise unless it succeeded. `limits` are those of `run`."""
        args = list(args)
        completed = self.run(args, **limits)
        if completed.exit_code != 0:
            raise self.error(args[0], completed)
        return completed

    def error(self, command: str, completed: Completed) -> ResticError:
        """The sentence for a failed command."""
        name, code = self.repository.name, failure(completed)
        if code == NO_REPOSITORY:
            message = f"There is no repository in {name}: restic found no config object in it."
        elif code == LOCKED:
            message = f"Repository {name} is locked by another restic: {self._reason(completed)}. Run it again later."
        elif code == WRONG_PASSWORD:
            # What keeps restic from trying a key, such as too little memory beside others of its kind, has this end, too.
            message = (
                f"The password of repository {name} is wrong, or restic could not try the key, as when memory is short: it opens "
                "no key that restic tried. Where the password is right, run fewer at a time, or give them more memory."
            )
        else:
            message = f"restic {command} on {name} failed with exit status {code}: {self._reason(completed)}."
        return ResticError(message, exit_code=code)

    def _reason(self, completed: Completed) -> str:
        # restic repeats addresses and file names; scrubbed here, for a short password would spoil what is parsed
        return self.repository.scrub(with_clock(reason(completed)))

    def parse(self, command: str, text: str) -> Any:
        """The answer of a command that prints one JSON document."""
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ResticError(f"restic {command} on {self.repository.name} did not answer with JSON.") from error

    def version(self) -> tuple[int, ...]:
        if self._version is None:
            completed = self.run(["version"])
            found = re.search(r"^restic (\d+)\.(\d+)\.(\d+)", completed.stdout, re.MULTILINE)
            if not found:
                raise ResticError(f"The program {self.path!r} does not answer like restic when asked for its version.")
            self._version = tuple(int(part) for part in found.groups())
        return self._version

    def require(self, minimum: tuple[int, ...], why: str) -> None:
        """Refuse a restic that is too old.

        Args:
            minimum: The first version that will do.
            why: What needs it, as the subject of a sentence.
        """
        if self.version() < minimum:
            have, need = (".".join(map(str, version)) for version in (self.version(), minimum))
            raise ResticError(f"{why} needs restic {need} or later, but {self.path!r} is restic {have}.")

    def open(self, repository_id: str | None = None) -> str:
        """Open the repository and return its id; refuse one that has another id than expected.

        Comes first: restic itself would try for 15 minutes when the address is wrong or does not answer.
        """
        found = self.config()["id"]
        if repository_id and found != repository_id:
            raise ResticError(
                f"Repository {self.repository.name} has the id {found}, but {repository_id} is expected: another "
                "repository is in its place. Nothing was changed; find out who replaced it before anything else runs."
            )
        return found

    def list_snapshots(self, filters: Iterable[str] = ()) -> tuple[list[dict[str, Any]], list[str]]:
        """The snapshots that restic can read, and its errors about the others."""
        completed = self.succeed(["snapshots", "--json", "--no-lock", *filters], memory=SOME_OBJECTS, most=LARGEST_LIST)
        lines = [line.strip() for line in completed.stderr.splitlines()]
        ignored = [self.repository.scrub(short(line)) for line in lines if line.startswith("Ignoring")]
        return self.parse("snapshots", completed.stdout) or [], ignored

    def snapshots(self) -> list[dict[str, Any]]:
        """Every snapshot. Raises when there is one that restic cannot read, for restic itself only skips it."""
        found, ignored = self.list_snapshots()
        if ignored:
            raise ResticError(
                f"restic cannot read {len(ignored)} of the snapshot objects of repository {self.repository.name}, "
                f"the first: {ignored[0]}."
            )
        return found

    def snapshot_fits(self, name: str) -> bool:
        """Whether a snapshot has a length that those of restic have."""
        try:
            limit = memory_for(LARGEST_SNAPSHOT)
            self.run(["cat", "snapshot", name, "--no-lock"], memory=limit, most=LARGEST_SNAPSHOT)
        except TooLargeError:
            return False
        return True

    def config(self) -> dict[str, Any]:
        # Where no key is named, restic tries all that are there: a host chooses what opening one of its own costs.
        completed = self.succeed(["cat", "config", "--no-lock"], timeout=_OPENING, memory=ONE_OBJECT)
        config = self.parse("cat config", completed.stdout)
        if not isinstance(config, dict) or not re.fullmatch(r"[0-9a-f]{64}", str(config.get("id"))):
            raise ResticError(f"The config of repository {self.repository.name} holds no repository id.")
        return config

    def key_ids(self) -> list[str]:
        """The full ids of all keys, sorted."""
        return sorted(self._list("keys"))

    def index_ids(self) -> list[str]:
        """The full ids of all index files, sorted."""
        return sorted(self._list("index"))

    def _list(self, kind: str) -> list[str]:
        completed = self.succeed(["list", kind, "--no-lock"])
        return re.findall(r"^[0-9a-f]{64}$", completed.stdout, re.MULTILINE)

    def current_key_id(self) -> str:
        """The full id of the key that the password opens."""
        keys = self.parse("key list", self.succeed(["key", "list", "--json", "--no-lock"]).stdout)
        # restic before 0.17 shortens the ids here
        short = [key["id"] for key in keys if key.get("current")]
        full = [name for name in self.key_ids() if short and name.startswith(short[0])]
        if len(full) != 1:
            raise ResticError(f"Which key opens repository {self.repository.name} cannot be told from restic's answer.")
        return full[0]

    def check(self, *, read_data: bool = False, read_data_subset: str | None = None) -> list[str]:
        """Check a repository to which others may write, and return the errors found.

        A backup that ends meanwhile can look like an error. So when there are errors and the index has changed meanwhile,
        the check is done once more.
        """
        before = self.index_ids()
        how: dict[str, Any] = {"read_data": read_data, "read_data_subset": read_data_subset}
        how["preexec_fn"] = dies_with_parent()
        errors = self.errors(**how)
        if errors and self.index_ids() != before:
            errors = self.errors(**how)
        return errors

    def errors(
        self,
        *,
        read_data: bool = False,
        read_data_subset: str | None = None,
        lock: bool = False,
        timeout: float | None = None,
        **popen: Any,
    ) -> list[str]:
        """Check the repository once, and return the errors found.

        Args:
            read_data: Read all data.
            read_data_subset: Read this part of the data.
            lock: Take restic's own lock. It is exclusive, keeps every backup out for as long as the check lasts, and
                lets every host that can put an object below locks/ prevent the check.
            timeout: Seconds until restic is stopped.
            popen: How to start the process.
        """
        args = ["check"] if lock else ["check", "--no-lock"]
        args += ["--read-data"] if read_data else []
        args += [f"--read-data-subset={read_data_subset}"] if read_data_subset else []
        # A host chooses how large the folders are that it backs up, and restic reads several of them at a time.
        completed = self.run(args, timeout=timeout, memory=half_of_memory(), **popen)
        if completed.exit_code == 0:
            return []
        # everything else, like an answer that did not come, says nothing about the repository
        if _DAMAGED not in completed.stderr:
            raise self.error("check", completed)
        lines = (line for line in completed.stderr.splitlines() if line.strip() and _DAMAGED not in line)
        return [self.repository.scrub(short(line)) for line in lines] or [_DAMAGED]
