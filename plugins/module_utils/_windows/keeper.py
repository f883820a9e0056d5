# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper: a process of its own that opens one window, and closes it even if its parent dies.

Everything here runs in the forked process; `_windows.session` is the parent's side.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from .._common.clock import elapsed
from .._common.errors import HoldfastError
from .._locks.mutex import MutexBusy
from .._locks.rules import Rule, format_date
from .._locks.store import LockConflict, LockStore
from .._r2.api import CloudflareError, Denied, NotFound, Throttled, Unreachable
from .._r2.s3 import S3Error
from .closer import CAP, LEASE, LOOK_SECONDS, Closer
from .control import Control, Ending
from .spec import WindowSpec

# How long the last lines of the log may take, in seconds.
_LAST_WORDS = 2.0
# For how long, in seconds, the work that a window was opened for goes ahead of the look that closing builds upon.
_HEAD_START = 0.01


class Keeper(Closer):
    """Owns one window, from before its first request to after its last."""

    # Whether the parent knows that its work may begin.
    begun = False

    def run(self, only_close: bool = False) -> int:
        """Open, watch, close. Returns the exit status: 0 locked again, 1 never opened, 2 not proved to be locked."""
        try:
            cloudflare = self.connect()
            if only_close:
                self.touched = self.lifted = self.doubtful = True
                raise Ending("the keeper of this window died")
            with self.control.interrupting(self._due):
                self._open(cloudflare)
                if not self.begun:
                    self._tell("opened")
                    self.look = None  # proving took its time
                self._watch(cloudflare)
        except Ending as ending:
            self.report["ended_by"] = str(ending)
        except HoldfastError as error:
            self.report["ended_by"] = self.report["error"] = str(error)
        except Exception as error:  # noqa: BLE001 - after any error, an open window comes first
            self.report["ended_by"] = self.report["error"] = f"unexpected {type(error).__name__}: {error}"
        self.control.calm()
        try:
            return self.close()
        finally:
            self.mutex.release()

    # Opening ---------------------------------------------------------------------------------------------------------

    def _open(self, cloudflare: LockStore) -> None:
        spec = self.spec
        deadline = elapsed() + spec.open_timeout
        self._look()
        # Slow steps come before the unlock: the S3 client, and a key in every prefix to probe with.
        self.prober.prepare()
        if spec.shared:
            cloudflare.lock_rules(spec.bucket)  # tells the server's time, by which the mutex judges its age
        lease = self._unlock(cloudflare, deadline)
        self._leased(cloudflare, lease)
        self.report["opened"] = self.report["opened"] or format_date(cloudflare.server_time().replace(microsecond=0))
        if not spec.proved:
            self.log.line("open")
            return
        states = self.prober.until("open", deadline)
        still = [prefix for prefix, state in states.items() if state == "locked"]
        if still:
            raise HoldfastError(
                f"The lock on {', '.join(still)} in bucket {spec.bucket} was lifted but is still enforced after "
                f"{spec.open_timeout:.0f} seconds; the window was closed again, try later."
            )
        self.log.line("open, proved by probe")

    def _unlock(self, cloudflare: LockStore, deadline: float) -> datetime:
        """Disable the rules and write the lease, planned anew when it did not take; returns the lease."""
        spec, pause = self.spec, 0.5
        while True:
            self._acquire_mutex(deadline - elapsed())
            rules = self._read(cloudflare)
            lease = self._lease(cloudflare)
            desired = spec.opened(rules, self.holder, lease, cloudflare.server_time())
            self._look()
            if self.spec.shared and not self.mutex.ours and elapsed() < deadline:
                continue  # reading took so long that another process may be writing by now
            self.log.line(f"opening {', '.join(spec.prefixes)} until {format_date(lease)}: {spec.reason}")
            if not self.opened_at:
                self._leased(cloudflare, lease)
                self.opened_at = elapsed()
            try:
                self._write(cloudflare, desired, partial(self._begin, cloudflare))
            except (Throttled, Unreachable, LockConflict) as error:
                if elapsed() + pause >= deadline:
                    raise
                self.log.line(f"not opened yet: {error}", urgent=True)
            else:
                return lease
            self._release_mutex()
            self._pause(pause)
            pause *= 2

    def _begin(self, cloudflare: LockStore) -> None:
        """The write was answered: deletes may begin, each of which proves whether the window is open. Told once."""
        if self.spec.proved or self.begun:
            return
        self.report["opened"] = format_date(cloudflare.server_time().replace(microsecond=0))
        self.begun = True
        self._tell("opened")
        # The look at the document, which only closing needs, is not to compete with the first delete.
        self._pause(_HEAD_START)

    def _lease(self, cloudflare: LockStore) -> datetime:
        """The lease that a write may carry now: never past the cap."""
        left = self.spec.cap_seconds - (elapsed() - self.opened_at if self.opened_at else 0.0)
        lease = cloudflare.server_time() + timedelta(seconds=min(self.spec.lease_seconds, left))
        return lease.replace(microsecond=0)

    def _leased(self, cloudflare: LockStore, lease: datetime) -> None:
        self.lease_until = elapsed() + (lease - cloudflare.server_time()).total_seconds()
        self.report["lease"] = format_date(lease)

    def _write(self, cloudflare: LockStore, desired: list[Rule], then: Callable[[], object] = lambda: None) -> None:
        """Write rules that leave something unlocked. If no answer comes, they may even take effect later."""
        self.touched = True
        asked: list[float] = []
        lost = cloudflare.lost_answers

        def answered() -> None:
            self.control.undisturbed(LOOK_SECONDS)
            asked.append(elapsed())
            then()

        try:
            found = cloudflare.replace_lock_rules(self.spec.bucket, desired, answered=answered)
        except (Throttled, Denied, NotFound) as error:
            self.lifted = self.lifted or error.after_write
            raise
        except BaseException:
            self.lifted = True
            if not asked:
                self._doubt()
            raise
        finally:
            if cloudflare.lost_answers > lost:
                self._doubt()  # what was read may be of an earlier write, and this one may come once all is closed
            self.written_at = elapsed()
            self.basis_age = max(self.basis_age, self.written_at - self.read_at)
        self.lifted = True
        self.look = (found, asked[0]) if asked else None

    def _read(self, cloudflare: LockStore) -> list[Rule]:
        """The document that a write is to build upon."""
        self.read_at = elapsed()
        return cloudflare.lock_rules(self.spec.bucket)

    def _doubt(self) -> None:
        self.doubtful = True
        self.mutex.keep_until_stale()

    # Holding ---------------------------------------------------------------------------------------------------------

    def _watch(self, cloudflare: LockStore) -> None:
        """Wait for the reason to close; extend the lease meanwhile."""
        cap = self.opened_at + self.spec.cap_seconds
        cloudflare.retry_timeout = min(self.spec.open_timeout, self.spec.lease_seconds / 4)
        extend_at = self._next_extension(cap)
        while True:
            kept_until = self._kept_until()
            reason = self.control.wait(min(extend_at, cap, self.lease_until, kept_until) - elapsed()) or self._due()
            if reason:
                raise Ending(reason)
            if elapsed() >= kept_until:
                self._release_mutex()
            if elapsed() >= extend_at:
                self._extend(cloudflare)
                extend_at = self._next_extension(cap)

    def _due(self) -> str | None:
        """Why the window has to close by now, as far as time goes."""
        cap = self.opened_at + self.spec.cap_seconds
        if not self.opened_at or elapsed() < min(cap, self.lease_until):
            return None
        return CAP if self._leased_to(cap) else LEASE

    def _leased_to(self, cap: float) -> bool:
        """Whether the lease goes as far as the cap lets it; leases are whole seconds."""
        return self.lease_until + 1 >= cap

    def _next_extension(self, cap: float) -> float:
        if self._leased_to(cap):
            return cap
        return elapsed() + max((self.lease_until - elapsed()) / 2, 0.2)

    def _extend(self, cloudflare: LockStore) -> None:
        """Push the lease out. A failure is no reason to close before the lease ends; a lost window is."""
        try:
            self._acquire_mutex(self.spec.lease_seconds / 8)
            rules = self._read(cloudflare)
            lease = self._lease(cloudflare)
            if self.spec.shared and not self.mutex.ours:
                raise MutexBusy(self.spec.bucket)  # reading took so long that another process may be writing by now
            self._write(cloudflare, self.spec.extended(rules, self.holder, lease))
        except (CloudflareError, S3Error, MutexBusy) as error:
            self.log.line(f"the lease could not be extended: {error}", urgent=True)
            return
        finally:
            self._release_mutex()
        self._leased(cloudflare, lease)
        self.log.line(f"lease extended to {format_date(lease)}")

    # The mutex of a shared bucket ------------------------------------------------------------------------------------------

    def _acquire_mutex(self, timeout: float) -> None:
        if self.spec.shared and not self.mutex.acquire(max(timeout, 0.0)):
            raise MutexBusy(self.spec.bucket)

    def _release_mutex(self) -> None:
        """Let others write: the document that was read is old from then on."""
        self.look = None
        self.mutex.release()

    def _kept_until(self) -> float:
        """Until when no writer loses by it that we keep the mutex and the last look: closing waits for neither."""
        ends = [self.look[1] + LOOK_SECONDS] if self.look else []
        ends += [self.mutex.free_from] if self.mutex.ours else []
        return min(ends, default=math.inf)

    def _look(self) -> None:
        self._pause(0)


def keep(
    spec: WindowSpec,
    holder: str,
    command: int,
    status: int,
    only_close: bool,
    kind: type[Keeper] = Keeper,
    told: Callable[[dict[str, Any]], object] = lambda report: None,
) -> int:
    """Runs in the forked process. `command` and `status` are its ends of the parent's pipes; `told` gets the last report."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    control = Control(command)
    keeper = kind(spec, holder, control, status)
    try:
        return keeper.run(only_close)
    finally:
        told(keeper.report)
        keeper.log.flush(_LAST_WORDS)
