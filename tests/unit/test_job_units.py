# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which units the jobs of a host have, and what the lookup makes of the templates."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.lookup import job_units
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._job_units import OF_HOST, runs_commands, units_of

from tests.support.running import ROOT

TEMPLATES = ROOT / "roles" / "backup" / "templates"
FILES: dict[str, Any] = {"name": "files", "paths": ["/etc"]}
DUMP: dict[str, Any] = {"name": "dump", "command": ["pg_dumpall"]}


@pytest.mark.parametrize(
    ("job", "runs"),
    [
        (FILES, False),
        (DUMP, True),
        ({**FILES, "before": "sync"}, True),
        ({**FILES, "after": "sync"}, True),
        ({**FILES, "before": "", "after": None, "command": []}, False),
    ],
)
def test_a_job_with_a_command_or_a_hook_runs_commands(job: dict[str, Any], runs: bool) -> None:
    assert runs_commands(job) is runs


def test_each_job_has_its_units_and_the_host_has_some_once() -> None:
    units = units_of([FILES, DUMP])
    assert [unit.name for unit in units] == [
        *OF_HOST,
        "holdfast-backup@files.service", "holdfast-backup@files.timer",
        "holdfast-backup@dump.service", "holdfast-backup@dump.timer",
        "holdfast-user-dump.socket", "holdfast-user-dump@.service",
    ]  # fmt: skip
    assert [unit.job for unit in units if "dump" in unit.name] == [DUMP] * 4
    assert all((TEMPLATES / unit.template).is_file() for unit in units)
    assert [unit.name for unit in units_of([])] == list(OF_HOST)


class Template:
    """In the place of Ansible's lookup of templates, which finds filters of collections in a run of Ansible only."""

    def run(self, terms: list[str], variables: Any, template_vars: dict[str, Any]) -> list[str]:
        assert variables == {"known": "here"}
        return [f"{name} of {template_vars['job'].get('name')}" for name in terms]


def test_the_lookup_writes_each_unit_for_its_own_job(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(job_units.lookup_loader, "get", lambda name, **_more: asked.append(name) or Template())
    (found,) = job_units.LookupModule().run([[FILES, DUMP]], variables={"known": "here"})
    assert asked == ["ansible.builtin.template"]
    assert list(found) == [unit.name for unit in units_of([FILES, DUMP])]
    assert found["holdfast-backup@files.timer"] == "holdfast-backup.timer.j2 of files"
    assert found["holdfast-user-dump@.service"] == "holdfast-user.service.j2 of dump"
    assert found["holdfast-backup-resume.timer"] == "holdfast-backup-resume.timer.j2 of None"
