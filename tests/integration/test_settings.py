# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wrong settings are refused before anything is created or contacted."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.running import Ansible

SITE = "holdfast.restic_r2.site"


@pytest.fixture(name="fleet")
def fixture_fleet(tmp_path: Path, stand_in: StandIn, restic_path: str) -> Fleet:
    return Fleet(tmp_path / "fleet", stand_in, restic_path, ("web1", "web2"))


def rest_calls(fleet: Fleet) -> list[str]:
    return [request["path"] for request in fleet.stand_in.requests(0) if request["kind"] == "rest"]


@pytest.mark.long
def test_a_wrong_setting_of_the_last_role_is_refused_before_the_first_begins(ansible: Ansible, fleet: Fleet) -> None:
    jobs = deepcopy(fleet.common["backup_jobs"])
    fleet.inventory["holdfast"]["hosts"]["web3"] = {
        **fleet.new_host("web3"), "backup_jobs": jobs, "restic_versoin": "0.19.1", "restic_password_of_my_thing": "x",
    }  # fmt: skip
    fleet.common["backup_jobs"][0].update(paths="etc", timeout="12hrs", exclude_caches="flase")
    fleet.host("web2")["holdfast_retenton"] = {"keep_last": 1}
    run = ansible.playbook(SITE, fleet.inventory)
    assert run.exit_code == 2, run.output
    told = {result.host: result.result["msg"] for result in reversed(run.failed)}
    for wrong in ("paths has 'etc'", "timeout is '12hrs'", "exclude_caches is 'flase'"):
        assert f"web1: backup_jobs, job data: {wrong}" in told["web1"]
    assert told["web2"] == "web2: holdfast_retenton is no setting of holdfast.restic_r2: write holdfast_retention."
    assert told["web3"] == (
        "web3: restic_versoin is no setting of holdfast.restic_r2: write restic_version, or give a variable of your own another "
        "name."
    )
    assert rest_calls(fleet) == [] and not (fleet.home("web1") / "etc").exists()


@pytest.mark.long
def test_a_node_that_is_no_host_is_refused_by_name_before_anything_is_asked(ansible: Ansible, fleet: Fleet) -> None:
    fleet.host("web1").update(holdfast_node="nosuchhost", holdfast_jurisdiction="EU")
    fleet.host("web2").update(holdfast_prefix=True, holdfast_restic_path="bin/restic")
    run = ansible.playbook(SITE, fleet.inventory)
    assert run.exit_code == 2, run.output
    told = {result.host: result.result["msg"] for result in reversed(run.failed)}
    assert told["web1"] == (
        "web1: holdfast_node is 'nosuchhost', which is no host of the inventory: write the name of one, or localhost."
    )
    run = ansible.playbook(SITE, fleet.inventory, "--limit", "web2")
    told = "\n".join(result.result["msg"] for result in run.failed)
    assert "web2: holdfast_prefix is " in told and "web2: holdfast_restic_path is 'bin/restic'" in told
    assert rest_calls(fleet) == []

    run = ansible.playbook(SITE, fleet.inventory, environment={"ANSIBLE_REMOTE_TEMP": str(fleet.folder / "it's")})
    (failed,) = run.failed
    assert "remote_tmp (ansible_remote_tmp, ANSIBLE_REMOTE_TEMP) is " in failed.result["msg"]

    run = ansible.playbook(SITE, fleet.inventory, variables={"holdfast_serial": "ten"})
    (failed,) = run.failed
    assert "holdfast_serial has 'ten': write how many hosts, as in 10" in failed.result["msg"]


@pytest.mark.long
def test_two_hosts_with_one_repository_are_refused_also_outside_of_the_limit(ansible: Ansible, fleet: Fleet) -> None:
    fleet.inventory["holdfast"]["hosts"]["WEB.1"] = {**fleet.host("web1")}
    fleet.inventory["holdfast"]["hosts"]["web-1"] = {
        **fleet.host("web1"),
        "holdfast_bucket": "{{ 'Backup-web-1' | lower }}",
    }
    run = ansible.playbook(SITE, fleet.inventory, "--limit", "web-1")
    assert run.exit_code == 2, run.output
    assert (
        run.failed[0].result["msg"].startswith("WEB.1, web-1 would share one repository (bucket backup-web-1): write ")
    )
    assert rest_calls(fleet) == []


def one_more(*values: Any) -> Any:
    """A case that `make proof` has in addition."""
    return pytest.param(*values, marks=pytest.mark.proof)


ONE = {"holdfast_restore_host": "web1", "holdfast_restore_target": "/var/lib/holdfast/restores/web1"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("playbook", "written", "told"),
    [
        (
            "restore",
            {**ONE, "holdfast_restore_include": {"path": "/etc"}},
            "holdfast_restore_include is a mapping: write a",
        ),
        one_more("restore", {**ONE, "holdfast_snapshot": "0123abcd"}, "holdfast_snapshot is no setting of"),
        one_more(
            "restore", {**ONE, "holdfast_restore_target": "/srv/web1"}, "holdfast_restore_target is '/srv/web1', which"
        ),
        ("maintenance", {"holdfast_keep_daily": "seven"}, "holdfast_keep_daily is no setting of"),
        one_more(
            "maintenance", {"holdfast_retention": {"keep_daily": "seven"}}, "holdfast_retention.keep_daily is 'seven'"
        ),
        one_more("verify", {"holdfast_max_age": "26h"}, "holdfast_max_age is '26h' and no number: write digits alone."),
        one_more("drill", {"holdfast_drill_bytes": "1 GB"}, "holdfast_drill_bytes is '1 GB', which is no size"),
        one_more(
            "list", {"holdfast_list_most": "all"}, "holdfast_list_most is 'all' and no number: write digits alone."
        ),
        one_more(
            "rotate", {"holdfast_manage_tokens": "jein"}, "holdfast_manage_tokens is 'jein': write true or false."
        ),
        one_more("unlock", {"holdfast_unlock_seconds": "2h"}, "holdfast_unlock_seconds is '2h' and no number: write"),
        one_more("recover", {"holdfast_recover": "frezze"}, "holdfast_recover is 'frezze': write freeze."),
        # It would count as not set, and the default would come in its place.
        ("verify", {"holdfast_record_dir": "{{ nowhere }}/records"}, "holdfast_record_dir cannot be evaluated"),
        one_more("site", {"holdfast_bucket": "{{ nowhere }}"}, "holdfast_bucket cannot be evaluated"),
        one_more("check", {"holdfast_read_within": "{{ nowhere.days }}d"}, "holdfast_read_within cannot be evaluated"),
    ],
)
def test_every_playbook_refuses_in_the_words_of_the_person(
    ansible: Ansible, fleet: Fleet, playbook: str, written: dict[str, Any], told: str
) -> None:
    """Ansible's own validation would come later, in several lines, with names that nobody has written."""
    run = ansible.playbook(f"holdfast.restic_r2.{playbook}", fleet.inventory, "--limit", "web1", variables=written)
    assert run.exit_code == 2, run.output
    msg = run.failed[0].result["msg"]
    assert msg.startswith(f"web1: {told}") and "\n" not in msg, msg
    assert rest_calls(fleet) == []


def test_a_misspelt_setting_holds_up_no_guard_and_is_told(ansible: Ansible, fleet: Fleet) -> None:
    given = {name: fleet.common[name] for name in ("holdfast_account_id", "holdfast_api_token", "holdfast_api_url")}
    settings = {**given, "holdfast_relock_forse": True}
    run = ansible.playbook("holdfast.restic_r2.relock", fleet.inventory, variables=settings)
    (failed,) = run.failed
    assert (
        "holdfast_relock_forse is no setting of holdfast.restic_r2: write holdfast_relock_force."
        in failed.result["msg"]
    )
    assert any(path.endswith("/r2/buckets") for path in rest_calls(fleet))


def test_restore_asks_for_host_and_target(ansible: Ansible, fleet: Fleet) -> None:
    run = ansible.playbook("holdfast.restic_r2.restore", fleet.inventory)
    assert run.exit_code == 2
    assert "Name one host" in run.output
