# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mistakes that a newcomer makes in types, values and names of settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._place_rules import machine
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._settings import (
    NEAR,
    converted,
    elsewhere,
    halves,
    in_own_words,
    misspelt,
    slips,
)
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._specs import playbook_options

ROLES = Path(__file__).resolve().parents[2] / "roles"
OPTIONS: dict[str, Any] = {
    name: option
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml"))
    for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values()
    for name, option in (entry.get("options") or {}).items()
}
OPTIONS.update(playbook_options("site"))


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("repository_grace", "7", "7d"),
        ("repository_grace", "7 days", "7d"),
        ("repository_record_dir", "records", "~/records"),
        ("repository_prefix", "../web1/", "web1/"),
        ("restic_version", "latest", "0.19.1"),
        ("repository_retention_time", "upload", "uploaded"),
        ("repository_max_age", "26h", "digits alone"),
        ("repository_fence_seconds", "1m", "digits alone"),
        ("repository_password", 12345678, "in quotes"),
        ("repository_retention", {"keep_dayly": 7}, "keep_daily"),
        ("repository_retention", {"daily": 7}, "keep_daily"),
        ("repository_retention", {"keep_daily": "seven"}, "digits alone"),
        ("repository_retention", {"keep_within": "2 weeks"}, "2d"),
        ("repository_retention", {"keep_daily": -5}, "-1 or more"),
        ("repository_retention", {}, "{keep_daily: 7}"),
        ("repository_retention", {"keep_daily": 0, "keep_last": "0"}, "{keep_daily: 7}"),
        ("repository_retention", 7, "{name: value}"),
        ("repository_fence", False, "in quotes, as one of auto, never"),
        ("repository_prefix", True, "in quotes"),
        ("repository_prefix", "True", "in quotes"),
        ("repository_jurisdiction", "EU", "write eu."),
        ("repository_jurisdiction", "europe", "one of default, eu, fedramp, us"),
        ("guard_jurisdictions", ["eu", "asia"], "one of default, eu, fedramp, us"),
        ("repository_location_hint", "WEUR", "write weur."),
        ("repository_location_hint", "Frankfurt", "one of apac, eeur"),
        ("repository_storage_class", "standard", "write Standard."),
        ("repository_storage_class", "cold", "one of Standard, InfrequentAccess"),
        ("repository_restic_path", "bin/restic", "from / on, or a name on the search path"),
        ("repository_restic_path", "restic ", "from / on, or a name on the search path"),
        ("repository_expected_paths", ["/etc", "srv"], "from / on"),
        ("report_mode", 644, "as in '0640'"),
        # What YAML makes of 0644.
        ("report_mode", 420, "as in '0640'"),
        ("report_mode", "420", "as in '0640'"),
        ("holdfast_serial", "ten", "as in 10"),
        ("holdfast_serial", [1, "200%"], "as in 10"),
        ("holdfast_serial", [0], "as in 10"),
        ("holdfast_serial", [True], "as in 10"),
        ("holdfast_max_fail_percentage", "none", "digits alone"),
        ("holdfast_max_fail_percentage", 101, "from 0 to 100"),
    ],
)
def test_mistakes_of_a_newcomer_are_refused(name: str, written: Any, meant: str) -> None:
    _result, problems = converted({name: written}, OPTIONS)
    assert len(problems) == 1 and ": write " in problems[0] and meant in problems[0], problems


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("repository_grace", "0"),
        ("repository_grace", "1y6m"),
        ("repository_record_dir", "~/.local/share/holdfast"),
        ("repository_record_dir", "/srv/my fleet"),
        ("repository_prefix", "web1"),
        ("repository_prefix", ""),
        ("restic_version", "0.19.1"),
        ("repository_retention", {"keep_within": "14d", "max_remove": "50%"}),
        ("repository_jurisdiction", "us"),
        ("repository_location_hint", ""),
        ("repository_restic_path", "restic"),
        ("repository_restic_path", "/opt/my tools/restic"),
        ("report_mode", "0644"),
        ("holdfast_serial", [1, "10%", "100%"]),
    ],
)
def test_what_is_meant_is_taken(name: str, written: Any) -> None:
    assert converted({name: written}, OPTIONS) == ({name: written}, [])


def test_a_node_is_a_host_of_the_inventory_or_this_machine() -> None:
    for name in ("localhost", "127.0.0.1", "node1", ""):
        machine(name, ["web1", "node1"])
    with pytest.raises(ValueError, match="no host of the inventory: write node1, or localhost"):
        machine("node-1", ["web1", "node1"])
    with pytest.raises(ValueError, match="no host of the inventory: write the name of one, or localhost"):
        machine("backup.example.com", ["web1", "node1"])


def test_names_and_pairs_that_are_set_by_half() -> None:
    known = {"backup_jobs", "restic_method", "holdfast_password"}
    roles = ["repository_", "restic_", "backup_"]
    assert elsewhere({"holdfast_jobs", "holdfast_method", "holdfast_password", "holdfast_x"}, known, roles) == {
        "holdfast_jobs": "backup_jobs", "holdfast_method": "restic_method",
    }  # fmt: skip
    assert halves({"holdfast_access_key_id"}) == [
        "holdfast_access_key_id is set and holdfast_secret_access_key is not: write both, or neither."
    ]
    assert halves({"holdfast_access_key_id", "holdfast_secret_access_key"}) == []


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


def test_a_sentence_names_what_a_person_has_written() -> None:
    template = "{{ holdfast_bucket | default('x') }}"
    written = {"repository_bucket": template, "backup_bucket": template, "holdfast_bucket": "My_Bucket"}
    said = ["repository_bucket is wrong.", "backup_bucket is wrong.", "backup_jobs is wrong."]
    assert in_own_words(said, written) == ["holdfast_bucket is wrong.", "backup_jobs is wrong."]
    del written["holdfast_bucket"]
    assert in_own_words(said, written) == said
