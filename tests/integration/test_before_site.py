# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What playbooks say and do where `site` was not run yet, or cannot do its work: nothing is made, and one sentence is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._tables import TOLD

from tests.integration.test_journal_of_runs import lines
from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.receiver import receiver
from tests.support.repositories import old, program
from tests.support.running import Ansible

SYSTEMD = Path("/run/systemd/system").exists()


def one_more(*values: Any) -> Any:
    """A case that `make proof` has in addition."""
    return pytest.param(*values, marks=pytest.mark.proof)


@pytest.fixture(name="fleet")
def fixture_fleet(tmp_path: Path, stand_in: StandIn, restic_path: str) -> Fleet:
    return Fleet(tmp_path / "fleet", stand_in, restic_path, ("web1",))


def written(stand_in: StandIn, since: int) -> list[dict[str, Any]]:
    """What was sent to change something."""
    return [one for one in stand_in.requests(since) if one["method"] not in ("GET", "HEAD")]


@pytest.mark.sample(of="stories")
@pytest.mark.parametrize(
    ("playbook", "more"),
    [
        ("verify", {}),
        ("check", {}),
        one_more("drill", {}),
        ("rotate", {}),
        one_more("maintenance", {}),
        one_more("refresh", {"holdfast_temporary_credentials": True}),
        one_more(
            "restore", {"holdfast_restore_host": "web1", "holdfast_restore_target": "/var/lib/holdfast/restores/web1"}
        ),
        one_more("unlock", {"holdfast_unlock_parts": ["keys"], "holdfast_unlock_reason": "a test"}),
        one_more("recover", {"holdfast_recover": "judge"}),
        one_more("recover", {"holdfast_recover": "freeze"}),
        one_more("recover", {"holdfast_recover": "thaw"}),
    ],
)
def test_before_site_every_playbook_says_so(
    ansible: Ansible, fleet: Fleet, playbook: str, more: dict[str, Any]
) -> None:
    since = fleet.stand_in.last_request()
    run = ansible.playbook(f"holdfast.restic_r2.{playbook}", fleet.inventory, variables=more)
    assert run.exit_code != 0
    assert "run site first" in run.output.lower()
    # By one task: neither the table nor what fails below it says the same again.
    shown = [*run.failed, *run.of(task="Show the table")]
    telling = [one.task for one in shown if "run site first" in json.dumps(one.result).lower()]
    assert len(telling) == 1, run.output
    assert written(fleet.stand_in, since) == []


@pytest.mark.sample(of="stories")
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"holdfast_restic_path": "old"}, "The maintenance node needs restic 0.19.0 or later, but"),
        ({"holdfast_password": "seven77"}, "holdfast_password has fewer than 8 characters: write a longer one"),
        one_more({"holdfast_node_python": "bare"}, "boto3 is not installed for the Python that runs this module"),
        one_more({"restic_file": "/nowhere/restic"}, "/nowhere/restic is no file on the controller"),
        (
            {"restic_method": "upstream", "restic_release_url": "http://127.0.0.1:9/releases"},
            "http://127.0.0.1:9/releases",
        ),
        # Where systemd runs, as on a developer's machine, this would provision that machine.
        *(
            []
            if SYSTEMD
            else [({"backup_manage_systemd": True}, "has no systemd that runs: set backup_manage_systemd to false")]
        ),
    ],
)
def test_what_site_lacks_is_told_before_anything_is_made(
    ansible: Ansible, fleet: Fleet, tmp_path: Path, restic_path: str, settings: dict[str, Any], told: str
) -> None:
    made = {"old": lambda: old(tmp_path, restic_path), "bare": lambda: without_boto3(tmp_path)}
    settings = {name: made.get(str(value), lambda value=value: value)() for name, value in settings.items()}
    fleet.common["restic_controller_cache"] = str(tmp_path / "cache")
    fleet.inventory["holdfast"]["hosts"]["web1"].update(settings)
    since, records = fleet.stand_in.last_request(), fleet.folder / "records"
    with receiver() as service:
        fleet.common["holdfast_heartbeat"] = f"http://127.0.0.1:{service.port}/RUN"
        run = ansible.playbook(
            "holdfast.restic_r2.site", fleet.inventory, environment={"ANSIBLE_ANY_ERRORS_FATAL": "1"}
        )
    assert run.exit_code == 2, run.output
    failed, ended = run.failed
    assert told in failed.result["msg"] and "\n" not in failed.result["msg"]
    assert ended.result["msg"] == "web1 is not well: see its line in the table."
    # Also where all hosts failed: table, next command, journal, and the service that waits to hear of it.
    ((_head, row, following),) = (one.result["msg"] for one in run.of(task="Show the table"))
    assert row.split(maxsplit=2) == ["web1", "FAILED", TOLD] and following.endswith("restic_r2.site -l web1.")
    (line,) = lines(records)
    assert (line["run"], line["result"]) == ("site", "failed") and told in line["text"]
    (begun, _body), (end, body) = service.heard
    assert begun == f"/site/start?rid={line['id']}" and end == f"/site/fail?rid={line['id']}" and told in body
    assert written(fleet.stand_in, since) == []
    assert list(fleet.home("web1").glob("bin/*")) == [] and not [one for one in records.iterdir() if one.is_dir()]


def without_boto3(folder: Path) -> str:
    """A Python of the node in which boto3 cannot be imported."""
    (folder / "none" / "boto3").mkdir(parents=True)
    (folder / "none" / "boto3" / "__init__.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    return program(folder / "python", f"PYTHONPATH='{folder / 'none'}' exec '{sys.executable}' \"$@\"")


@pytest.mark.sample(of="stories")
def test_site_ends_with_a_table_and_goes_on_for_hosts_with_other_tokens(ansible: Ansible, fleet: Fleet) -> None:
    """One token is asked once for its id; a second host with another one must not sign with that id."""
    other = fleet.stand_in.create_token("another")
    fleet.inventory["holdfast"]["hosts"]["web2"] = {**fleet.new_host("web2"), "holdfast_api_token": other["value"]}
    fleet.inventory["holdfast"]["hosts"]["web3"] = {**fleet.new_host("web3"), "restic_file": "/nowhere/restic"}
    gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    fleet.inventory["holdfast"]["hosts"]["web4"] = {**fleet.new_host("web4"), **gone}
    run = ansible.playbook("holdfast.restic_r2.site", fleet.inventory, environment={"ANSIBLE_ANY_ERRORS_FATAL": "1"})
    assert (run.exit_code, {failed.host for failed in run.failed}) == (2, {"web3", "web4"}), run.output
    assert not [one for one in fleet.stand_in.requests() if "backup-web4" in one["path"]]
    (table,) = (result.result["msg"] for result in run.of(task="Show the table"))
    rows = {row.split()[0]: row.split(maxsplit=2)[1:] for row in table[1:]}
    assert rows["web1"] == ["ok", "ready, bucket backup-web1, jobs data"] and rows["web2"][0] == "ok"
    assert rows["web3"] == rows["web4"] == ["FAILED", TOLD]
    assert table[-1].split()[:2] == ["-", "next"] and "ansible-playbook holdfast.restic_r2.verify" in table[-1]
    assert "ansible-playbook holdfast.restic_r2.site -l web3,web4." in table[-1]
    assert {line["host"]: line["result"] for line in lines(fleet.folder / "records")} == {
        "web1": "ok", "web2": "ok", "web3": "failed", "web4": "failed"
    }  # fmt: skip
