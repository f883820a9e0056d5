# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which units go, and what systemd's answers mean; the module itself is tested on booted hosts."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._hosts.units import (
    Systemctl,
    UnitsError,
    UnitState,
    stale,
)

PATTERNS = ["backup@*.service", "backup@*.timer"]


def test_only_units_of_ours_that_are_not_wanted_go() -> None:
    present = [
        "backup@a.timer",
        "backup@b.timer",
        "backup@b.service",
        "backup.timer",
        "my-backup@b.timer",
        "sshd.service",
    ]
    assert stale(present, PATTERNS, ["backup@a.timer"]) == ["backup@b.service", "backup@b.timer"]
    assert stale(present, [], []) == []


def test_what_systemd_tells_is_understood_and_templates_are_not_asked_for() -> None:
    asked: list[list[str]] = []

    def run(command: list[str]) -> tuple[int, str, str]:
        asked.append(command)
        blocks = [
            "Id=a.timer\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n",
            "Id=b.timer\nActiveState=inactive\nUnitFileState=disabled\nNeedDaemonReload=yes\n",
        ]
        return 0, "\n".join(blocks), ""

    states = Systemctl(run).states(["a.timer", "b.timer", "c.timer", "failed@.service"])
    assert states == {
        "a.timer": UnitState(active=True, enabled=True, outdated=False),
        "b.timer": UnitState(active=False, enabled=False, outdated=True),
        "c.timer": UnitState(active=False, enabled=False, outdated=False),
        "failed@.service": UnitState(active=False, enabled=False, outdated=False),
    }
    assert [word for command in asked for word in command if "@." in word] == []


def test_nothing_is_asked_without_units() -> None:
    assert Systemctl(lambda command: pytest.fail(str(command))).states(["failed@.service"]) == {
        "failed@.service": UnitState(active=False, enabled=False, outdated=False)
    }


def test_a_failure_is_told_in_one_sentence() -> None:
    systemctl = Systemctl(lambda command: (1, "", "Failed to enable unit:\n  bad setting.\n"))
    with pytest.raises(UnitsError) as told:
        systemctl.do("enable", "--now", "a.timer")
    assert str(told.value) == "systemctl enable --now a.timer failed: Failed to enable unit: bad setting."
