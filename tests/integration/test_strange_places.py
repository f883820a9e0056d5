# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole story where every folder that a user may choose is called what users call folders, and worse."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.running import Ansible
from tests.support.waiting import happens
from tools.stage import stage

STRANGE = """it's "my" 100%s $x\\n ü"""


@pytest.mark.proof
def test_the_story_in_a_strange_place(stand_in: StandIn, restic_path: str, tmp_path: Path) -> None:
    top = tmp_path / STRANGE
    copy = stage(top / "checkout")
    # Ansible itself has a shell read this one.
    environment = {"TMPDIR": str(top / "t"), "ANSIBLE_REMOTE_TEMP": str(tmp_path / "my remote ü")}
    (top / "t").mkdir()
    ansible = Ansible(top / "ansible", environment, collections=copy.parents[2])
    fleet = Fleet(top / "fleet", stand_in, restic_path)
    (top / "scratch").mkdir()
    fleet.common.update(holdfast_scratch_dir=str(top / "scratch"), holdfast_report_dir=str(top / "report"))
    data = fleet.home("web1") / "data"
    (data / STRANGE).mkdir()
    (data / STRANGE / "file").write_text("kept\n")
    jobs = [{"name": "data", "paths": [f"{data}/{STRANGE}", str(data)], "exclude_files": [str(top / "patterns")]}]
    (top / "patterns").write_text("*.tmp\n")
    (data / "left.tmp").touch()
    fleet.common.update(backup_jobs=jobs, backup_writable_paths=[str(data)])

    def run(name: str, **variables: object) -> str:
        run = ansible.playbook(f"holdfast.restic_r2.{name}", fleet.inventory, variables=variables)
        assert run.exit_code == 0, run.output
        return run.output

    run("site")
    for _each in range(2):
        done = fleet.backup("web1")
        assert done.returncode == 0, done.stderr
    fleet.common["holdfast_retention"] = {"keep_last": 1}
    assert "removed 1 of 2 snapshots" in run("maintenance")
    run("verify")
    assert " data " in run("list")
    target = top / "restores" / STRANGE
    run(
        "restore",
        holdfast_restore_host="web1",
        holdfast_restore_target=str(target),
        holdfast_restore_roots=[str(top / "restores")],
        holdfast_restore_include=[f"{data}/{STRANGE}"],
    )
    found = target / data.relative_to("/") / STRANGE / "file"
    assert found.read_text() == "kept\n" and not (target / data.relative_to("/") / "hello").exists()
    assert (top / "report" / "index.html").exists()
    assert happens(lambda: not list((top / "t").iterdir())), "something was left behind"
