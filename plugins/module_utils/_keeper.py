# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper: a process of its own that opens one window, and closes it whatever happens to its parent.

Everything here runs in the forked process; `_window` is the parent's side.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._cloudflare import (
    CLOSING,
    Cloudflare,
    CloudflareError,
    Denied,
    LockConflict,
    NotFound,
    Throttled,
    Unreachable,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._control import (
    Control,
    elapsed,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import (
    HoldfastError,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._journal import Journal
from ansible_collections.holdfast.restic_r2.plugins.module_utils._leases import (
    close_window,
    window_of,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._lock_rules import LockRulesError, Rule, format_date
from ansible_collections.holdfast.restic_r2.plugins.module_utils._prober import Prober
from ansible_collections.holdfast.restic_r2.plugins.module_utils._s3 import S3, S3Error
from ansible_collections.holdfast.restic_r2.plugins.module_utils._turn import KEY, Turn
from ansible_collections.holdfast.restic_r2.plugins.module_utils._window_spec import WindowSpec

# Errors that waiting seldom cures: the lock token was revoked, the bucket is gone, the document is nonsense.
_STUBBORN = (Denied, NotFound, LockRulesError)
_STUBBORN_PATIENCE = 60.0
# An unlocking write whose answer never came may still take effect: look again after so many seconds.
_AFTERSHOCKS = (1.0, 5.0, 25.0)
_SHARED_AFTERSHOCKS = (2.0,)
_CLOSING_TURN = 5.0
_CAP = "the longest time that was allowed is over"
_LEASE = "the lease ran out"


class Ending(Exception):
    """The window has to close now; the text says why."""


class TurnTaken(HoldfastError):
    """Somebody else had the turn for as long as we could wait."""


class Keeper:
    """Owns one window, from before its first request to after its last."""

    def __init__(self, spec: WindowSpec, holder: str, control: Control, status: int) -> None:
        self.spec = spec
        self.holder = holder
        self.control = control
        self.status = status
        self.journal = Journal(f"window {holder} on {spec.repository}", spec.log_path)
        self.cloudflare: Cloudflare | None = None
        self.prober = Prober(self._s3, spec.prefixes, self._pause)
        self.s3: S3 | None = None
        self.turn: Turn | None = None
        self.closing = False
        self.touched = False
        self.lifted = False
        self.doubtful = False
        self.opened_at = 0.0
        self.lease_until = 0.0
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
            "in_force": None,
            "unproved": [],
            "error": None,
        }

    def run(self, only_close: bool = False) -> int:
        """Open, watch, close. Returns the exit status: 0 locked again, 1 never opened, 2 not proved to be locked."""
        try:
            self.cloudflare = self.spec.cloudflare(
                sleep=self._pause, monotonic=elapsed, patience=self.spec.open_patience
            )
            if self.spec.shared:
                self.turn = Turn(self._s3, self.cloudflare.server_time, self._pause)
            if only_close:
                self.touched = self.lifted = self.doubtful = True
                raise Ending("the keeper of this window died")
            self._open(self.cloudflare)
            self._tell("opened")
            self._give_turn_back()
            self._watch(self.cloudflare)
        except Ending as ending:
            self.report["ended_by"] = str(ending)
        except HoldfastError as error:
            self.report["ended_by"] = self.report["error"] = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, an open window comes first
            self.report["ended_by"] = self.report["error"] = f"unexpected {type(error).__name__}: {error}"
        try:
            return self._end()
        finally:
            self._give_turn_back()

    def _end(self) -> int:
        if self.cloudflare is None or not self.touched:
            self.journal.line(f"not opened, nothing was changed: {self.report['ended_by']}")
            self._tell("closed")
            return 1
        self.closing = True
        self.cloudflare.priority = CLOSING
        self.journal.line(f"closing: {self.report['ended_by']}")
        self._interrupt_work()
        self._lock_again(self.cloudflare)
        if self.report["in_force"]:
            self._await_aftershocks(self.cloudflare)
        self._tell("closed")
        self.control.end_guarded(self.spec.grace_seconds)
        return 0 if self.report["in_force"] else 2

    # Opening ---------------------------------------------------------------------------------------------------------

    def _open(self, cloudflare: Cloudflare) -> None:
        spec = self.spec
        deadline = elapsed() + spec.open_patience
        self._look()
        # What is slow comes before the unlock: the S3 client, and a key in every prefix to probe with.
        self.prober.prepare()
        if spec.shared:
            cloudflare.lock_rules(spec.bucket)  # tells the server's time, which the age of a turn is judged by
        lease = self._unlock(cloudflare, deadline)
        self._leased(cloudflare, lease)
        self.report["opened"] = format_date(cloudflare.server_time().replace(microsecond=0))
        states = self.prober.until("open", deadline)
        still = [prefix for prefix, state in states.items() if state == "locked"]
        if still:
            raise HoldfastError(
                f"The lock on {', '.join(still)} in bucket {spec.bucket} was lifted but is still enforced after "
                f"{spec.open_patience:.0f} seconds; the window was closed again, try later."
            )
        self.journal.line("open, proved by probe")

    def _unlock(self, cloudflare: Cloudflare, deadline: float) -> datetime:
        """Disable the rules and write the lease, planned anew when it did not take; returns the lease."""
        spec, pause = self.spec, 0.5
        while True:
            self._take_turn(deadline - elapsed())
            rules = cloudflare.lock_rules(spec.bucket)
            lease = self._lease(cloudflare)
            wanted = spec.opened(rules, self.holder, lease, cloudflare.server_time())
            self._look()
            if self.turn is not None and not self.turn.ours and elapsed() < deadline:
                continue  # reading took so long that somebody else may be writing by now
            self.journal.line(f"opening {', '.join(spec.prefixes)} until {format_date(lease)}: {spec.reason}")
            self.opened_at = self.opened_at or elapsed()
            try:
                self._write(cloudflare, wanted)
            except (Throttled, Unreachable, LockConflict) as error:
                if elapsed() + pause >= deadline:
                    raise
                self.journal.line(f"not opened yet: {error}", urgent=True)
            else:
                return lease
            self._give_turn_back()
            self._pause(pause)
            pause *= 2

    def _lease(self, cloudflare: Cloudflare) -> datetime:
        """The lease that a write may carry now: never past the cap."""
        left = self.spec.cap_seconds - (elapsed() - self.opened_at if self.opened_at else 0.0)
        lease = cloudflare.server_time() + timedelta(seconds=min(self.spec.lease_seconds, left))
        return lease.replace(microsecond=0)

    def _leased(self, cloudflare: Cloudflare, lease: datetime) -> None:
        self.lease_until = elapsed() + (lease - cloudflare.server_time()).total_seconds()
        self.report["lease"] = format_date(lease)

    def _write(self, cloudflare: Cloudflare, wanted: list[Rule]) -> None:
        """Write rules that leave something unlocked. If no answer comes, they may even take effect later."""
        self.touched = True
        try:
            cloudflare.replace_lock_rules(self.spec.bucket, wanted)
        except (Throttled, Denied, NotFound):
            raise
        except BaseException as error:
            self.lifted, self.doubtful = True, self.doubtful or not isinstance(error, LockConflict)
            raise
        self.lifted = True

    # Holding ---------------------------------------------------------------------------------------------------------

    def _watch(self, cloudflare: Cloudflare) -> None:
        """Wait for the reason to close; extend the lease meanwhile."""
        cap = self.opened_at + self.spec.cap_seconds
        cloudflare.patience = min(self.spec.open_patience, self.spec.lease_seconds / 4)
        extend_at = self._next_extension(cap)
        while True:
            reason = self.control.wait(min(extend_at, cap, self.lease_until) - elapsed())
            if reason:
                raise Ending(reason)
            if elapsed() >= min(cap, self.lease_until):
                raise Ending(_CAP if self._leased_to(cap) else _LEASE)
            if elapsed() >= extend_at:
                self._extend(cloudflare)
                extend_at = self._next_extension(cap)

    def _leased_to(self, cap: float) -> bool:
        """Whether the lease goes as far as the cap lets it; leases are whole seconds."""
        return self.lease_until + 1 >= cap

    def _next_extension(self, cap: float) -> float:
        if self._leased_to(cap):
            return cap
        return elapsed() + max((self.lease_until - elapsed()) / 2, 0.2)

    def _extend(self, cloudflare: Cloudflare) -> None:
        """Push the lease out. A failure is no reason to close before the lease ends; a lost window is."""
        try:
            self._take_turn(self.spec.lease_seconds / 8)
            rules = cloudflare.lock_rules(self.spec.bucket)
            lease = self._lease(cloudflare)
            self._write(cloudflare, self.spec.extended(rules, self.holder, lease))
        except (CloudflareError, S3Error, TurnTaken) as error:
            self.journal.line(f"the lease could not be extended: {error}", urgent=True)
            return
        finally:
            self._give_turn_back()
        self._leased(cloudflare, lease)
        self.journal.line(f"lease extended to {format_date(lease)}")

    # Closing ---------------------------------------------------------------------------------------------------------

    def _interrupt_work(self) -> None:
        """End the work that needs the window, unless its parent said that it is done."""
        if self.report["ended_by"] == Control.CLOSE:
            self.control.guarded.clear()
            return
        self.control.interrupt_guarded()
        if self.report["ended_by"] in (_CAP, _LEASE):
            self.control.end_guarded(self.spec.grace_seconds)

    def _await_aftershocks(self, cloudflare: Cloudflare) -> None:
        """Look again: an unlocking write without an answer may still take effect, and a writer who did not keep to
        the turns may have put back what it had read before.
        """
        for seconds in _AFTERSHOCKS if self.doubtful else _SHARED_AFTERSHOCKS if self.spec.shared else ():
            self._give_turn_back()
            time.sleep(seconds)
            self._lock_again(cloudflare)

    def _lock_again(self, cloudflare: Cloudflare) -> None:
        """Re-enable, read back and probe; again and again until it is proved or the patience is over."""
        start, pause = elapsed(), 0.2
        while True:
            patience = self.spec.close_patience
            try:
                self._enable(cloudflare, start + patience - elapsed())
                if self.lifted:
                    self._prove_locked(start + patience)
                return self._locked(cloudflare)
            except Exception as error:  # noqa: BLE001 - not even a bug may end this before the patience does
                problem = error
            if isinstance(problem, _STUBBORN) or getattr(problem, "status", 0) in (401, 403):
                patience = min(patience, _STUBBORN_PATIENCE)
            if elapsed() + pause >= start + patience:
                return self._give_up(problem)
            self.journal.line(f"not closed yet: {problem}", urgent=True)
            time.sleep(pause)
            pause = min(pause * 2, 15.0)

    def _locked(self, cloudflare: Cloudflare) -> None:
        self.report["in_force"] = True
        self.report["closed"] = format_date(cloudflare.server_time().replace(microsecond=0))
        if self.opened_at:
            self.report["seconds"] = round(elapsed() - self.opened_at, 3)
        self.journal.line("closed, in force")

    def _enable(self, cloudflare: Cloudflare, patience: float) -> None:
        spec = self.spec
        # Closing goes on without its turn: whoever keeps the turn from us must not keep the window open.
        try:
            self._take_turn(_CLOSING_TURN)
        except HoldfastError as error:
            self.journal.line(f"closing without a turn: {error}", urgent=True)
            self.turn = None
        update = cloudflare.update_lock_rules(
            spec.bucket, lambda rules: close_window(rules, spec.prefix, self.holder), patience=patience
        )
        if update.written:
            self.lifted = True  # the write that was refused was not
        else:
            self.report["closed_by_other"] = not self.doubtful
        enabled = [rule.get("prefix") for rule in update.after if rule.get("enabled") is True]
        missing = [prefix for prefix in spec.prefixes if prefix not in enabled]
        if missing:
            window = window_of(update.after, spec.prefix)
            whose = f" (there is a window of somebody else, {window.holder})" if window else ""
            raise LockRulesError(
                f"There is no enabled lock rule for {', '.join(missing)} in bucket {spec.bucket}{whose}."
            )

    def _prove_locked(self, deadline: float) -> None:
        # Not for long before the document is read again: an earlier write may have taken effect only now.
        states = self.prober.until("locked", min(deadline, elapsed() + 10))
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
        self.journal.line(self.report["error"], urgent=True)

    # Turns in a shared bucket ----------------------------------------------------------------------------------------

    def _take_turn(self, patience: float) -> None:
        if self.turn is not None and not self.turn.take(max(patience, 0.0)):
            raise TurnTaken(
                f"Somebody else is at the lock document of bucket {self.spec.bucket} all the time; if no maintenance "
                f"runs there, a host of this bucket keeps writing the object {KEY}."
            )

    def _give_turn_back(self) -> None:
        if self.turn is not None:
            self.turn.give_back()

    # Tools -----------------------------------------------------------------------------------------------------------

    def _s3(self) -> S3:
        if self.s3 is None:
            # Impatient, because whoever needs an answer here asks again, or does without.
            self.s3 = self.spec.s3(timeout=5, attempts=2)
        return self.s3

    def _look(self) -> None:
        self._pause(0)

    def _pause(self, seconds: float) -> None:
        """Sleep, but while the window is not closing yet, wake up for whatever wants it closed."""
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
            pass  # the parent is gone; the journal has the line


def keep(
    spec: WindowSpec, holder: str, command: int, status: int, only_close: bool, kind: type[Keeper] = Keeper
) -> int:
    """The life of the forked process. `command` and `status` are its ends of the parent's pipes."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    control = Control(command)
    return kind(spec, holder, control, status).run(only_close)
