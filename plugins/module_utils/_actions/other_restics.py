# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits for backups and other restic processes, which have locks in the bucket, and removes the stale locks of dead ones.

For maintenance and for changes of keys: waiting inside a window would keep it open.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from .._audit.auditor import Auditor
from .._audit.checks import other_restics
from .._audit.survey import Survey
from .._common.clock import awake
from .._common.process_signals import dies_with_parent
from .._r2.s3 import S3Object
from .._restic.cli import ResticError
from .._restic.process import ONE_OBJECT

# How long restic may read locks that others have left, in seconds: a request or two for each.
_UNLOCKING = 120.0
_PAUSE = 2.0


def await_others(auditor: Auditor, found: Survey, seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until no restic works in the repository.

    Args:
        auditor: The auditor of the repository.
        found: What was found in the repository.
        seconds: How long to wait.
        sleep: Waits for so many seconds.

    Raises:
        HoldfastError: Others are still there.
    """
    deadline = awake() + seconds
    locks = locks_there(auditor)
    if locks:
        locks = without_stale_locks(auditor, found)
    while locks:
        if awake() >= deadline and (locks := without_stale_locks(auditor, found)):
            stored = {key: item.last_modified for key, item in locks.items()}
            auditor.note(other_restics(stored, seconds), f"No window is opened for {auditor.name}")
        sleep(_PAUSE)
        auditor.progress.moved()
        locks = locks_there(auditor)


def let_others_end(
    locks: Callable[[], Mapping[str, S3Object]], seconds: float, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Wait as `await_others` does, but go on in the end: for work that harms no backup. Leaves stale locks where they are.

    Args:
        locks: Lists restic's locks.
        seconds: How long to wait.
        sleep: Waits for so many seconds.
    """
    deadline = awake() + seconds
    while locks() and awake() < deadline:
        sleep(_PAUSE)


def without_stale_locks(auditor: Auditor, found: Survey) -> dict[str, S3Object]:
    """Remove the locks of processes that are certainly gone, by what restic says of them; returns the others.

    A host may have written locks that restic cannot read in a moment. Then none of them is removed, and they are told as
    those of another restic.
    """
    with auditor.served(auditor.view(found.objects, locks="live")) as restic, suppress(ResticError):
        restic.run(["unlock"], timeout=_UNLOCKING, memory=ONE_OBJECT, preexec_fn=dies_with_parent(signal.SIGKILL))
    return locks_there(auditor)


def locks_there(auditor: Auditor) -> dict[str, S3Object]:
    """restic's locks in the bucket, by their keys."""
    return Survey(locks=auditor.objects("locks")).restic_locks()
