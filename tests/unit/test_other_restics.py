# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks of others, which a host writes as it likes: what reading them may take, and the memory that restic gets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.other_restics import (
    await_others,
    let_others_end,
    locks_there,
    without_stale_locks,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.auditor import Auditor
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.checks import (
    AuditError,
    Finding,
    stop_if_blocked,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.survey import Survey
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3Object
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import TooLargeError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.process import cgroup_limits, half_of_memory

LOCK = S3Object("locks/" + "ab" * 32, 200, datetime(2026, 1, 1, tzinfo=timezone.utc), "0")


class Locked:
    """A repository with one lock, which restic cannot read within its bounds."""

    name = "web1"

    def __init__(self) -> None:
        self.limits: dict[str, Any] = {}
        self.looks = 1000
        self.moves = 0
        self.progress = self

    def objects(self, part: str) -> dict[str, S3Object]:
        self.looks -= 1
        return {LOCK.key: LOCK} if self.looks > 0 else {}

    def moved(self) -> None:
        self.moves += 1

    def note(self, findings: list[Finding], intro: str) -> None:
        stop_if_blocked(findings, intro)

    def view(self, objects: Any, **settings: Any) -> None:
        assert settings == {"locks": "live"}

    @contextmanager
    def served(self, view: None) -> Iterator[Locked]:
        yield self

    def run(self, args: list[str], **limits: Any) -> None:
        assert args == ["unlock"]
        self.limits = limits
        raise TooLargeError("restic unlock on web1 needed more memory and was ended.")


def test_locks_that_cannot_be_read_in_time_are_those_of_somebody_else() -> None:
    auditor = Locked()
    assert without_stale_locks(cast(Auditor, auditor), Survey()) == {LOCK.key: LOCK}
    assert 0 < auditor.limits["memory"] <= 512 << 20 and 0 < auditor.limits["timeout"] <= 300


def test_a_window_waits_for_others_in_vain_and_work_that_harms_no_backup_goes_on() -> None:
    slept: list[float] = []
    auditor = Locked()
    let_others_end(lambda: locks_there(cast(Auditor, auditor)), 0, slept.append)
    assert (slept, auditor.limits) == ([], {})
    with pytest.raises(AuditError, match=r"No window is opened for web1: .*other restic"):
        await_others(cast(Auditor, auditor), Survey(), 0, slept.append)
    assert slept == [] and auditor.limits


def test_others_that_end_are_waited_for() -> None:
    slept: list[float] = []
    auditor = Locked()
    auditor.looks = 3
    await_others(cast(Auditor, auditor), Survey(), 600, slept.append)
    assert (len(slept), auditor.moves) == (1, 1)


def test_restic_gets_half_of_the_least_that_a_control_group_allows(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/jobs.slice/one.service\n", encoding="ascii")
    (tmp_path / "jobs.slice" / "one.service").mkdir(parents=True)
    for folder, limit in ((".", "max"), ("jobs.slice", "8000"), ("jobs.slice/one.service", "4000")):
        (tmp_path / folder / "memory.max").write_text(f"{limit}\n", encoding="ascii")
    assert sorted(cgroup_limits(str(tmp_path), str(own))) == [4000, 8000]
    assert list(cgroup_limits(str(tmp_path), str(tmp_path / "none"))) == []
    assert half_of_memory() >= 512 << 20
