# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks, run as a user runs them, with the real restic, against the stand-in."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.running import Ansible, Run
from tests.support.waiting import happens

SITE, MAINTENANCE, VERIFY, RELOCK, RESTORE, LIST = (
    f"holdfast.restic_r2.{name}" for name in ("site", "maintenance", "verify", "relock", "restore", "list")
)


@pytest.fixture(name="fleet")
def fixture_fleet(tmp_path: Path, stand_in: StandIn, restic_path: str) -> Fleet:
    return Fleet(tmp_path / "fleet", stand_in, restic_path, ("web1", "web2"))


def site(ansible: Ansible, fleet: Fleet, *arguments: str) -> Run:
    run = ansible.playbook(SITE, fleet.inventory, *arguments)
    assert run.exit_code == 0, run.output
    return run


def rest_calls(fleet: Fleet, since: int = 0) -> list[tuple[str, str]]:
    requests = fleet.stand_in.requests(since)
    return [(request["method"], request["path"]) for request in requests if request["kind"] == "rest"]


@pytest.mark.proof
def test_site_from_nothing_to_a_backup_and_again(ansible: Ansible, fleet: Fleet) -> None:
    first = site(ansible, fleet, "-vvv", "--diff")
    assert first.changed and no_secret(fleet, first)
    for name in ("web1", "web2"):
        assert {rule["prefix"] for rule in fleet.stand_in.rules(f"backup-{name}")} == {
            "config", "data/", "index/", "keys/", "snapshots/"
        }  # fmt: skip
        done = fleet.backup(name)
        assert done.returncode == 0, done.stderr

    since = fleet.stand_in.last_request()
    second = site(ansible, fleet)
    assert second.changed == []
    calls = rest_calls(fleet, since)
    assert {call[0] for call in calls} == {"GET"}
    for name in ("web1", "web2"):
        assert len([path for method, path in calls if f"/backup-{name}/" in path]) == 2, calls
    assert len(calls) == 2 * 2 + 2, calls
    # All that was tried in the buckets could not succeed: that is how the locks were proved, by the host's own keys.
    tried = [one for one in fleet.stand_in.requests(since) if one["kind"] == "PutObject"]
    assert {(one["key_id"], one["status"]) for one in tried} == {
        (fleet.host(name)["holdfast_access_key_id"], 409) for name in ("web1", "web2")
    }


@pytest.mark.proof
def test_site_fails_where_the_locks_are_not_in_force(ansible: Ansible, fleet: Fleet) -> None:
    fleet.stand_in.settings(lock_delay=4.0)
    site(ansible, fleet, "--limit", "web1")
    fleet.stand_in.settings(lock_delay=10.0**6)
    fleet.common["holdfast_probe_wait"] = 1
    run = ansible.playbook(SITE, fleet.inventory, "--limit", "web2")
    failed, _ended = run.failed
    assert failed.host == "web2" and failed.result["msg"] == (
        "The locks of backup-web2/ are not in force: config open, data/ missing, index/ missing, "
        "keys/ open, snapshots/ missing. Look at the rules, and do not back up into it until they are."
    )
    assert not (fleet.home("web2") / "etc" / "s3").exists(), "the host has keys for what is not locked"


@pytest.mark.sample(of="stories")
def test_dry_run_on_nothing_predicts(ansible: Ansible, fleet: Fleet) -> None:
    run = site(ansible, fleet, "--check", "--diff")
    assert run.of(action="holdfast.restic_r2.r2_bucket", host="web1")[0].changed
    assert {call[0] for call in rest_calls(fleet)} == {"GET"}
    assert not (fleet.home("web1") / "etc").exists()


def no_secret(fleet: Fleet, run: Run) -> bool:
    return not [secret for secret in fleet.secrets if secret in run.output]


@pytest.mark.proof
def test_no_secret_in_the_most_talkative_output(ansible: Ansible, fleet: Fleet) -> None:
    assert no_secret(fleet, site(ansible, fleet, "-vvv", "--diff"))
    assert no_secret(fleet, ansible.playbook(MAINTENANCE, fleet.inventory, "-vvv", "--diff"))
    assert no_secret(fleet, ansible.playbook(VERIFY, fleet.inventory, "-vvv", "--diff"))


@pytest.fixture(name="made", scope="module")
def fixture_made(tmp_path_factory: pytest.TempPathFactory, restic_path: str) -> Fleet:
    """A fleet with four backups of each host. Making it takes longest, so it is made once; its stand-in has ended."""
    home = tmp_path_factory.mktemp("made")
    with StandIn.start(home / "now" / "data") as stand_in:
        fleet = Fleet(home / "now" / "fleet", stand_in, restic_path, ("web1", "web2"))
        site(Ansible(home / "ansible"), fleet)
        for number in range(4):
            for name in ("web1", "web2"):
                fleet.fill(name, number)
                assert fleet.backup(name).returncode == 0
    (home / "now").rename(home / "pristine")
    return fleet


@pytest.fixture(name="history")
def fixture_history(made: Fleet) -> Iterator[Fleet]:
    """That fleet, as it was made and where it was made; of its backups retention keeps fewer."""
    now, fleet = made.folder.parent, copy.copy(made)
    shutil.rmtree(now, ignore_errors=True)
    shutil.copytree(now.parent / "pristine", now, symlinks=True)
    fleet.inventory = copy.deepcopy(made.inventory)
    fleet.common["holdfast_retention"] = {"keep_last": 1}
    with again(made.stand_in, now / "data") as fleet.stand_in:
        yield fleet


def again(ended: StandIn, data: Path) -> StandIn:
    """A stand-in that has ended, at the same port, which the hosts know."""
    found: list[StandIn] = []

    def start() -> bool:
        try:
            found.append(StandIn.start(data, port=urlsplit(ended.url).port or 0))
        except RuntimeError:
            return False  # somebody else has the port for a moment
        return True

    assert happens(start)
    return found[0]


def snapshots(fleet: Fleet, name: str) -> int:
    return len([key for key in fleet.stand_in.objects(f"backup-{name}") if key.startswith("snapshots/")])


def locked(fleet: Fleet) -> bool:
    rules = [rule for name in ("web1", "web2") for rule in fleet.stand_in.rules(f"backup-{name}")]
    return len(rules) == 10 and all(rule["enabled"] for rule in rules)


def table(run: Run) -> dict[str, str]:
    """The rows of the table at the end: host to state; "-" to a note, as of a journal that was not written."""
    rows = run.of(task="Show the table")[-1].result["msg"][1:]
    return {row.split()[0]: row.split()[1] for row in rows}


def said(run: Run, name: str) -> str:
    """What the table says of a host."""
    rows = run.of(task="Show the table")[-1].result["msg"][1:]
    return str(next(row.split(maxsplit=2)[2] for row in rows if row.split()[0] == name))


def maintain(ansible: Ansible, fleet: Fleet, *arguments: str) -> Run:
    run = ansible.playbook(MAINTENANCE, fleet.inventory, *arguments)
    assert locked(fleet)
    assert "Traceback" not in run.output
    return run


@pytest.mark.proof
def test_maintenance_of_a_fleet(ansible: Ansible, history: Fleet) -> None:
    for name in ("web1", "web2"):
        # A closed port: whoever contacts the host fails.
        history.host(name).update(ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=9)
    since = history.stand_in.last_request()

    dry = maintain(ansible, history, "--check")
    assert dry.exit_code == 0, dry.output
    assert {call[0] for call in rest_calls(history, since)} == {"GET"}
    assert (snapshots(history, "web1"), snapshots(history, "web2")) == (4, 4)
    assert re.fullmatch(r"would remove 3 of 4 snapshots:( \w{8} of 20[-\d]{8} [:\d]{5},?){3}", said(dry, "web1"))
    slips_in_the_retention_delete_nothing(ansible, history)

    # The failure of one repository is told, stops no other, and unlocks none.
    password = history.host("web1").pop("holdfast_password")
    for wrong in ({"holdfast_password": "wrong"}, {}):
        history.host("web1").pop("holdfast_password", None)
        history.host("web1").update(wrong)
        failing = maintain(ansible, history)
        assert failing.exit_code == 2
        assert table(failing) == {"web1": "FAILED", "web2": "ok"}
        assert (snapshots(history, "web1"), snapshots(history, "web2")) == (4, 1)

    history.host("web1")["holdfast_password"] = password
    limited = maintain(ansible, history, "--limit", "web1", "-vvv", "--diff")
    assert limited.exit_code == 0 and no_secret(history, limited), limited.output
    assert table(limited) == {"web1": "ok"}
    assert re.fullmatch(r"removed 3 of 4 snapshots, [0-9.]+ MiB freed, unlocked for [0-9.]+ s", said(limited, "web1"))
    assert snapshots(history, "web1") == 1
    assert maintain(ansible, history).changed == []


def slips_in_the_retention_delete_nothing(ansible: Ansible, fleet: Fleet) -> None:
    rightly = fleet.common["holdfast_retention"]
    before = fleet.stand_in.objects("backup-web1")
    for slip, told in ({"keep_last": 1, "keep_weeekly": 5}, "keep_weeekly"), ({"keep_daily": "seven"}, "keep_daily"):
        fleet.common["holdfast_retention"] = slip
        run = maintain(ansible, fleet)
        assert run.exit_code == 2
        assert told in run.output
        assert table(run) == {"web1": "FAILED", "web2": "FAILED"}
        assert fleet.stand_in.objects("backup-web1") == before
    fleet.common["holdfast_retention"] = rightly


@pytest.mark.sample
@pytest.mark.parametrize(
    "switches",
    [
        ["--tags", "nothing"],
        ["--skip-tags", "nothing"],
        ["--start-at-task", "Show the table"],
        ["-e", "holdfast_hosts=nobody"],
        ["--limit", "other"],
    ],
    ids=["tags", "skip-tags", "start-at-task", "no-hosts", "limit-without-repository"],
)
def test_run_that_would_do_nothing_is_not_green(ansible: Ansible, fleet: Fleet, switches: list[str]) -> None:
    fleet.inventory["others"] = {"hosts": {"other": {}}}
    run = ansible.playbook(MAINTENANCE, fleet.inventory, *switches)
    assert run.exit_code != 0, run.output
    assert rest_calls(fleet) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("playbook", "switches", "told"),
    [
        ("relock", ["--tags", "nothing"], "leave out --tags"),
        ("relock", ["--limit", "web1"], "choose hosts of localhost"),
        ("restore", ["-e", "holdfast_restore_host=web9", "-e", "holdfast_restore_target=/nowhere"], "hosts of web9"),
        ("recover", ["--limit", "other", "-e", "holdfast_recover=freeze"], "choose hosts of holdfast"),
        ("recover", ["--limit", "web1", "-e", "holdfast_recover=freeze", "--tags", "nothing"], "leave out --tags"),
        ("unlock", ["--limit", "other"], "choose hosts of holdfast"),
        ("unlock", ["-e", "holdfast_hosts=nobody"], "put hosts into the group holdfast"),
    ],
)
def test_neither_guard_nor_recovery_is_green_without_doing_anything(
    ansible: Ansible, fleet: Fleet, playbook: str, switches: list[str], told: str
) -> None:
    fleet.inventory["others"] = {"hosts": {"other": {}}}
    run = ansible.playbook(f"holdfast.restic_r2.{playbook}", fleet.inventory, *switches, variables=fleet.common)
    assert run.exit_code != 0, run.output
    assert told in run.output
    assert rest_calls(fleet) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("lost", "told"),
    [("backup_jobs", "has no backup_jobs"), ("holdfast_access_key_id", "holdfast_access_key_id")],
)
def test_variable_whose_name_was_mistyped_is_missed(ansible: Ansible, fleet: Fleet, lost: str, told: str) -> None:
    for scope in (fleet.common, fleet.host("web1")):
        if lost in scope:
            scope[f"{lost}_mistyped"] = scope.pop(lost)
    run = ansible.playbook(SITE, fleet.inventory, "--limit", "web1")
    assert run.exit_code == 2, run.output
    assert told in run.output
    assert not [path for method, path in rest_calls(fleet) if method == "POST" and path.endswith("/tokens")]


@pytest.mark.proof
def test_node_that_cannot_be_reached_is_told(ansible: Ansible, fleet: Fleet) -> None:
    fleet.inventory["nodes"] = {"hosts": {"node": {"ansible_host": "127.0.0.1", "ansible_port": 9}}}
    fleet.host("web1")["holdfast_node"] = "node"
    site_run = ansible.playbook(SITE, fleet.inventory, "--limit", "web2")
    assert site_run.exit_code == 0, site_run.output
    assert fleet.backup("web2").returncode == 0
    run = ansible.playbook(MAINTENANCE, fleet.inventory)
    assert run.exit_code != 0
    assert table(run) == {"web1": "FAILED", "web2": "ok", "-": "note"}, run.output


@pytest.mark.proof
def test_verify_tells_well_from_ill_and_relock_closes(ansible: Ansible, history: Fleet) -> None:
    since = history.stand_in.last_request()
    run = ansible.playbook(VERIFY, history.inventory, "-vvv", "--diff")
    assert run.exit_code == 0 and no_secret(history, run), run.output
    assert table(run) == {"web1": "ok", "web2": "ok"}
    assert run.changed == []
    assert {call[0] for call in rest_calls(history, since)} == {"GET"}

    # Fresh, but of somebody else: the host makes no backups.
    history.common["holdfast_expected_hosts"] = ["web2"]
    run = ansible.playbook(VERIFY, history.inventory)
    assert table(run) == {"web1": "FAILED", "web2": "ok"}, run.output
    assert "Job data has no snapshot." in "\n".join(run.of(task="Show the table")[-1].result["msg"])
    del history.common["holdfast_expected_hosts"]

    rules = history.stand_in.rules("backup-web1")
    set_rules(history, "web1", [{**rule, "enabled": not rule["id"].endswith("data")} for rule in rules])
    for key in history.stand_in.objects("backup-web2"):
        if key.startswith("snapshots/"):
            history.stand_in.set_upload_time("backup-web2", key, "2026-01-01T00:00:00Z")
    run = ansible.playbook(VERIFY, history.inventory)
    assert run.exit_code == 2
    assert table(run) == {"web1": "FAILED", "web2": "FAILED"}
    rows = "\n".join(run.of(task="Show the table")[-1].result["msg"])
    assert "Unlocked: data" in rows
    assert "The newest snapshot of job data was uploaded" in rows

    run = ansible.playbook(RELOCK, history.inventory, variables=history.common)
    assert run.exit_code == 0, run.output
    told = run.of(task="Tell what was found")[0].result["msg"]
    assert len(told) == 3 and told[0].startswith("Looked at 2 buckets in the jurisdictions default, ")
    assert locked(history)
    assert ansible.playbook(RELOCK, history.inventory, variables=history.common).changed == []


def set_rules(fleet: Fleet, name: str, rules: list[dict[str, object]]) -> None:
    import requests

    url = f"{fleet.stand_in.api_url}/accounts/{fleet.stand_in.account_id}/r2/buckets/backup-{name}/lock"
    headers = {"Authorization": f"Bearer {fleet.stand_in.api_token}"}
    requests.put(url, json={"rules": rules}, headers=headers, timeout=30).raise_for_status()


@pytest.mark.sample(of="stories")
def test_restore_on_the_node_and_on_a_host(ansible: Ansible, history: Fleet, tmp_path: Path) -> None:
    data = history.home("web1") / "data"
    for onto in ("", "web2"):
        target = tmp_path / f"back{onto}"
        variables = {
            "holdfast_restore_host": "web1", "holdfast_restore_target": str(target), "holdfast_restore_to": onto,
            "holdfast_restore_roots": [str(tmp_path)], "holdfast_restore_to_others": True,
        }  # fmt: skip
        start, run = history.stand_in.last_request(), ansible.playbook(RESTORE, history.inventory, variables=variables)
        noted = [one.result.get("noted") for one in run.of(task="Note that it")]
        assert run.exit_code == 0 and noted.count(True) == 2 * bool(onto), run.output
        for name in ("hello", "blob"):
            assert (target / data.relative_to("/") / name).read_bytes() == (data / name).read_bytes()
        # Neither the node nor another host has any use for the host's own keys.
        used = {request["key_id"] for request in history.stand_in.requests(start) if request["bucket"] == "backup-web1"}
        assert used - {None} and history.host("web1")["holdfast_access_key_id"] not in used


@pytest.mark.sample(of="stories")
def test_what_can_be_restored_is_listed(ansible: Ansible, history: Fleet) -> None:
    start = history.stand_in.last_request()
    run = ansible.playbook(LIST, history.inventory, "--limit", "web1")
    assert run.exit_code == 0, run.output
    rows = run.of(task="Show what can be restored")[-1].result["msg"]
    stored = {key[10:18] for key in history.stand_in.objects("backup-web1") if key.startswith("snapshots/")}
    assert {row.split()[2] for row in rows} == {"ID", *stored} and len(rows) == 5
    assert {tuple(row.split()[:2]) for row in rows[1:]} == {("web1", "data")} and rows[1].endswith("iB")
    assert {one["method"] for one in history.stand_in.requests(start) if one["bucket"]} <= {"GET", "HEAD"}


@pytest.mark.sample(of="stories")
def test_a_restore_stays_where_it_may_be(ansible: Ansible, fleet: Fleet, tmp_path: Path) -> None:
    variables = {"holdfast_restore_host": "web1", "holdfast_restore_target": str(tmp_path / "back")}
    for more, sentence in (
        ({"holdfast_restore_to": "web2"}, "restored on this host or on the maintenance node"),
        (
            {"holdfast_restore_to": "elsewhere", "holdfast_restore_to_others": True},
            "restored on this host or on the maintenance",
        ),
        ({"holdfast_restore_job": "daat"}, "'daat', which is no job of this host: write data."),
    ):
        run = ansible.playbook(RESTORE, fleet.inventory, variables={**variables, **more})
        assert run.exit_code == 2 and sentence in run.output, run.output
    assert not (tmp_path / "back").exists()


@pytest.mark.proof
def test_two_hosts_share_a_bucket(ansible: Ansible, fleet: Fleet) -> None:
    token = fleet.stand_in.create_token("shared", bucket="shared")
    for name in ("web1", "web2"):
        fleet.host(name).update(
            holdfast_bucket="shared",
            holdfast_prefix=name,
            holdfast_access_key_id=token["access_key_id"],
            holdfast_secret_access_key=token["secret_access_key"],
        )
    site(ansible, fleet)
    assert [fleet.backup(name).returncode for name in ("web1", "web2")] == [0, 0]
    run = ansible.playbook(MAINTENANCE, fleet.inventory)
    assert run.exit_code == 0, run.output
    assert len(fleet.stand_in.rules("shared")) == 10
    assert all(rule["enabled"] for rule in fleet.stand_in.rules("shared"))
    assert site(ansible, fleet).changed == []
