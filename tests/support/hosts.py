# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of booted Debian hosts, from a test's point of view."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.running import ROOT

BED = ROOT / "tests" / "hosts" / "bed.sh"
BED_ADDRESS = "198.51.100.1"
CLONE_NEWNET = 0x40000000


def unusable() -> str:
    """Why no fleet can be booted here; empty when one can."""
    if os.geteuid() != 0:
        return "booting hosts needs root"
    if not Path("/etc/debian_version").exists():
        return "booting hosts needs Debian (its packages and its debootstrap)"
    return ""


@dataclass(frozen=True)
class Host:
    """One booted host."""

    fleet: BootedHosts
    name: str
    suite: str
    address: str

    @property
    def disk(self) -> Path:
        """What the host has written, seen from here; the rest of its files come from the image below."""
        return self.fleet.state / self.name / "disk"

    def ssh(self, command: str, *, stdin: str | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root; its end, whatever it is."""
        argv = ["ssh", "-F", str(self.fleet.state / "ssh_config"), "-o", "ConnectTimeout=10", self.name, command]
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout, **streams)

    def run(self, command: str, *, stdin: str | None = None, timeout: float = 120) -> str:
        """Run a shell command as root that must succeed; what it printed."""
        done = self.ssh(command, stdin=stdin, timeout=timeout)
        assert done.returncode == 0, f"{self.name}: {command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def write(self, path: str, content: str, mode: str = "0644") -> None:
        """Write a file."""
        quoted = shlex.quote(path)
        self.run(f"mkdir -p $(dirname {quoted}) && cat > {quoted} && chmod {mode} {quoted}", stdin=content)

    def await_success(self, command: str, timeout: int = 60) -> None:
        """Wait until a shell command succeeds."""
        loop = f"timeout {timeout} sh -c {shlex.quote(f'until {command}; do sleep 0.1; done')}"
        self.run(f"{loop} >/dev/null 2>&1 || {{ {command}; exit 1; }}", timeout=timeout + 60)

    def property_of(self, unit: str, name: str) -> str:
        """A property of a unit, as systemd tells it."""
        return self.run(f"systemctl show --value --property {name} {shlex.quote(unit)}")

    def journal(self, unit: str | None = None) -> str:
        """What a unit wrote since boot, or everything that the host's journal holds."""
        return self.run("journalctl --no-pager --output cat" + (f" -b -u {shlex.quote(unit)}" if unit else " --all"))

    def unplug(self) -> None:
        """Take the network cable out."""
        self.fleet.bed("unplug", self.name)

    def plug(self) -> None:
        """Put the network cable back."""
        self.fleet.bed("plug", self.name)

    def power_off(self) -> None:
        """Pull the power plug: nothing is written any more, nothing is shut down."""
        self.fleet.bed("off", self.name)

    def power_on(self) -> None:
        """Boot again with the same disk."""
        self.fleet.bed("on", self.name)

    def erase(self) -> None:
        """Put a new disk in: the host boots as bare as at first, with its name and its ssh keys."""
        self.power_off()
        kept = [self.disk / "etc" / name for name in ("hostname", "hosts", "ssh")]
        for path in [*self.disk.iterdir(), *(self.disk / "etc").iterdir()]:
            if path not in kept and path != self.disk / "etc":
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        self.power_on()

    def reboot(self) -> None:
        """Reboot in an orderly way, and wait until it has booted."""
        boot_id = "cat /proc/sys/kernel/random/boot_id"
        before, end = self.run(boot_id), time.monotonic() + 60
        self.ssh("systemctl reboot")
        while self.ssh(boot_id).stdout.strip() in ("", before):
            assert time.monotonic() < end, f"{self.name} does not come back from its reboot"
            time.sleep(0.1)
        self.fleet.bed("on", self.name)


class BootedHosts:
    """Hosts in a network of their own, into which this process can go."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.environment = {**os.environ, "BED_NAME": name}
        self.state = Path(self.bed("inventory")).parent
        self.hosts: dict[str, Host] = {}

    def bed(self, *arguments: str) -> str:
        """Call the script that boots hosts."""
        done = subprocess.run(
            [str(BED), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, f"bed {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def up(self, *suites: str) -> None:
        """Boot one host for each suite, from scratch."""
        self.bed("up", str(len(suites)), *suites)
        for line in self.bed("list").splitlines():
            name, suite, address, _power = line.split()
            self.hosts[name] = Host(self, name, suite, address)

    def down(self) -> None:
        """End all hosts."""
        self.bed("down")
        self.hosts.clear()

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """This process and those it starts are inside the hosts' network, which has no way out."""
        enter = ctypes.CDLL(None, use_errno=True).setns
        with open("/proc/self/ns/net", "rb") as outside, open(f"/run/netns/hf-{self.name}", "rb") as inside:
            assert enter(inside.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert enter(outside.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())

    def inventory(
        self, common: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]] | None = None, *, user: str = "root"
    ) -> dict[str, Any]:
        """An inventory of the hosts (all, unless some are named), with variables for all and for each."""
        connection = {
            "ansible_ssh_common_args": f"-F {self.state / 'ssh_config'}",
            "ansible_control_path_dir": str(self.state / "sockets"),
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_user": user,
        }
        chosen: Mapping[str, Mapping[str, Any]] = hosts if hosts is not None else {name: {} for name in self.hosts}
        members = {name: {**connection, **variables} for name, variables in chosen.items()}
        return {"all": {"vars": dict(common), "children": {"holdfast": {"hosts": members}}}}

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts.values())
