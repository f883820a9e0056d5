# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate without a window: look at a repository, and remember what was verified.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from typing import Any, Optional

from .._audit.baseline import Baseline
from .._audit.checks import BLOCK, WARN, Finding
from .._audit.gate import Gate, Wanted
from .._audit.judged import keep
from .._audit.options import expected_from, remembered
from .._clients import Clients
from .._common.errors import HoldfastError
from .._common.record import folder
from .._common.signals import Interrupted, signals_raise
from .._restic.cli import MINIMUM


class RepositoryAudit:
    """One look at a repository. `outcome` tells at any time what was found so far.

    Args:
        gate: The repository, and what is wanted.
        mode: "compare", "update" or "rebuild" the baseline.
        check_mode: Write nothing.
        kept_in: The folder that keeps the keys of the objects that findings are about.
    """

    def __init__(self, gate: Gate, mode: str, check_mode: bool, kept_in: Optional[str] = None) -> None:
        self.kept_in = kept_in
        self.gate = gate
        self.mode = mode
        self.check_mode = check_mode
        self.changed = False

    @property
    def outcome(self) -> dict[str, Any]:
        gate = self.gate
        return {
            "changed": self.changed,
            "blocked": gate.blocked,
            "findings": [finding.as_dict() for finding in gate.findings],
            "baseline": counts(gate.baseline),
            "read": {**gate.looked_into.figures.told(), "requests": gate.s3.requests},
            "diff": {"before": counts(gate.stored), "after": counts(gate.baseline if self.changed else gate.stored)},
        }

    def run(self) -> None:
        """Look. The outcome is there also when this raises."""
        try:
            with signals_raise(self.gate.wanted.time_limit):
                self._run()
                if self.kept_in and not self.check_mode:
                    keep(self.kept_in, self.gate.findings)
        except Interrupted as signal:
            raise HoldfastError(
                f"The audit of {self.gate.name} was ended by {signal}; nothing was written."
            ) from signal

    def _run(self) -> None:
        gate = self.gate
        gate.restic.require(MINIMUM, "A repository in R2")
        found = gate.look(probe=True)
        gate.identified(found)
        if gate.unused(found.objects):
            return
        gate.opened(found)
        gate.contents(found)
        gate.snapshots(found)
        if self.mode != "compare" and gate.baseline and not gate.blocked:
            self._remember(gate.baseline)

    def _remember(self, baseline: Baseline) -> None:
        gate = self.gate
        if self.mode == "update" and gate.pending:
            # Only maintenance knows what it has removed.
            evidence = "A maintenance of this repository runs, or ended halfway; the baseline was left as it is."
            gate.findings.append(Finding("maintenance_pending", WARN, evidence, "Run maintenance again."))
            return
        self.changed = baseline != gate.stored
        if self.changed and not self.check_mode and not gate.remember_unless_changed():
            self.changed = False


def counts(baseline: Optional[Baseline]) -> dict[str, Any]:
    """What a baseline holds, in numbers."""
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
    wanted = Wanted(
        expected=expected_from(clients.params), rebuild=mode == "rebuild", stop=False, **remembered(clients)
    )
    restic = clients.restic(wanted.record.key_id if wanted.record else None)
    gate = Gate(restic, clients.s3, clients.cloudflare, wanted, clients.lock_probe)
    records = clients.params["record_dir"]
    kept_in = folder(records, clients.bucket, clients.prefix) if records else None
    return RepositoryAudit(gate, mode, check_mode, kept_in)


def verdict(findings: list[dict[str, str]], name: str) -> str:
    """The blocking findings in one sentence, or nothing."""
    blocking = [finding for finding in findings if finding["severity"] == BLOCK]
    if not blocking:
        return ""
    told = " ".join(f"{finding['evidence']} {finding['what_to_do']}" for finding in blocking)
    return f"Repository {name} is not as it should be: {told}"
