# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many hosts, of which only the repositories are there: one is made, and copied where the stand-in keeps its data."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from tests.stand_in.client import StandIn
from tests.support import restic
from tests.support.quick_restic import quick_restic
from tests.support.repositories import PASSWORD, Bed
from tests.support.running import COLLECTION, Ansible

SNAPSHOTS = 3
# When the old ones were uploaded, and a time that they claim, which is before that in every time zone.
_OLD, _OLD_CLAIM = "2026-01-01T00:00:00Z", "2025-12-31 06:00:00"


def host_name(number: int) -> str:
    return f"web{number:04}"


def bucket_of(number: int) -> str:
    return f"backup-{host_name(number)}"


def account(stand_in: StandIn) -> dict[str, Any]:
    """What relock, which has no inventory, needs to know."""
    return {
        "holdfast_account_id": stand_in.account_id,
        "holdfast_api_token": stand_in.api_token,
        "holdfast_api_url": stand_in.api_url,
    }


def variables(stand_in: StandIn, home: Path) -> dict[str, Any]:
    """What all hosts have in common; the retention keeps one snapshot of SNAPSHOTS."""
    return {
        **account(stand_in),
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "holdfast_s3_endpoint": stand_in.s3_endpoint,
        "holdfast_record_dir": str(home / "records"),
        "holdfast_cache_dir": str(home / "cache"),
        "holdfast_restic_path": restic_path(),
        "holdfast_password": PASSWORD,
        # Copies would share one token, and a fence would disable it for all.
        "holdfast_manage_tokens": False,
        "holdfast_retention": {"keep_last": 1, "max_remove": "100%"},
        "holdfast_grace": "0",
        "holdfast_max_age": 10**6,
        # As the snapshots of the template say, which all of them have.
        "holdfast_expected_hosts": ["web1"],
        "backup_jobs": [{"name": "files", "paths": [str(home / "files")]}],
    }


def restic_path() -> str:
    return restic.required()


def inventory_of(names: list[str], common: dict[str, Any]) -> dict[str, Any]:
    """An inventory of these names, which may be ranges."""
    return {"holdfast": {"hosts": dict.fromkeys(names), "vars": common}}


def make_hosts(home: Path, hosts: int, *, quick: bool = True) -> tuple[str, str]:
    """Repositories for so many hosts in home/data, with their records in home/records; account id and API token.

    Args:
        home: An empty folder.
        hosts: How many.
        quick: Whether their keys open in a moment, instead of what restic takes for that.
    """
    with StandIn.start(home / "data") as stand_in:
        _make_template(stand_in, home, quick_restic(home / "bin", restic_path()) if quick else restic_path())
    _copy_template(home, hosts)
    return stand_in.account_id, stand_in.api_token


def _make_template(stand_in: StandIn, home: Path, program: str) -> None:
    """One repository with some snapshots, of which retention keeps the last, made by the role itself."""
    ansible = Ansible(home / "template")
    play = {"hosts": "holdfast", "gather_facts": False, "roles": [f"{COLLECTION}.repository"]}
    common = {**variables(stand_in, home), "holdfast_restic_path": program}
    run = ansible.playbook([play], inventory_of(["template"], common))
    assert run.exit_code == 0, run.output
    bed = Bed(stand_in, ansible, restic_path(), home, bucket="backup-template")
    files = home / "files"
    files.mkdir()
    for number in range(SNAPSHOTS):
        for path in files.iterdir():
            path.unlink()
        (files / f"{number}").write_bytes(os.urandom(2000))
        newest = bed.backup(files, *([] if number == SNAPSHOTS - 1 else [f"--time={_OLD_CLAIM}"]))
    for key in stand_in.objects(bed.bucket):
        if key.startswith("snapshots/") and newest not in key:
            stand_in.set_upload_time(bed.bucket, key, _OLD)


def _copy_template(home: Path, hosts: int) -> None:
    """The files of the template under the name of every host's bucket; then the template goes."""
    buckets, objects = home / "data" / "buckets" / "default", home / "data" / "objects" / "default"
    bucket = json.loads((buckets / "backup-template.json").read_text(encoding="utf-8"))
    record = json.loads((home / "records" / "backup-template" / "record.json").read_text(encoding="utf-8"))
    for number in range(1, hosts + 1):
        name = bucket_of(number)
        (buckets / f"{name}.json").write_text(json.dumps({**bucket, "name": name}), encoding="utf-8")
        shutil.copytree(objects / "backup-template", objects / name)
        shutil.copytree(home / "records" / "backup-template", home / "records" / name)
        text = json.dumps({**record, "bucket": name})
        (home / "records" / name / "record.json").write_text(text, encoding="utf-8")
    (buckets / "backup-template.json").unlink()
    shutil.rmtree(objects / "backup-template")
