# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A signal that comes just when a process forks: Python swallows what is raised in what it does after a fork."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.exclusive_lock import ExclusiveLock
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.process_signals import (
    Interrupted,
    signals_raise,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Restic
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.confinement import ConfinementError, require
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.drill_sandbox import Limits, SandboxError, run
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.repository import Repository

from tests.support.fork import Fork

ROOT = Path(__file__).parents[2]


def confined(folder: Path) -> None:
    require(str(folder / "target"), special=False)


def sandboxed(folder: Path) -> None:
    for name in ("tree", "work"):
        (folder / name).mkdir()
    run(["sleep", "600"], str(folder / "tree"), str(folder / "work"), Limits(60, 1 << 30))


def locked(_folder: Path) -> None:
    class Bucket:
        def put_if(self, key: str, body: bytes) -> str:
            return "etag"

        def delete(self, key: str) -> None:
            return

    bucket = cast(S3, Bucket())
    with ExclusiveLock(bucket, lambda: bucket, "", b"lock"):
        pass


def started(folder: Path) -> None:
    program = folder / "restic"
    program.write_text("#!/bin/sh\nexec sleep 600\n", encoding="utf-8")
    program.chmod(0o700)
    restic = Restic(Repository("http://127.0.0.1:1", "bucket", "", "id", "secret", None, "password"), path=str(program))
    restic.run(["version"], timeout=60, preexec_fn=lambda: None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGALRM])
@pytest.mark.parametrize("work", [confined, sandboxed, locked, started])
def test_signal_in_what_python_does_after_a_fork_is_not_lost(
    tmp_path: Path, work: Callable[[Path], None], number: signal.Signals
) -> None:
    def signalled() -> int:
        # What it prints is "Exception ignored in": the loss itself.
        sys.unraisablehook = lambda _told: None
        os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), number))
        try:
            with signals_raise():
                work(tmp_path)
        except Interrupted as interrupted:
            return 0 if str(interrupted) == number.name else 2
        except (ConfinementError, SandboxError):
            return 3
        return 1

    assert Fork(signalled).wait() == 0


def test_signal_in_the_fork_of_a_sandbox_ends_what_it_has_just_started(tmp_path: Path) -> None:
    def signalled() -> int:
        caller = os.getpid()
        os.register_at_fork(
            after_in_parent=lambda: None if os.getpid() == caller else os.kill(os.getpid(), signal.SIGTERM)
        )
        for name in ("tree", "work"):
            (tmp_path / name).mkdir()
        try:
            ended = run(["sleep", "600"], str(tmp_path / "tree"), str(tmp_path / "work"), Limits(30, 1 << 30))
        except SandboxError:
            return 0
        return int(ended.why != "")

    assert Fork(signalled).wait() == 0


def test_no_process_forks_elsewhere() -> None:
    """A fork that is new has to be one of those above; session.py has tests of its own, in test_window.py."""
    forks = re.compile(r"os\.fork\(|forkpty|multiprocessing|subprocess\.Popen\(")
    found = {path.name for path in (ROOT / "plugins").rglob("*.py") if forks.search(path.read_text(encoding="utf-8"))}
    assert found == {"cli.py", "confinement.py", "drill_sandbox.py", "exclusive_lock.py", "session.py"}
