# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A playbook shows where a maintenance is while it runs."""

from __future__ import annotations

import os

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.progress import places

from tests.support.maintenance import PREFIX, LockedRepository
from tests.support.running import COLLECTION
from tests.support.waiting import wait_for

CALLBACK = f"{COLLECTION}.progress"
WAITING = f"{PREFIX.rstrip('/')}: waiting for other restic processes, for "


@pytest.mark.long
@pytest.mark.parametrize("seconds", ["1", pytest.param("0", marks=pytest.mark.proof)])
def test_a_line_tells_where_a_maintenance_is(site: LockedRepository, seconds: str) -> None:
    bed = site.bed
    folder, output = bed.record_dir / bed.bucket / PREFIX, bed.home / "output"
    prune = {
        f"{COLLECTION}.restic_prune": {
            **bed.options, "record_dir": str(bed.record_dir), "keep_last": 1, "lock_wait": 600, "fence_seconds": 0,
        }
    }  # fmt: skip
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [prune]}]
    environment = {
        "ANSIBLE_CALLBACKS_ENABLED": f"record,{CALLBACK}",
        "HOLDFAST_RECORD_DIR": str(bed.record_dir),
        "HOLDFAST_PROGRESS_SECONDS": seconds,
    }
    os.mkfifo(pipe := bed.home / "pipe")
    backup = bed.restic.start(["backup", "--stdin-from-command", "cat", str(pipe)])
    bed.stand_in.wait_for_request(kind="PutObject", path=f".*/{PREFIX}locks/.*")
    process, _record = bed.ansible.start_playbook(play, "localhost,", environment=environment, stdout=output.open("w"))
    try:
        if seconds == "0":
            wait_for(lambda: "waiting for other restic processes" in [one.step for one in places(str(folder))])
        else:
            wait_for(lambda: WAITING in output.read_text(encoding="utf-8"))
    finally:
        os.close(os.open(pipe, os.O_WRONLY))
        backup.communicate(timeout=60)
        process.wait(60)
    said = output.read_text(encoding="utf-8")
    assert process.returncode == 0, said
    assert (WAITING in said) == (seconds == "1")
    assert places(str(folder)) == []
    site.assert_locked()
