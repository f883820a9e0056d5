# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a long module on another machine as Ansible does, and notes meanwhile, on the maintenance node, how far it is.

The module keeps a small file in Ansible's temporary folder there, which Ansible removes. A thread reads that file over the same
kind of connection, and writes its numbers into the note of the module `run_elsewhere`. Whatever fails in this changes nothing
about the run of the module: then the note says only that the run goes on.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import contextvars
import copy
import os
import shlex
import signal
import threading
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from ansible.errors import AnsibleAuthenticationFailure
from ansible.plugins.action.normal import ActionModule as NormalAction

from ..module_utils._common.process_identity import children_with, playbooks_above
from ..module_utils._common.progress import LARGEST, Place, path_of, read_place, write_place
from ..module_utils._common.progress_elsewhere import followed, same
from ..module_utils._common.record import folder
from ..module_utils._locks.rules import normalise_prefix
from ..module_utils._r2.places import checked_bucket

OPTION = "noted_in"
# Each command has a process of its own in these, so that a second one does not disturb the first.
_CONNECTIONS = ("local", "ssh")
# Between two looks; how long one may take; and how long the end of the run may wait for one that is under way.
SECONDS, LONGEST, PATIENCE = 20.0, 10.0, 2.0


class Followed(NormalAction):
    """Runs the module of its name.

    Attributes:
        RUN: What the run is, as in the journal.
    """

    RUN = ""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        records = self._task.args.pop(OPTION, None)
        follower = self._follower(str(records)) if records else None
        if follower is None:
            return self._as_ever(tmp, task_vars)
        self._task.args[OPTION] = self._connection._shell.tmpdir
        try:
            return self._as_ever(tmp, task_vars)
        finally:
            follower.end()

    def _as_ever(self, tmp: str | None, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result

    def _follower(self, records: str) -> Follower | None:
        """What follows the run by now, where this machine has the note of it and the other one can be asked without harm."""
        try:
            if self._connection.transport not in _CONNECTIONS or self._task.async_val or self._is_become_unprivileged():
                return None
            args = self._task.args
            place = folder(
                os.path.expanduser(records), checked_bucket(args["bucket"]), normalise_prefix(args.get("prefix") or "")
            )
            path = path_of(place, self.RUN)
            note = read_place(path)
            if note is None or (note.pid, note.process) != [(0, ""), *playbooks_above()][-1]:
                return None
            there = path_of(self._connection._shell.tmpdir or self._make_tmp_path(), self.RUN)
            follower = Follower(self, path, note, there)
            follower.start()
        except AnsibleAuthenticationFailure:
            raise
        except Exception:  # noqa: BLE001 - what is wrong with the machine, the module's own run tells
            return None
        return follower


class Follower:
    """Reads how far the module is, until it has ended.

    Args:
        action: The action that runs the module.
        path: The file of the note.
        note: What it says in the beginning.
        there: The file of the module on the other machine.
    """

    def __init__(self, action: Followed, path: str, note: Place, there: str) -> None:
        self._path, self._note, self._known = path, note, note
        self._there = there
        self._command = f"head -c {LARGEST + 1} {shlex.quote(there)}"
        # Both keep something of the command that they run.
        self._action = copy.copy(action)
        self._action._connection = copy.copy(action._connection)
        self._action._connection.become = copy.copy(action._connection.become)
        self._over, self._mutex = threading.Event(), threading.Lock()
        # What Ansible keeps for the task is kept for a thread.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._follow,), name="followed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        with self._mutex:
            self._over.set()
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._stop_look()
            self._thread.join(PATIENCE)

    def _follow(self) -> None:
        while not self._over.wait(SECONDS):
            with suppress(Exception):
                self._look()

    def _look(self) -> None:
        limit = threading.Timer(LONGEST, self._stop_look)
        limit.daemon = True
        limit.start()
        try:
            said = self._action._low_level_execute_command(self._command)
        finally:
            limit.cancel()
        if said["rc"] != 0:
            return
        now = datetime.now(timezone.utc).replace(microsecond=0)
        self._known = followed(self._note, self._known, said["stdout"], now)
        with self._mutex:
            # Another run of the kind may have begun.
            there = read_place(self._path)
            if not self._over.is_set() and there is not None and same(there, self._note) and there != self._known:
                write_place(self._path, self._known)

    def _stop_look(self) -> None:
        """End the process of the look that is under way: the other machine chooses how long it answers, and how much."""
        with suppress(OSError):
            for pid in children_with(os.fsencode(self._there)):
                with suppress(OSError):
                    os.kill(pid, signal.SIGTERM)
