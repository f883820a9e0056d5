# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Closes a window: the last work of a keeper, and the only work of one whose predecessor died.

Everything here runs in the forked process; `_windows.session` is the parent's side.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import suppress
from datetime import datetime
from typing import Any

from .._common.clock import awake, elapsed
from .._common.dates import format_date
from .._common.errors import HoldfastError
from .._common.system_log import SystemLog
from .._locks.fences import check_behind
from .._locks.mutex import Mutex, MutexScope
from .._locks.probe import Prober
from .._locks.rules import LockRulesError, Rule
from .._locks.store import LockStore
from .._locks.windows import close_window, window_of, windows
from .._r2.api import CLOSING, Denied, NotFound
from .._r2.s3 import S3
from .._r2.transport import LONGEST_PAUSE
from .control import Control, Ending
from .spec import WindowSpec

# Errors that waiting seldom cures: the lock token was revoked, the bucket is gone, the document is nonsense.
_STUBBORN = (Denied, NotFound, LockRulesError)
# For so many seconds of nothing else.
_REFUSED_TIMEOUT = 60.0
# An unlocking write whose answer never came may still take effect: look again after so many seconds.
_AFTERSHOCKS = (1.0, 5.0, 25.0)
_SHARED_AFTERSHOCKS = (2.0,)
# How long closing waits for the mutex at most, and for a proof before it looks at the document again.
_MUTEX_TIMEOUT = 5.0
_PROOF = 10.0
# For how long, in seconds, closing builds upon the document that was read after opening instead of reading it again. Other
# writers wait while a window is open, and what is read from the service may be as old anyway.
LOOK_SECONDS = 1.0
# What is read may be so many seconds old; a document of before a window opened looks like one of after it was closed.
STALE_SECONDS = 2.0
CAP = "the longest time that was allowed is over"
LEASE = "the lease ran out"


class Closer:
    """Sees to it that a window is closed."""

    def __init__(self, spec: WindowSpec, holder: str, control: Control, status: int) -> None:
        self.spec = spec
        self.holder = holder
        self.control = control
        self.status = status
        self.log = SystemLog(f"window {holder} on {spec.repository}", spec.log_path)
        self.cloudflare: LockStore | None = None
        self.prober = Prober(self._s3, spec.prefixes, self._pause)
        self.s3: S3 | None = None
        self.mutex = Mutex(self._s3, self._now, self._pause)
        self.alone: Exception | None = None
        self.closing = False
        self.touched = False
        self.lifted = False
        self.doubtful = False
        self.relocking = False
        # Whether a closing write was sent that had no answer.
        self.sent = False
        self.opened_at = 0.0
        self.written_at = -math.inf
        # How long after the reading that it builds upon a write may have taken effect, in seconds.
        self.read_at = -math.inf
        self.basis_age = 0.0
        self.lease_until = 0.0
        # The last look at the document, and when it was asked for; None once others may have written.
        self.look: tuple[list[Rule], float] | None = None
        self.report: dict[str, Any] = {
            "repository": spec.repository,
            "prefixes": spec.prefixes,
            "holder": holder,
            "opened": None,
            "closed": None,
            "seconds": 0.0,
            "lease": None,
            "ended_by": None,
            "closed_by_other": False,
            "fence_lost": None,
            "in_force": None,
            "unproved": [],
            "error": None,
        }

    def connect(self) -> LockStore:
        """Make the client of the API."""
        self.cloudflare = self.spec.cloudflare(
            sleep=self._pause,
            monotonic=elapsed,
            awake=awake,
            retry_timeout=self.spec.open_timeout,
            limited=self.control.limited,
        )
        return self.cloudflare

    def close(self) -> int:
        self.closing = True  # from here on, no reason to close interrupts a pause: the last one is that of the mutex
        if self.cloudflare is None or not self.touched:
            self.log.line(f"not opened, nothing was changed: {self.report['ended_by']}")
            self._tell("closed")
            return 1
        self.cloudflare.priority = CLOSING
        self.log.line(f"closing: {self.report['ended_by']}")
        self._lock_again(self.cloudflare)
        if self.report["in_force"]:
            self._await_aftershocks(self.cloudflare)
        self._tell("closed")
        return 0 if self.report["in_force"] else 2

    # Closing ---------------------------------------------------------------------------------------------------------

    def _await_aftershocks(self, cloudflare: LockStore) -> None:
        """Look again: an unlocking write without an answer may still take effect, and a writer that did not take the mutex may
        have put back the document that it had read before.
        """
        long = self.doubtful or self.alone
        for seconds in _AFTERSHOCKS if long else _SHARED_AFTERSHOCKS if self.spec.shared else ():
            time.sleep(seconds)
            self._lock_again(cloudflare)

    def _lock_again(self, cloudflare: LockStore) -> None:
        """Re-enable, read back and probe; again and again until it is proved or the timeout is over."""
        # Of refusals, only the pauses between them count: a request may be without an answer for long before the next.
        end, pause, refused = awake() + self.spec.close_timeout, 0.2, 0.0
        while True:
            try:
                self._enable(cloudflare, end - awake())
                if self.lifted:
                    self._prove_locked(end - awake())
                return self._locked(cloudflare)
            except Exception as error:  # noqa: BLE001 - not even a bug may end this before the timeout does
                self.control.calm()
                problem = error
            finally:
                self._let_others_write()
            stubborn = isinstance(problem, _STUBBORN) or getattr(problem, "status", 0) in (401, 403)
            refused = refused + pause if stubborn else 0.0
            if awake() + pause >= end or refused >= _REFUSED_TIMEOUT:
                return self._give_up(problem)
            self.log.line(f"not closed yet: {problem}", urgent=True)
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _let_others_write(self) -> None:
        """Release the mutex; no earlier than now, as that may wait, and neither proof nor report shall wait for it."""
        with suppress(Exception), self.control.limited(2 * _MUTEX_TIMEOUT):
            self.mutex.release()

    def _locked(self, cloudflare: LockStore) -> None:
        """Take it down that all is locked; again after every look."""
        self.report["in_force"] = True
        self.report["closed"] = format_date(cloudflare.server_time().replace(microsecond=0))
        if self.opened_at:
            self.report["seconds"] = round(elapsed() - self.opened_at, 3)
        self.log.line("closed, in force")

    def _enable(self, cloudflare: LockStore, retry_timeout: float) -> None:
        spec = self.spec
        # Closing goes on without the mutex: a host that keeps the mutex from us must not keep the window open.
        limited = self.control.limited
        with MutexScope(
            spec.bucket, lambda: self.mutex, _MUTEX_TIMEOUT, insist=False, limited=limited, keep=True
        ) as mine:
            mine.alone = self.alone
            known, lost, began = self._known(), cloudflare.lost_answers, elapsed()
            if spec.shared:
                mine.take()
            if mine.alone and not self.alone:
                self.log.line(f"closing without the mutex: {mine.alone}", urgent=True)
                self.alone = mine.alone
            update = cloudflare.update_lock_rules(
                spec.bucket,
                self._closed,
                retry_timeout=retry_timeout,
                ready=lambda rules: self._ready(rules, mine),
                always=lambda rules: self._unseen(rules, mine),
                known=known,
            )
            mine.unanswered = update.unanswered
        self.lifted = self.lifted or update.written  # the write that was refused was not
        if cloudflare.lost_answers > lost:
            # Once more, when what is read can no longer be as old as what was there before.
            self.sent = True
            time.sleep(max(began + STALE_SECONDS - elapsed(), 0.0))
            raise HoldfastError("The closing write had no answer.")
        enabled = [rule.get("prefix") for rule in update.after if rule.get("enabled") is True]
        missing = [prefix for prefix in spec.prefixes if prefix not in enabled]
        if missing:
            window = window_of(update.after, spec.prefix)
            whose = f" (there is another window, held by {window.holder})" if window else ""
            raise LockRulesError(
                f"There is no enabled lock rule for {', '.join(missing)} in bucket {spec.bucket}{whose}."
            )

    def _closed(self, rules: list[Rule]) -> list[Rule]:
        """The document without our window; notes what there was before any write that closes it."""
        if not self.relocking:
            self._note_first_look(rules)
        return close_window(rules, self.spec.prefix, self.holder)

    def _known(self) -> list[Rule] | None:
        """The last look at the document, if it is new enough to build upon and no other writer had the mutex since. Only once."""
        look, self.look = self.look, None
        if look is None or elapsed() - look[1] >= LOOK_SECONDS or (self.spec.shared and not self.mutex.ours):
            return None
        return look[0]

    def _ready(self, rules: list[Rule], mine: MutexScope) -> bool:
        ready = mine.ready(rules)
        self.relocking = self.relocking or ready
        return ready

    def _unseen(self, rules: list[Rule], mine: MutexScope) -> bool:
        """Whether to write a document without our window all the same: the document that was read may be older.

        Not where another holder has a window there, and may be closing it now: that would open it again.
        """
        alone = not self.spec.shared or mine.alone is not None
        return self.lifted and not (self.sent or self.report["closed"]) and not (alone and windows(rules))

    def _note_first_look(self, before: list[Rule]) -> None:
        window = window_of(before, self.spec.prefix)
        self.report["closed_by_other"] = not self.doubtful and (window is None or window.holder != self.holder)
        if self.spec.behind and not self.report["fence_lost"]:
            try:
                check_behind(before, self.spec.prefix, self.spec.behind, self._now())
            except HoldfastError as error:
                self.report["fence_lost"] = str(error)

    def _prove_locked(self, timeout: float) -> None:
        # Not for long before the document is read again: an earlier write may have taken effect only now.
        with self.control.limited(3 * _PROOF):
            states = self.prober.until("locked", elapsed() + min(timeout, _PROOF))
        self.report["unproved"] = [prefix for prefix, state in states.items() if state == "missing"]
        still = [prefix for prefix, state in states.items() if state == "open"]
        if still:
            raise HoldfastError(f"The rules are enabled, but R2 does not enforce them on {', '.join(still)} yet.")

    def _give_up(self, problem: Exception) -> None:
        spec = self.spec
        self.report["in_force"] = False
        jurisdiction = getattr(self.cloudflare, "jurisdiction", "default")
        where = f" account_id={getattr(self.cloudflare, 'account_id', '')}"
        where += "" if jurisdiction == "default" else f" jurisdiction={jurisdiction}"
        command = (
            f"ansible localhost -m holdfast.restic_r2.r2_bucket_relock -a 'buckets={spec.bucket} force=true{where}'"
        )
        self.report["error"] = (
            f"The locks of {spec.repository} could not be proved to be in force again "
            f"({', '.join(spec.prefixes)}): {problem} Run now, with the token in CLOUDFLARE_API_TOKEN: {command}"
        )
        self.log.line(self.report["error"], urgent=True)

    # Tools -----------------------------------------------------------------------------------------------------------

    def _s3(self) -> S3:
        if self.s3 is None:
            # A short timeout, because the callers ask again, or do without.
            self.s3 = self.spec.s3(timeout=5, attempts=2)
        return self.s3

    def _now(self) -> datetime:
        if self.cloudflare is None:
            raise HoldfastError("There is no connection that tells the time of the server.")
        return self.cloudflare.server_time()

    def _pause(self, seconds: float) -> None:
        """Sleep, but while the window is not closing yet, wake up for each reason to close it."""
        if self.closing:
            time.sleep(seconds)
            return
        reason = self.control.wait(seconds)
        if reason:
            raise Ending(reason)

    def _tell(self, event: str) -> None:
        message = json.dumps(dict(self.report, event=event)) + "\n"
        try:
            os.write(self.status, message.encode())
        except OSError:
            pass  # the parent is gone; the system log has the line
