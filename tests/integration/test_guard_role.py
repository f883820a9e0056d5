# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role that installs the guard, and what it installs, run as cron would."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import CloudflareLocks
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import open_window

from tests.stand_in.client import StandIn
from tests.support.running import Ansible, Run


def apply(ansible: Ansible, home: Path, variables: dict[str, Any], *arguments: str) -> Run:
    play = {"hosts": "localhost", "gather_facts": False, "roles": ["holdfast.restic_r2.guard"]}
    inventory = {"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}
    here = {
        "guard_directory": str(home / "etc"),
        "guard_command": str(home / "holdfast-relock"),
        "guard_owner": "",
        "guard_group": "",
        "guard_manage_systemd": False,
    }
    return ansible.playbook([play], inventory, *arguments, variables={**here, **variables})


@pytest.mark.sample(of="stories")
def test_installed_command_closes_what_is_overdue(ansible: Ansible, stand_in: StandIn, tmp_path: Path) -> None:
    cloudflare = CloudflareLocks(stand_in.api_token, stand_in.account_id, url=stand_in.api_url)
    cloudflare.create_bucket("backup-web1")
    rules = cloudflare.replace_lock_rules("backup-web1", lock_set(""))
    variables = {
        "guard_account_id": stand_in.account_id,
        "guard_api_token": stand_in.api_token,
        "guard_api_url": stand_in.api_url,
    }
    assert apply(ansible, tmp_path, {**variables, "guard_api_token": ""}).exit_code != 0
    first = apply(ansible, tmp_path, variables, "--diff")
    assert first.exit_code == 0, first.output
    assert first.changed and stand_in.api_token not in first.output
    assert apply(ansible, tmp_path, variables).changed == []
    assert (tmp_path / "etc" / "api_token").stat().st_mode & 0o777 == 0o600

    def guard(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(tmp_path / "holdfast-relock"), *arguments],
            env={name: value for name, value in ansible.environment().items() if name != "ANSIBLE_CONFIG"},
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )

    # Somebody else's folder: Ansible would read this, and fail.
    (tmp_path / "ansible.cfg").write_text("[defaults\n")
    quiet = guard()
    assert quiet.returncode == 0, quiet.stdout
    assert "backup-web1: all rules are in force." in quiet.stdout
    lease = cloudflare.server_time() - timedelta(seconds=5)
    opened = open_window(rules, "", ["data"], lease=lease, holder="0123456789abcdef")
    cloudflare.replace_lock_rules("backup-web1", opened)
    assert guard("--check").returncode != 0
    assert stand_in.rules("backup-web1") == opened
    acted = guard()
    assert acted.returncode != 0 and "closed: the repository of the bucket" in acted.stdout
    assert stand_in.api_token not in acted.stdout + acted.stderr
    assert stand_in.rules("backup-web1") == rules
    assert guard().returncode == 0

    gone = apply(ansible, tmp_path, {**variables, "guard_state": "absent"})
    assert gone.exit_code == 0 and not (tmp_path / "etc").exists() and not (tmp_path / "holdfast-relock").exists()
