# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The units of jobs as they are rendered, with settings as people write them; systemd itself reads them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
from ansible.plugins.filter.core import FilterModule as Core
from ansible_collections.holdfast.restic_r2.plugins.filter.reports import unit_word
from ansible_collections.holdfast.restic_r2.plugins.module_utils._host_units import complaints

from tests.support.running import ROOT

TEMPLATES = ROOT / "roles" / "backup" / "templates"
STRANGE = """/srv/my files, "yours" it's 100% %i ü $HOME \\n"""
SET = {
    "command": "/bin/true", "library": "/usr/local/lib/my lib", "settings": "/etc/holdfast-jobs/100%/settings.json",
    "directory": "/etc/holdfast", "timeout": "12h", "user": "", "writable_paths": ["/var/dumps", STRANGE],
}  # fmt: skip


def rendered(name: str, **job: Any) -> str:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), trim_blocks=True)
    environment.filters.update({"holdfast.restic_r2.unit_word": unit_word, "comment": Core().filters()["comment"]})
    # Ansible's filters return lists.
    environment.filters["length"] = lambda found: len(list(found))
    environment.tests["match"] = lambda value, pattern: re.match(pattern, value) is not None
    return environment.get_template(name).render(
        job={"name": "home", **job}, ansible_managed="Ours.\nrm -r /nowhere", __backup_set=SET, __backup_asking=["home"],
        __backup_credentials=["s3"], credentials_written={"encrypted": False},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("/var/dumps", "/var/dumps"),
        ("/var/my dumps", '"/var/my dumps"'),
        ("/a%b", "/a%%b"),
        ('/a"b\\c', '"/a\\"b\\\\c"'),
        ("/ü", "/ü"),
        ("", '""'),
    ],
)
def test_words(text: str, word: str) -> None:
    assert unit_word(text) == word


def test_a_mark_of_several_lines_is_a_comment_in_every_file() -> None:
    for template in TEMPLATES.glob("*.j2"):
        for line in rendered(template.name).splitlines() if "ansible_managed" in template.read_text() else ():
            assert not line.startswith("rm "), template.name


def test_paths_with_blanks_and_other_characters_stay_one_path() -> None:
    unit = rendered("holdfast-backup.service.j2", paths=["/etc", STRANGE])
    word = unit_word(STRANGE)
    assert f"\nReadWritePaths={word}\n" in unit and f"\nRequiresMountsFor=/etc {word}\n" in unit
    assert "RequiresMountsFor" not in rendered("holdfast-backup.service.j2", command=["pg_dump"])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_takes_all_of_them(tmp_path: Path) -> None:
    job = {
        "paths": ["/etc", "/srv/100% mine"],
        "memory_max": "2G",
        "cpu_quota": "50%",
        "nice": 19,
        "on_calendar": "daily",
    }
    paths = []
    for kind in ("backup.service", "backup.timer"):
        paths.append(tmp_path / f"holdfast-{kind.replace('backup.', 'backup@home.')}")
        paths[-1].write_text(rendered(f"holdfast-{kind}.j2", **job))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, check=False
    )
    assert complaints(done.stderr, str(tmp_path)) == []
    paths[-1].write_text(rendered("holdfast-backup.timer.j2", on_calendar="dayly"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, check=False
    )
    assert len(complaints(done.stderr, str(tmp_path))) == 1
