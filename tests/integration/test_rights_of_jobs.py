# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of the programs of a job get the capability that its unit has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_job_program import prepared
from tests.support.repositories import program

TELLS = """import sys
said = [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapAmb")]
print("heartbeat", *said, flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root gives capabilities away")
def test_the_right_to_read_every_file_goes_to_restic_alone(tmp_path: Path) -> None:
    """Neither to hooks, nor to the heartbeat, nor to what interprets them."""
    restic = program(tmp_path / "restic", 'echo "restic $(grep CapAmb /proc/self/status | cut -f2)" >&2')
    jobs = prepared(tmp_path, restic)
    hook = 'echo "hook $(grep CapAmb /proc/self/status | cut -f2)"'
    (tmp_path / "tells.py").write_text(TELLS)
    (tmp_path / "etc" / "heartbeat").write_text("http://127.0.0.1:9/JOB\n")
    jobs.write(
        {"name": "data", "paths": [str(tmp_path / "data")], "before": hook, "after": hook, "allow_empty": True},
        program=str(tmp_path / "tells.py"),
    )
    given = ["setpriv", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    done = subprocess.run(
        [*given, sys.executable, "-I", str(tmp_path / "holdfast-restic"), "--backup", "data"],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = sorted(line for line in (done.stdout + done.stderr).splitlines() if len(line.split()) == 2)
    nothing, reading = f"{0:016x}", f"{4:016x}"
    assert told == [*[f"heartbeat {nothing}"] * 2, *[f"hook {nothing}"] * 2, f"restic {reading}"], done
