# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bed itself: nothing stays behind, whatever happened, and nothing gets out."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts import BED, BootedHosts, unusable

pytestmark = pytest.mark.hosts


@pytest.fixture
def bed() -> Iterator[BootedHosts]:
    """A bed of its own, in which nothing is up yet."""
    if unusable():
        pytest.skip(unusable())
    found = BootedHosts(f"b{os.getpid() % 100000}")
    yield found
    found.down()


def left(bed: BootedHosts) -> list[str]:
    """Everything on this machine that carries the bed's name."""
    name = f"hf-{bed.name}"
    found = [path for place in ("/run/netns", "/run/systemd/nspawn/propagate") for path in Path(place).glob(f"{name}*")]
    found += list(Path("/sys/fs/cgroup").glob(f"**/{name}"))
    found += [bed.state] if bed.state.exists() else []
    mounts = [
        line for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines() if str(bed.state) in line
    ]
    processes = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            processes += [str(process)] if f"--machine={name}".encode() in process.read_bytes() else []
        except OSError:
            continue
    return [str(path) for path in found] + mounts + processes


@pytest.mark.proof
def test_nothing_stays_and_it_works_again(bed: BootedHosts) -> None:
    for _time in range(2):
        bed.up("trixie")
        assert left(bed) != []
        assert bed.hosts["h1"].run("systemctl is-system-running") == "running"
        # The way to the rest of the world is refused at once, not after a time-out.
        outside = bed.hosts["h1"].ssh("timeout 5 bash -c '</dev/tcp/192.0.2.1/80'")
        assert outside.returncode == 1 and "unreachable" in outside.stderr
        bed.down()
        assert left(bed) == []


@pytest.mark.proof
def test_nothing_stays_after_it_was_killed(bed: BootedHosts) -> None:
    with subprocess.Popen([str(BED), "up", "1", "trixie"], env=bed.environment, stderr=subprocess.DEVNULL) as boot:
        end = time.monotonic() + 600
        while not Path(f"/run/netns/hf-{bed.name}-h1").exists():
            assert time.monotonic() < end and boot.poll() is None
            time.sleep(0.01)
        boot.kill()
    assert left(bed) != []
    bed.down()
    assert left(bed) == []
