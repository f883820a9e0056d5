# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""host_units with a systemctl that answers as systemd does where things went wrong before; the real one is on booted hosts."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import Ansible

# What it knows of each unit is in a file; a unit that it never loaded cannot be stopped, as with systemd.
SYSTEMCTL = """#!/bin/sh
cd "$(dirname "$0")"
echo "$@" >>calls
verb=$1; shift
for unit; do
  case $unit in -*) continue ;; esac
  case $verb in
    show) printf 'Id=%s\\n' "$unit"; cat "$unit.state" 2>/dev/null || echo ActiveState=inactive; echo ;;
    stop) [ -e "$unit.state" ] || { echo "Failed to stop $unit: Unit $unit not loaded." >&2; exit 5; } ;;
    disable) [ "$unit" != --now ] || exit 5 ;;
    restart) printf 'ActiveState=active\\nSubState=%s\\nUnitFileState=enabled\\n' "$(cat becomes)" >"$unit.state" ;;
  esac
done
"""
TIMER = "[Timer]\nOnCalendar={}\n\n[Install]\nWantedBy=timers.target\n"
RUNS = "ActiveState=active\nSubState=waiting\nUnitFileState=enabled\n"
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")


class Machine:
    """A folder of units, and a systemctl."""

    def __init__(self, ansible: Ansible, home: Path) -> None:
        self._ansible, self._bin, self.units = ansible, home / "bin", home / "units"
        for folder in (self._bin, self.units):
            folder.mkdir()
        (self._bin / "systemctl").write_text(SYSTEMCTL)
        (self._bin / "systemctl").chmod(0o755)
        self.restarted_becomes("waiting")

    def knows(self, unit: str, state: str, content: str) -> None:
        (self.units / unit).write_text(content)
        (self._bin / f"{unit}.state").write_text(state)

    def restarted_becomes(self, state: str) -> None:
        (self._bin / "becomes").write_text(state)

    def keep(self, check_mode: bool = False, **units: str) -> dict[str, Any]:
        path = os.pathsep.join([str(self._bin), os.environ["PATH"]])
        named = {name.replace("_", "."): content for name, content in units.items()}
        return self._ansible.module(
            "host_units", environment={"PATH": path}, check_mode=check_mode, directory=str(self.units), units=named,
            owned=["*.timer", "*.service"],
        )  # fmt: skip

    def calls(self) -> list[str]:
        return [call for call in (self._bin / "calls").read_text().splitlines() if not call.startswith("show")]


@pytest.fixture
def machine(ansible: Ansible, tmp_path: Path) -> Machine:
    return Machine(ansible, tmp_path)


@pytest.mark.parametrize("state", [RUNS, RUNS.replace("waiting", "elapsed")])
def test_a_timer_that_changed_is_restarted(machine: Machine, state: str) -> None:
    machine.knows("a.timer", state, TIMER.format("weekly"))
    done = machine.keep(a_timer=TIMER.format("daily"))
    assert done["started"] == ["a.timer"], done
    assert machine.calls() == ["daemon-reload", "restart a.timer"]
    again = machine.keep(a_timer=TIMER.format("daily"))
    assert again["changed"] is False, json.dumps(again)


def test_a_timer_that_stands_still_is_restarted_and_one_that_will_never_run_is_a_failure(machine: Machine) -> None:
    machine.knows("a.timer", RUNS.replace("waiting", "elapsed"), TIMER.format("*-02-30"))
    os.chmod(machine.units / "a.timer", 0o644)
    assert machine.keep(a_timer=TIMER.format("*-02-30"), check_mode=True)["started"] == ["a.timer"]
    machine.restarted_becomes("elapsed")
    failed = machine.keep(a_timer=TIMER.format("*-02-30"))
    assert failed["failed"] and "a.timer would never run again" in failed["msg"]


def test_what_runs_once_after_a_boot_needs_no_next_run(machine: Machine) -> None:
    text = "[Timer]\nOnBootSec=2min\n"
    machine.knows("a.timer", RUNS.replace("waiting", "elapsed"), text)
    assert machine.keep(a_timer=text).get("failed") is None


def test_a_unit_that_systemd_never_loaded_goes_too(machine: Machine) -> None:
    (machine.units / "gone.timer").write_text(TIMER.format("dayly"))
    machine.knows("old.timer", RUNS, TIMER.format("daily"))
    done = machine.keep()
    assert done["removed"] == ["gone.timer", "old.timer"], done
    assert machine.calls()[:2] == ["stop old.timer", "disable gone.timer old.timer"]
    assert list(machine.units.iterdir()) == []


@needs_systemd
@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a_timer", TIMER.format("dayly"), "a.timer: Failed to parse calendar"),
        ("a_service", "[Service]\nExecStart=/bin/true\nMemoryMax=2GB\n", "a.service: Invalid memory limit"),
    ],
)
def test_units_that_systemd_would_take_in_part_are_not_written(
    machine: Machine, name: str, content: str, told: str
) -> None:
    machine.knows("b.timer", RUNS, TIMER.format("daily"))
    for check_mode in (True, False):
        failed = machine.keep(check_mode, **{name: content, "b_timer": TIMER.format("weekly")})
        assert failed["failed"] and told in failed["msg"] and "/" not in failed["msg"]
    assert [path.name for path in machine.units.iterdir()] == ["b.timer"]
    assert (machine.units / "b.timer").read_text() == TIMER.format("daily")
