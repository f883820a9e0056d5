# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds, writes and starts the units of a managed host, and removes those that must go; runs on the host.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from .._common.errors import HoldfastError

# Where systemd notes when a persistent timer last fired (systemd.timer(5), Persistent=).
STAMPS = "/var/lib/systemd/timers"
PROPERTIES = ("Id", "ActiveState", "SubState", "UnitFileState", "NeedDaemonReload")
# A setting that is newer than a host's systemd is no mistake of a person.
_UNKNOWN = re.compile(r"Unknown (key|lvalue|section)")


class UnitsError(HoldfastError):
    """A unit could not be read, written, started or removed."""


def timers(names: Collection[str]) -> list[str]:
    """The names of timers among those of units."""
    return sorted(name for name in names if name.endswith(".timer"))


def stale(present: Collection[str], patterns: Collection[str], desired: Collection[str]) -> list[str]:
    """The names of unit files that match a pattern (`fnmatch`) and are not desired."""
    ours = {name for pattern in patterns for name in fnmatch.filter(present, pattern)}
    return sorted(ours - set(desired))


def calendar_timers(units: Mapping[str, str]) -> list[str]:
    """The timers that must always have a next run; a timer that runs once after a boot need not."""
    return [name for name in timers(units) if re.search(r"^OnCalendar=", units[name], re.MULTILINE)]


def complaints(said: str, folder: str) -> list[str]:
    """The complaints of `systemd-analyze verify` about unit files in a folder, with their names.

    systemd goes on without a setting that it does not understand: without a limit, or without a time at which to run.
    """
    found = re.findall(rf"^{re.escape(folder)}/([^:\n]+):[0-9]+: (.+)$", said, re.MULTILINE)
    return sorted({f"{name}: {text}" for name, text in found if not _UNKNOWN.match(text)})


def read(path: str) -> str:
    """The content of a file; empty when there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def remove(path: str) -> None:
    """Remove a file that may be gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


@dataclass(frozen=True)
class UnitState:
    """The state of a unit as systemd knows it.

    Attributes:
        outdated: Its file was changed after systemd had read it.
        elapsed: It is a timer without a next run.
    """

    active: bool
    enabled: bool
    outdated: bool
    elapsed: bool = False


class Systemctl:
    """systemd's command.

    Args:
        run: Runs a command (a list of words); its exit status, output and error output.
    """

    def __init__(self, run: Callable[[list[str]], tuple[int, str, str]]) -> None:
        self._run = run

    def do(self, verb: str, *words: str) -> str:
        """Call it; returns its output. Raises UnitsError when it does not succeed."""
        status, output, errors = self._run(["systemctl", verb, *words])
        if status != 0:
            reason = " ".join(errors.split()) or f"exit status {status}"
            raise UnitsError(f"systemctl {' '.join((verb, *words))} failed: {reason}")
        return output

    def states(self, names: Collection[str]) -> dict[str, UnitState]:
        """The states of units; units that systemd does not know are inactive."""
        found = {}
        # Of a template, systemd knows only the instances.
        asked = [name for name in names if "@." not in name]
        shown = self.do("show", f"--property={','.join(PROPERTIES)}", *asked) if asked else ""
        for block in shown.split("\n\n"):
            values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            found[values.get("Id", "")] = UnitState(
                active=values.get("ActiveState") in ("active", "activating", "reloading"),
                enabled=values.get("UnitFileState") == "enabled",
                outdated=values.get("NeedDaemonReload") == "yes",
                elapsed=values.get("SubState") == "elapsed",
            )
        return {name: found.get(name, UnitState(False, False, False)) for name in names}

    def forget_failures(self, names: Collection[str]) -> None:
        """Let units that are gone count as failed no more. Those that never failed are no failure here."""
        for name in names:
            # A template has failures only by its instances.
            self._run(["systemctl", "reset-failed", name.replace("@.", "@*.")])
