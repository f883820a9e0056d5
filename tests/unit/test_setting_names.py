# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of settings as people write them: read, or refused with the name that was meant."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._near_names import NEAR, misspelt, slips, strangers
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._setting_names import NAMES
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._specs import all_options

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = all_options()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("holdfast_retenton", "holdfast_retention"),
        ("holdfast_acount_id", "holdfast_account_id"),
        ("holdfast_restore_jobs", "holdfast_restore_job"),
        # A part of a name: restore would take the newest of everything.
        ("holdfast_snapshot", "holdfast_restore_snapshot"),
        ("holdfast_include", "holdfast_restore_include"),
        ("holdfast_target", "holdfast_restore_target"),
        ("holdfast_restore_files", "holdfast_restore_include"),
        ("holdfast_restore_my_way", "holdfast_restore_confinement or holdfast_restore_exclude or"),
        ("holdfast_unlock_everything", "holdfast_unlock_parts or holdfast_unlock_reason or holdfast_unlock_seconds"),
        ("holdfast_retention_policy_of_mine", "holdfast_retention or holdfast_retention_time"),
        # What stands inside of another setting, without which a default would remove what was to stay.
        ("holdfast_keep_daily", "keep_daily in holdfast_retention or retention.keep_daily in backup_jobs"),
        ("holdfast_on_calendar", "guard_on_calendar or on_calendar in backup_jobs"),
        ("holdfast_jobs", "backup_jobs"),
        ("holdfast_method", "restic_method"),
        # Variables of the user's own, as in examples/awx.
        ("holdfast_secrets", ""),
        ("holdfast_", ""),
        ("retention", ""),
        ("hostname", ""),
        ("holdfast_retention", ""),
    ],
)
def test_names_that_are_no_settings_are_found_with_what_was_meant(written: str, meant: str) -> None:
    found = strangers([written], NAMES, OPTIONS)
    assert found.get(written, "").startswith(meant) and bool(found) == bool(meant)


def test_the_names_of_variables_are_those_that_are_read() -> None:
    files = [
        path for part in ("roles", "playbooks") for path in (ROOT / part).rglob("*") if path.suffix in (".yml", ".j2")
    ]
    # Not the Python modules of a role's program.
    variable = r"(?<!from )\bholdfast_[a-z0-9_]+\b(?!\.py\b)"
    read = {name for path in files for name in re.findall(variable, path.read_text(encoding="utf-8"))}
    assert sorted(read) == sorted(NAMES)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("restic_versoin", "restic_version"),
        ("restic_release_uri", "restic_release_url"),
        ("repository_retenton", "repository_retention"),
        ("repository_bukcet", "repository_bucket"),
        ("backup_job", "backup_jobs"),
        # What people may well call a variable of their own.
        ("restic_password_of_my_thing", None),
        ("restic_versions", None),
        ("restic_password", None),
        ("backup_dir", None),
        ("backup_server", None),
        ("backup_host", None),
        ("backup_path", None),
        ("repository_server", None),
        ("restic_backup_dir", None),
        ("report_email", None),
        ("repository_url", None),
    ],
)
def test_a_name_of_a_role_that_is_misspelt_is_refused_and_a_name_of_ones_own_is_not(
    written: str, meant: str | None
) -> None:
    roles = ("repository", "restic", "backup", "credentials", "guard", "report")
    assert meant is None or meant in OPTIONS
    found = slips(misspelt({written}, OPTIONS, tuple(f"{role}_" for role in roles), NEAR))
    assert found == ({written: meant} if meant else {})
