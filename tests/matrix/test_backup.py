# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host's backup begins at each request of a maintenance run, which is held meanwhile: both succeed.

While maintenance prepares, the backup ends before the request goes on. While restic's exclusive lock is in the bucket, it
waits for the end of the commit, and no longer.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.matrix.fault import LONGEST
from tests.matrix.fault_cases import AGENTS, Step
from tests.matrix.scene import Case, PreparedBucket
from tests.matrix.test_fault import found
from tests.support.waiting import wait_for

# An undisturbed run has no more of them.
ATTEMPTS = 3


def steps(config: pytest.Config) -> list[tuple[Step, bool]]:
    """All that write or delete, and the first of each kind of pure read; whether that comes before restic's lock."""
    kinds: set[tuple[str, ...]] = set()
    chosen, before = [], True
    for step in found(config):
        if not step.pure or step.kind_of_read not in kinds:
            chosen.append((step, before))
        kinds.add(step.kind_of_read)
        before = before and not (step.method == "PUT" and "/locks/" in step.address)
    assert not before, "there is no lock"
    return chosen


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # Without --proof nothing of this runs, and the requests need not be found.
    rows = steps(metafunc.config) if metafunc.config.getoption("--proof") else []
    metafunc.parametrize(("step", "prepares"), rows, ids=[str(step) for step, _prepares in rows])


@contextmanager
def held(case: Case, step: Step) -> Iterator[bool]:
    """Maintenance, which stands still at this request inside the block; whether it came so far."""
    stand_in, bucket = case.bed.stand_in, case.bed.bucket
    stand_in.fault(**step.fault("held", bucket))
    process = case.start_module(lock_wait=120)
    try:
        wait_for(lambda: process.wait(0) is not None or step.is_in(stand_in.requests(case.since), bucket), str(step))
        yield process.wait(0) is None
        stand_in.clear_faults()
        process.wait(LONGEST)
    finally:
        stand_in.clear_faults()
        process.send_signal(signal.SIGKILL)


def begin(case: Case) -> subprocess.Popen[str]:
    """Back up what was not there before."""
    files = case.bed.home / "files"
    files.mkdir()
    (files / "new").write_text(case.bed.bucket, encoding="utf-8")
    return case.bed.restic.start(["backup", "--json", "--no-cache", "--retry-lock=5m", str(files)])


def await_look(case: Case, backup: subprocess.Popen[str]) -> None:
    """Until the backup, whose restic is the only one there, has read a lock, or has ended."""
    folder = f"/{case.bed.bucket}/locks/"

    def looked() -> bool:
        return any(
            entry["kind"] == "GetObject"
            and entry["path"].startswith(folder)
            and re.match(AGENTS["restic"], entry["agent"])
            for entry in case.bed.stand_in.requests(case.since)
        )

    wait_for(lambda: backup.poll() is not None or looked(), "the backup looks at the lock")


@pytest.mark.proof
def test_backup_that_begins_at_any_request_succeeds(step: Step, prepares: bool, template: PreparedBucket) -> None:
    for _attempt in range(ATTEMPTS):
        case = template.copy()
        with held(case, step) as came:
            if came:
                kept_out = bool(case.restic_locks())
                assert not (kept_out and prepares)
                backup = begin(case)
                if not kept_out:
                    output, errors = backup.communicate(timeout=LONGEST)
                else:
                    # It has found the lock, or that was gone by then: what is held need not be what keeps the lock.
                    await_look(case, backup)
        if came:
            break
    else:
        pytest.skip("what was to be held did not come")
    if kept_out:
        output, errors = backup.communicate(timeout=LONGEST)
    result = json.loads(case.told())
    assert "failed" not in result and len(result["removed"]) == 2, result
    assert backup.returncode == 0, errors
    made = json.loads(output.splitlines()[-1])["snapshot_id"]
    assert {snapshot["id"] for snapshot in case.bed.restic.snapshots()} == {case.newest, made}
    assert case.locked() and not case.restic_locks() and not case.lost()
