# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mistakes that a newcomer makes in types, values and names of settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._place_rules import machine, remote_folder
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._settings import (
    contradictions,
    converted,
    halves,
    in_own_words,
)
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._specs import playbook_options

ROLES = Path(__file__).resolve().parents[2] / "roles"
OPTIONS: dict[str, Any] = {
    name: option
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml"))
    for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values()
    for name, option in (entry.get("options") or {}).items()
}
OPTIONS.update({**playbook_options("site"), **playbook_options("relock")})


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
        ("repository_max_age", -26, "0 or more"),
        ("repository_retention", {"keep_daily": 7, "max_remove": "half"}, "as in 50%"),
        ("repository_unlock_seconds", "1h", "digits alone"),
        ("repository_unlock_seconds", -900, "from 10 to 14400"),
        ("repository_restore_seconds", 60, "from 240 to 604140"),
        ("repository_temporary_valid", 30 * 86400, "from 900 to 604800"),
        ("repository_restore_snapshot", "newest", "write latest, or in quotes the id"),
        ("repository_restore_snapshot", 1234, "write latest, or in quotes the id"),
        ("repository_restore_target", "restored", "~/restored"),
        ("repository_restore_include", ["*.conf"], "holdfast_restore_include_patterns"),
        ("repository_restore_include", {"path": "/etc"}, "a list, as in [one, two]"),
        ("repository_restore_paths", "etc", "from / on"),
        ("repository_drill_bytes", "1 GB", "write 1G."),
        ("repository_orphan_buckets", "backup-[", "as in ^backup-"),
        ("repository_notify", "ops@example.com", "as in mailtos://"),
        ("repository_remove_stored_since", "yesterday", "as in '2026-11-24T03:00:00Z'"),
        ("repository_token_expires_on", "2027", "as in '2026-11-24T03:00:00Z'"),
        ("repository_token_allowed_addresses", ["192.0.2.7/8"], "192.0.2.0/24"),
        ("restic_path", "bin/restic", "from / on"),
        ("restic_checksums", {"amd64": "abc"}, "64 hexadecimal digits"),
        ("restic_release_fingerprint", "CF8F 18F2", "40 hexadecimal digits"),
        ("holdfast_relock_wait", -1, "0 or more"),
        ("holdfast_relock_force", "ja", "true or false"),
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
        ("repository_restore_snapshot", "latest"),
        ("repository_restore_snapshot", "0123abcd"),
        ("repository_restore_include", ["/srv/*.conf"]),
        ("repository_remove_stored_since", "2026-11-24T03:00:00+00:00"),
        ("repository_token_allowed_addresses", ["192.0.2.7", "192.0.2.0/24", "2001:db8::/32"]),
    ],
)
def test_what_is_meant_is_taken(name: str, written: Any) -> None:
    assert converted({name: written}, OPTIONS) == ({name: written}, [])


def test_a_restore_goes_below_its_roots() -> None:
    def told(target: str, *roots: str) -> list[str]:
        return contradictions({"repository_restore_target": target, "repository_restore_roots": list(roots)})

    assert told("/srv/restores/web1", "/mnt", "/srv/restores") == told("/any", "/") == told("/any") == []
    # Which folder a home is, only the machine knows.
    assert told("~/restores", "/srv") == told("/root/restores", "~/restores") == []
    for outside in ("/srv/restores2", "/srv/restores/../web1", "/tmp/web1"):
        (problem,) = told(outside, "/srv/restores")
        assert problem.endswith(
            "which is in none of the roots: write a folder below /srv/restores, or set holdfast_restore_roots."
        )


def test_a_node_is_a_host_of_the_inventory_or_this_machine() -> None:
    for name in ("localhost", "127.0.0.1", "node1", ""):
        machine(name, ["web1", "node1"])
    with pytest.raises(ValueError, match="no host of the inventory: write node1, or localhost"):
        machine("node-1", ["web1", "node1"])
    with pytest.raises(ValueError, match="no host of the inventory: write the name of one, or localhost"):
        machine("backup.example.com", ["web1", "node1"])


def test_a_folder_for_the_shell_of_ansible() -> None:
    for name in ("~/.ansible/tmp", "/srv/my tmp ä 100%", "$HOME/tmp", "${XDG_RUNTIME_DIR}/ansible", ""):
        remote_folder(name)
    for name in (
        "/srv/it's",
        '/srv/"my"',
        "/srv/$x",
        "/srv/a\\b",
        "/srv/`id`",
        "/srv/a  b",
        "/srv/tmp ",
        "/srv/[a]",
        "$HOME/$x",
    ):
        with pytest.raises(
            ValueError, match=r"a shell read that otherwise: write a folder without .*, as in ~/\.ansible/tmp"
        ):
            remote_folder(name)


def test_pairs_that_are_set_by_half() -> None:
    assert halves({"holdfast_access_key_id"}) == [
        "holdfast_access_key_id is set and holdfast_secret_access_key is not: write both, or neither."
    ]
    assert halves({"holdfast_access_key_id", "holdfast_secret_access_key"}) == []


def test_a_sentence_names_what_a_person_has_written() -> None:
    template = "{{ holdfast_bucket | default('x') }}"
    written = {"repository_bucket": template, "backup_bucket": template, "holdfast_bucket": "My_Bucket"}
    said = ["repository_bucket is wrong.", "backup_bucket is wrong.", "backup_jobs is wrong."]
    assert in_own_words(said, written) == ["holdfast_bucket is wrong.", "backup_jobs is wrong."]
    del written["holdfast_bucket"]
    assert in_own_words(said, written) == said
