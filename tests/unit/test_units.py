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
from ansible_collections.holdfast.restic_r2.plugins.filter.filters import FilterModule
from ansible_collections.holdfast.restic_r2.plugins.module_utils._hosts.units import complaints

from tests.support.running import ROOT

unit_word = FilterModule().filters()["unit_word"]
TEMPLATES = ROOT / "roles" / "backup" / "templates"
STRANGE = """/srv/my files, "yours" it's 100% %i ü $HOME \\n"""
SET = {
    "command": "/bin/true", "library": "/usr/local/lib/my lib", "settings": "/etc/holdfast-jobs/100%/settings.json",
    "directory": "/etc/holdfast", "timeout": "12h", "user": "", "writable_paths": ["/var/dumps", STRANGE],
}  # fmt: skip


def rendered(name: str, **job: Any) -> str:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), trim_blocks=True)
    environment.filters.update({f"holdfast.restic_r2.{name}": one for name, one in FilterModule().filters().items()})
    environment.filters["comment"] = Core().filters()["comment"]
    # Ansible's filters return lists.
    environment.filters["length"] = lambda found: len(list(found))
    environment.tests["match"] = lambda value, pattern: re.match(pattern, value) is not None
    return environment.get_template(name).render(
        job={"name": "home", **job}, ansible_managed="Ours.\nrm -r /nowhere", __backup_set=SET,
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


@pytest.mark.parametrize(
    ("job", "restic", "commands"),
    [
        ({"paths": ["/etc"]}, False, False),
        ({"paths": ["/etc", "/root/.ssh"]}, True, True),
        ({"paths": ["/home/"]}, True, True),
        ({"paths": ["/"]}, True, True),
        ({"paths": ["/srv/home", "/rootfs", "/run/lock"]}, False, False),
        ({"command": ["mysqldump", "--defaults-file=/root/.my.cnf"]}, False, True),
        ({"command": ["sh", "-c", "PGPASSFILE=~/.pgpass pg_dumpall"]}, False, True),
        ({"command": ["sh", "-c", "cat ${HOME}/dump"]}, False, True),
        ({"command": ["sh", "-c", "cat /srv/home/a~b ~- /srv/root /rootfs"]}, False, False),
        ({"paths": ["/srv"], "before": "cp /home/web/db.sql /srv"}, False, True),
        ({"paths": ["/srv"], "after": "touch ~web/done"}, False, True),
        ({"paths": ["/srv"], "before": "dump", "open_homes": True}, False, True),
    ],
)
def test_homes_are_open_to_what_names_them(job: dict[str, Any], restic: bool, commands: bool) -> None:
    for template, opened in (("holdfast-backup.service.j2", restic), ("holdfast-user.service.j2", commands)):
        assert f"\nProtectHome={'read-only' if opened else 'true'}\n" in rendered(template, **job), template


def test_homes_are_open_to_commands_that_write_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SET, "writable_paths", ["/home/dumps"])
    assert "\nProtectHome=read-only\n" in rendered("holdfast-user.service.j2", command=["dump"])
    assert "\nProtectHome=true\n" in rendered("holdfast-backup.service.j2", command=["dump"])


def test_temporary_folders_are_the_real_ones_for_a_job_that_backs_them_up() -> None:
    for path, private in (("/", "false"), ("/var/tmp/x", "false"), ("/srv", "true")):
        assert f"\nPrivateTmp={private}\n" in rendered("holdfast-backup.service.j2", paths=[path])
