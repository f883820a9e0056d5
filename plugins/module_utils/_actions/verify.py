# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at one repository without changing anything, and finds its problems.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from .._audit.freshness import Expected, hours_since, of_jobs, of_no_job, stale
from .._clients import Clients
from .._common.dates import format_date
from .._common.errors import HoldfastError
from .._common.progress import stalled
from .._common.record import folder
from .._locks.desired import plan
from .._locks.fences import fence_of
from .._locks.probe import in_force
from .._locks.rules import PARTS, Rule, in_the_way, in_the_way_sentence, lock_set, missing_parts, problems, same
from .._locks.windows import window_of
from .ensure_repository import ensure
from .list_snapshots import stored_times
from .verify_proofs import Proofs


@dataclass
class Verified:
    """The result of a look; each finding is a sentence about a problem, and there is none when all is well."""

    findings: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    window: dict[str, Any] | None = None
    prefixes: dict[str, str] = field(default_factory=dict)
    probed_with: str | None = None
    public: bool | None = None
    snapshots: int | None = None
    newest: str | None = None
    age_hours: float | None = None
    jobs: list[dict[str, Any]] = field(default_factory=list)
    retired: list[dict[str, Any]] = field(default_factory=list)
    time: str | None = None

    def look(self, check: Callable[[], None]) -> None:
        """Do one of the checks. A check that fails is a finding, too, and the others are done all the same."""
        try:
            check()
        except HoldfastError as error:
            if str(error) not in self.findings:
                self.add("not_verified", str(error))

    def add(self, code: str, *sentences: str) -> None:
        """Keep findings; journal and metrics know them by the code."""
        self.findings += sentences
        self.codes += [code] * len(sentences)


def verify(clients: Clients, record_dir: str | None, expected: Expected, proofs: Proofs = Proofs()) -> Verified:  # noqa: B008
    """Look at the rules, the leases, the locks themselves, public access, the record and the snapshots.

    Args:
        clients: The clients of the repository.
        record_dir: Where the records are.
        expected: What the snapshots of the host should be like.
        proofs: What must have been proved of them, by the record.

    Raises:
        HoldfastError: The lock document could not be read; then nothing else was looked at.
    """
    found = Verified()
    rules = clients.cloudflare.lock_rules(clients.bucket)
    now = clients.cloudflare.server_time()
    found.time = format_date(now.replace(microsecond=0))
    found.look(lambda: _rules(found, rules, clients.prefix, now))
    found.look(lambda: _locks(found, clients))
    found.look(lambda: _public(found, clients))
    found.look(lambda: _repository(found, clients, record_dir, now, expected))
    found.look(lambda: _proofs(found, clients, record_dir, now, proofs))
    found.add("stalled", *_stalled(clients, record_dir))
    return found


def _stalled(clients: Clients, record_dir: str | None) -> list[str]:
    """Runs that have not moved for long, by the clock of the node, which wrote when they did."""
    path = folder(record_dir, clients.bucket, clients.prefix) if record_dir else ""
    return stalled(path, datetime.now(timezone.utc)) if path else []


def _proofs(found: Verified, clients: Clients, record_dir: str | None, now: datetime, proofs: Proofs) -> None:
    """By the record alone: no request is made."""
    if record_dir:
        for code, sentence in proofs.findings(folder(record_dir, clients.bucket, clients.prefix), now):
            found.add(code, sentence)


def _rules(found: Verified, rules: list[Rule], prefix: str, now: datetime) -> None:
    """Judge the lock document: missing rules, windows, fences."""
    found.add("lock_document", *(problem.sentence for problem in problems(rules)))
    strange = [in_the_way_sentence(rule, prefix) for rule in in_the_way(rules, prefix, now)]
    window = window_of(rules, prefix)
    if window is not None and window.problem is None:
        lease = format_date(window.lease) if window.lease else None
        state = window.state(now)
        found.window = {"parts": list(window.parts), "lease": lease, "holder": window.holder, "state": state}
        advice = "maintenance may be at work" if state == "live" else "run the relock playbook"
        code = "window_open" if state == "live" else "window_left_open"
        found.add(code, f"Unlocked: {', '.join(window.parts)}, lease {lease or 'none'}; {advice}.")
    elif not found.findings and len(missing_parts(rules, prefix)) == len(PARTS):
        found.add(
            "lock_set", "There are no lock rules for this repository, so that nothing holds it; run the site playbook."
        )
    elif not found.findings and not same(rules, plan(rules, lock_set(prefix), state="present", now=now)):
        found.add("lock_set", "The lock rules are not those of the repository; run the relock playbook, then site.")
    found.add("foreign_rule", *strange)
    fence = fence_of(rules, prefix)
    if fence is not None and fence.overdue(now):
        found.add(
            "fence_left",
            f"Tokens were disabled for maintenance that is over ({', '.join(fence.tokens)}); run the relock playbook.",
        )


def _locks(found: Verified, clients: Clients) -> None:
    probe = clients.lock_probe
    found.prefixes = probe.states()
    found.probed_with = probe.asked_by
    if not in_force(found.prefixes):
        states = ", ".join(f"{prefix} {state}" for prefix, state in found.prefixes.items())
        found.add("not_enforced", f"The locks are not in force: {states}.")


def _public(found: Verified, clients: Clients) -> None:
    found.public = clients.cloudflare.public_access(clients.bucket)
    if found.public:
        found.add("public", "The bucket is public; run the site playbook.")


def _repository(found: Verified, clients: Clients, record_dir: str | None, now: datetime, expected: Expected) -> None:
    outcome = ensure(clients, record_dir=record_dir, check_mode=True)
    found.add("record", *outcome.warnings)
    if outcome.created:
        found.add("no_repository", "There is no repository; run site first.")
        return
    uploads = stored_times(clients.s3, clients.prefix)
    snapshots = [one for one in clients.restic(outcome.key_id).snapshots() if one["id"] in uploads]
    found.snapshots = len(snapshots)
    found.jobs = of_jobs(snapshots, uploads, expected, now)
    found.retired = of_no_job(snapshots, uploads, expected.jobs, now)
    if not snapshots:
        found.add("no_snapshots", "There is no snapshot.")
        return
    newest = max(uploads[one["id"]] for one in snapshots)
    found.newest = format_date(newest.replace(microsecond=0))
    found.age_hours = hours_since(newest, now)
    found.add("stale", *stale(snapshots, uploads, expected, now))
