# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The project that AWX syncs, with the built collection on a collections path of its own."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "examples" / "awx"


def test_the_project_wants_this_version_of_the_collection() -> None:
    wanted = yaml.safe_load((PROJECT / "collections" / "requirements.yml").read_text(encoding="utf-8"))
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    assert wanted == {"collections": [{"name": "holdfast.restic_r2", "version": galaxy["version"]}]}


def test_every_playbook_of_the_collection_can_be_chosen_in_a_job_template() -> None:
    """All but preflight, which others import."""
    ours = {path.name for path in (ROOT / "playbooks").glob("*.yml")} - {"preflight.yml"}
    for name in sorted(ours):
        plays = yaml.safe_load((PROJECT / name).read_text(encoding="utf-8"))
        assert [play["ansible.builtin.import_playbook"] for play in plays] == [f"holdfast.restic_r2.{name[:-4]}"]
