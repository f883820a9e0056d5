# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Audits a repository without a window, and remembers what was verified.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from typing import Any, Optional

from .._audit.auditor import Auditor, AuditSettings
from .._audit.baseline import Baseline
from .._audit.checks import BLOCK, WARN, Finding
from .._audit.options import LIMIT, expected_from, remembered
from .._audit.removal_lists import keep
from .._audit.signals_watch import told, watch
from .._clients import Clients
from .._common.errors import HoldfastError
from .._common.process_signals import ended_by_signals
from .._common.progress import Progress
from .._common.record import folder
from .._restic.cli import MINIMUM
from .._restic.retention_plan import Plan, protected_from
from .newest_snapshots import remember_newest


class RepositoryAudit:
    """One look at a repository. `outcome` tells at any time the findings so far.

    Args:
        auditor: The auditor of the repository.
        mode: "compare", "update" or "rebuild" the baseline.
        check_mode: Write nothing.
        kept_in: The folder that keeps the keys of the objects that findings are about.
    """

    def __init__(self, auditor: Auditor, mode: str, check_mode: bool, kept_in: Optional[str] = None) -> None:
        self.kept_in = kept_in
        self.auditor = auditor
        self.mode = mode
        self.check_mode = check_mode
        self.changed = False

    @property
    def outcome(self) -> dict[str, Any]:
        auditor = self.auditor
        return {
            "changed": self.changed,
            "blocked": auditor.blocked,
            "findings": [finding.as_dict() for finding in auditor.findings],
            "signals": told(auditor.signals, auditor.prefix),
            "baseline": counts(auditor.baseline),
            "read": {**auditor.looked_into.figures.told(), "requests": auditor.s3.requests},
            "diff": {
                "before": counts(auditor.stored),
                "after": counts(auditor.baseline if self.changed else auditor.stored),
            },
        }

    def run(self) -> None:
        """Look. The outcome is there also when this raises."""
        work, limit = f"The audit of {self.auditor.name}", self.auditor.settings.time_limit
        with self.auditor.progress.told(), ended_by_signals(work, lambda: "nothing was written.", limit, LIMIT):
            self._run()
            if self.kept_in and not self.check_mode:
                keep(self.kept_in, self.auditor.findings)

    def _run(self) -> None:
        auditor = self.auditor
        auditor.restic.require(MINIMUM, "A repository in R2")
        step = auditor.progress.step
        step("listing")
        found = auditor.look(probe=True)
        auditor.identified(found)
        if auditor.unused(found.objects):
            return
        step("reading the list of snapshots")
        auditor.opened(found)
        step("reading what is new")
        auditor.contents(found)
        step("comparing new snapshots")
        auditor.snapshots(found)
        if self.mode != "compare" and not self.check_mode:
            remember_newest(auditor, found.objects.values())
        watch(auditor, found, write=self.mode != "compare" and not self.check_mode)
        if self.mode != "compare" and auditor.baseline and not auditor.blocked:
            self._remember(auditor.baseline)

    def _remember(self, baseline: Baseline) -> None:
        auditor = self.auditor
        if self.mode == "update" and auditor.pending:
            # Only maintenance knows what it has removed.
            evidence = "A maintenance of this repository runs, or ended halfway; the baseline was left as it is."
            auditor.findings.append(Finding("maintenance_pending", WARN, evidence, "Run maintenance again."))
            return
        self.changed = baseline != auditor.stored
        if self.changed and not self.check_mode and not auditor.remember_unless_changed():
            self.changed = False


def counts(baseline: Optional[Baseline]) -> dict[str, Any]:
    """The contents of a baseline, in numbers."""
    if baseline is None:
        return {}
    return {
        "snapshots": len(baseline.snapshots),
        "indexes": len(baseline.indexes),
        "packs": len(baseline.packs),
        "bytes": sum(pack.size for pack in baseline.packs.values()),
    }


def audit_for(clients: Clients, check_mode: bool) -> RepositoryAudit:
    """The audit that a module's parameters ask for."""
    mode = clients.params["baseline"]
    if mode != "compare" and not clients.params["record_dir"]:
        raise HoldfastError(
            f"baseline is {mode}, but record_dir is empty: set it, for that is where the baseline is kept."
        )
    expected = expected_from(clients.params)
    plan = Plan(jobs=expected.jobs, protected=protected_from(clients.params["protected_snapshots"]))
    settings = AuditSettings(plan, expected, rebuild=mode == "rebuild", stop=False, **remembered(clients))
    restic = clients.restic(settings.record.key_id if settings.record else None)
    auditor = Auditor(restic, clients.s3, clients.cloudflare, settings, clients.lock_probe)
    records = clients.params["record_dir"]
    kept_in = folder(records, clients.bucket, clients.prefix) if records else None
    auditor.progress = Progress(settings.folder, "audit", auditor.name)
    return RepositoryAudit(auditor, mode, check_mode, kept_in)


def verdict(findings: list[dict[str, str]], name: str) -> str:
    """The blocking findings in one sentence, or nothing."""
    blocking = [finding for finding in findings if finding["severity"] == BLOCK]
    if not blocking:
        return ""
    told = " ".join(f"{finding['evidence']} {finding['what_to_do']}" for finding in blocking)
    return f"Repository {name} is not as it should be: {told}"
