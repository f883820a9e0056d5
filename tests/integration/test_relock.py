# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard as a module, against the stand-in."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.mutex import KEY
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import CloudflareLocks
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import open_window
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.journal import RunJournal

from tests.stand_in.client import StandIn
from tests.support.running import Ansible

HOLDER = "0123456789abcdef"
FOREIGN = {"id": "logs", "enabled": False, "prefix": "logs/", "condition": {"type": "Age", "maxAgeSeconds": 86400}}


@pytest.fixture
def cloudflare(stand_in: StandIn) -> CloudflareLocks:
    return CloudflareLocks(stand_in.api_token, stand_in.account_id, url=stand_in.api_url, retry_timeout=5)


class Guard:
    """Runs the module with the stand-in's account."""

    def __init__(self, ansible: Ansible, stand_in: StandIn) -> None:
        self.ansible = ansible
        self.account = {
            "account_id": stand_in.account_id,
            "api_token": stand_in.api_token,
            "api_url": stand_in.api_url,
            "s3_endpoint": stand_in.s3_endpoint,
        }

    def __call__(self, **arguments: Any) -> dict[str, Any]:
        return self.ansible.module("r2_bucket_relock", **{**self.account, **arguments})


@pytest.fixture
def guard(ansible: Ansible, stand_in: StandIn) -> Guard:
    return Guard(ansible, stand_in)


def make_bucket(cloudflare: CloudflareLocks, name: str, *prefixes: str) -> list[dict[str, Any]]:
    cloudflare.create_bucket(name)
    rules = [FOREIGN, *(rule for prefix in prefixes for rule in lock_set(prefix))]
    return cloudflare.replace_lock_rules(name, rules)


def open_for(cloudflare: CloudflareLocks, bucket: str, prefix: str, seconds: float) -> None:
    rules = cloudflare.lock_rules(bucket)
    lease = cloudflare.server_time() + timedelta(seconds=seconds)
    cloudflare.replace_lock_rules(bucket, open_window(rules, prefix, ["index", "data"], lease=lease, holder=HOLDER))


def calls(stand_in: StandIn, since: int) -> list[str]:
    return [found["method"] for found in stand_in.requests(since) if found["kind"] == "rest"]


def test_one_read_per_bucket_when_nothing_is_open(guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks) -> None:
    for name in ("one", "two", "three"):
        make_bucket(cloudflare, f"backup-{name}", "")
    cloudflare.create_bucket("never-locked")
    since = stand_in.last_request()
    result = guard()
    assert result["changed"] is False and result["closed"] == 0
    assert calls(stand_in, since) == ["GET"] * 8  # the list of buckets of each jurisdiction, and one for each bucket
    assert [found["line"] for found in result["buckets"]] == [
        *(f"{name}: all rules are in force." for name in ("backup-one", "backup-three", "backup-two")),
        "never-locked: no lock rules of this collection; there is nothing to guard.",
    ]
    assert result["looked_at"] == ["default", "eu", "fedramp", "us"]


def test_overdue_window_is_closed_once_and_foreign_rules_stay(
    guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks
) -> None:
    before = make_bucket(cloudflare, "shared", "web1/", "web2/")
    open_for(cloudflare, "shared", "web1/", -1)
    since = stand_in.last_request()
    predicted = guard(check_mode=True)
    assert predicted["changed"] is True and "would be closed" in predicted["buckets"][0]["line"]
    assert "PUT" not in calls(stand_in, since)
    since = stand_in.last_request()
    result = guard(buckets=["shared"])
    # The mutex costs a look for the keys, and another look at the document after it.
    assert calls(stand_in, since) == ["GET", "GET", "GET", "PUT", "GET"]
    assert KEY not in stand_in.objects("shared") and "warnings" not in result
    assert result["changed"] is True and result["closed"] == 1
    (closed,) = result["buckets"][0]["closed"]
    assert closed["prefix"] == "web1/" and closed["parts"] == ["data", "index"] and closed["state"] == "overdue"
    assert result["diff"]["before"]["shared"] != result["diff"]["after"]["shared"] == before
    assert stand_in.rules("shared") == before
    assert guard(buckets=["shared"])["changed"] is False


def test_only_window_of_a_bucket_costs_three_calls(
    guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks
) -> None:
    make_bucket(cloudflare, "backup-web1", "")
    open_for(cloudflare, "backup-web1", "", -1)
    since = stand_in.last_request()
    assert guard(buckets=["backup-web1"])["closed"] == 1
    assert [found["method"] for found in stand_in.requests(since)] == ["GET", "PUT", "GET"]


@pytest.mark.long
@pytest.mark.parametrize("trouble", ["hostile", "unreachable", "slow"])
def test_turn_that_is_not_to_be_had_delays_closing_by_seconds(
    guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks, trouble: str
) -> None:
    before = {name: make_bucket(cloudflare, name, "web1/", "web2/") for name in ("one", "two")}
    for name in before:
        open_for(cloudflare, name, "web1/", -1)
    if trouble == "hostile":
        for name in before:
            s3 = S3(stand_in.s3_endpoint, stand_in.access_key_id, stand_in.secret_access_key, bucket=name)
            s3.put_if(KEY, b"mine for ever")
    elif trouble == "slow":
        stand_in.fault(path=KEY, delay=600.0, times=0)
    else:
        guard.account["s3_endpoint"] = "http://127.0.0.1:9"
    result = guard(buckets=list(before))  # whatever is slow would take longer than this test may
    assert result["closed"] == 2 and "failed" not in result
    assert {name: stand_in.rules(name) for name in before} == before
    # Where S3 itself fails, it is asked once for all buckets.
    assert len([line for line in result["warnings"] if "without" in str(line)]) == (2 if trouble == "hostile" else 1)


def test_forged_lease_is_closed(guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks) -> None:
    before = make_bucket(cloudflare, "backup-web1", "")
    open_for(cloudflare, "backup-web1", "", 10 * 365 * 86400)
    result = guard()
    assert result["buckets"][0]["closed"][0]["state"] == "implausible"
    assert stand_in.rules("backup-web1") == before


def test_orphaned_window_is_closed(guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks) -> None:
    before = make_bucket(cloudflare, "backup-web1", "")
    cloudflare.replace_lock_rules(
        "backup-web1", [dict(rule, enabled="data" not in rule["id"] and rule["enabled"]) for rule in before]
    )
    result = guard()
    assert result["buckets"][0]["closed"][0]["state"] == "orphaned"
    assert stand_in.rules("backup-web1") == before


def test_live_lease_is_cut_only_by_force(guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks) -> None:
    before = make_bucket(cloudflare, "backup-web1", "")
    open_for(cloudflare, "backup-web1", "", 600)
    result = guard()
    assert result["changed"] is False and result["buckets"][0]["live"][0]["state"] == "live"
    assert "left alone" in result["buckets"][0]["line"]
    assert stand_in.rules("backup-web1") != before
    result = guard(force=True)
    assert result["changed"] is True and result["buckets"][0]["closed"][0]["state"] == "live"
    assert stand_in.rules("backup-web1") == before


@pytest.mark.parametrize("offset", [-3600, 3600])
def test_lease_is_judged_by_the_clock_of_the_server(
    guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks, offset: float
) -> None:
    stand_in.settings(clock_offset=offset)
    make_bucket(cloudflare, "overdue", "")
    make_bucket(cloudflare, "alive", "")
    open_for(cloudflare, "overdue", "", -2)
    open_for(cloudflare, "alive", "", 60)
    result = {found["bucket"]: found for found in guard()["buckets"]}
    assert len(result["overdue"]["closed"]) == 1 and len(result["alive"]["live"]) == 1


def test_nonsense_is_reported_and_left_alone_and_the_rest_is_done(
    guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks
) -> None:
    make_bucket(cloudflare, "a-nonsense", "")
    make_bucket(cloudflare, "b-overdue", "")
    open_for(cloudflare, "a-nonsense", "", -5)
    open_for(cloudflare, "b-overdue", "", -5)
    edited = [
        dict(rule, prefix="dat/") if rule["id"] == "holdfast/data" else rule
        for rule in cloudflare.lock_rules("a-nonsense")
    ]
    cloudflare.replace_lock_rules("a-nonsense", edited)
    result = guard()
    assert result["failed"] is True and result["changed"] is True and result["closed"] == 1
    assert result["msg"].count("The rule 'holdfast/data' is not as this collection writes it") == 1
    assert "a-nonsense" in result["msg"] and "b-overdue" not in result["msg"]
    assert stand_in.rules("a-nonsense") == edited
    assert all(rule["enabled"] for rule in stand_in.rules("b-overdue") if rule["id"] != "logs")


def test_failing_when_it_had_to_act(guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks) -> None:
    before = make_bucket(cloudflare, "backup-web1", "")
    assert "failed" not in guard(fail_when_closed=True)
    open_for(cloudflare, "backup-web1", "", -1)
    result = guard(fail_when_closed=True)
    assert result["failed"] is True and "backup-web1: closed: the repository of the bucket" in result["msg"]
    assert stand_in.rules("backup-web1") == before


def test_missing_bucket_does_not_stop_the_others(guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks) -> None:
    before = make_bucket(cloudflare, "backup-web1", "")
    open_for(cloudflare, "backup-web1", "", -1)
    result = guard(buckets=["no-such-bucket", "backup-web1"])
    assert result["failed"] is True and "no-such-bucket" in result["msg"] and result["closed"] == 1
    assert stand_in.rules("backup-web1") == before


def test_buckets_of_all_jurisdictions(guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks) -> None:
    european = CloudflareLocks(
        stand_in.api_token, stand_in.account_id, url=stand_in.api_url, retry_timeout=5, jurisdiction="eu"
    )
    for client in (cloudflare, european):
        make_bucket(client, "backup-web1", "")
        open_for(client, "backup-web1", "", -1)
    result = guard()
    assert result["closed"] == 2
    assert [found["jurisdiction"] for found in result["buckets"]] == ["default", "eu"]
    assert result["buckets"][1]["line"].startswith("backup-web1 (eu): closed: ")
    named = guard(jurisdictions=["eu"])
    assert (named["looked_at"], [found["jurisdiction"] for found in named["buckets"]]) == (["eu"], ["eu"])


def test_a_jurisdiction_that_the_account_does_not_have_is_told(
    guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks
) -> None:
    make_bucket(cloudflare, "backup-web1", "")
    stand_in.fault(method="GET", path=r"/r2/buckets\?", status=403, code=10000, skip=1, times=3)
    result = guard()
    assert result["looked_at"] == ["default"] and sorted(result["not_looked_at"]) == ["eu", "fedramp", "us"], result
    stand_in.clear_faults()
    stand_in.fault(method="GET", path="/r2/buckets", status=403, code=10000)
    assert guard()["failed"] is True


def test_jurisdiction_that_cannot_be_listed_does_not_stop_the_others(
    guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks
) -> None:
    before = make_bucket(cloudflare, "backup-web1", "")
    open_for(cloudflare, "backup-web1", "", -1)
    stand_in.fault(method="GET", path="/r2/buckets", status=403, code=10000)
    result = guard(jurisdictions=["eu", "default"])
    assert result["failed"] is True and "(all)" in result["msg"] and result["closed"] == 1
    assert stand_in.rules("backup-web1") == before
    # one that there is not, in the same way
    stand_in.clear_faults()
    open_for(cloudflare, "backup-web1", "", -1)
    result = guard(jurisdictions=["europe", "default"])
    assert "'europe' is not known" in result["msg"] and (result["closed"], result["looked_at"]) == (1, ["default"])
    assert stand_in.rules("backup-web1") == before


@pytest.mark.long
def test_bucket_that_fails_for_long_does_not_hold_up_the_others(
    guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks
) -> None:
    make_bucket(cloudflare, "a-failing", "")
    make_bucket(cloudflare, "b-overdue", "")
    open_for(cloudflare, "b-overdue", "", -5)
    stand_in.fault(method="GET", path="a-failing/lock", status=500, times=100)
    since = len(stand_in.requests())
    result = guard(timeout=12)
    assert result["failed"] is True and "a-failing" in result["msg"] and result["closed"] == 1
    order = [found["path"].split("/")[-2] for found in stand_in.requests(since) if found["path"].endswith("/lock")]
    # Back to the one that fails when all others are locked.
    assert order[0] == order[-1] == "a-failing" and order.count("b-overdue") == 3


def test_no_bucket_to_guard_is_no_success(guard: Guard) -> None:
    assert "buckets is empty" in guard(buckets=[])["msg"]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 502, "body": "<html>bad gateway</html>"},
        {"status": 429, "retry_after": 1},
        {"cut": "before"},
        {"cut": "after"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_faults_are_outlasted(
    guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks, fault: dict[str, Any], method: str
) -> None:
    before = make_bucket(cloudflare, "backup-web1", "")
    open_for(cloudflare, "backup-web1", "", -1)
    stand_in.fault(method=method, path="/lock", **fault)
    result = guard(buckets=["backup-web1"])
    assert result["closed"] == 1
    assert stand_in.rules("backup-web1") == before


def test_wrong_token_is_one_sentence(guard: Guard) -> None:
    result = guard(api_token="not-the-token")
    assert result["failed"] is True and "API token" in result["msg"]
    assert "Traceback" not in result["msg"] and "not-the-token" not in str(result["msg"])


def test_the_guard_writes_down_what_it_closed(
    guard: Guard, stand_in: StandIn, cloudflare: CloudflareLocks, tmp_path: Path
) -> None:
    make_bucket(cloudflare, "backup-one", "")
    open_for(cloudflare, "backup-one", "", -1)
    kept = {"record_dir": str(tmp_path / "guard"), "metrics_file": str(tmp_path / "guard.prom")}
    result = guard(**kept)
    assert "failed" not in result, result
    journal = RunJournal(kept["record_dir"])
    state = journal.state() or {}
    (window,) = state["repositories"]["backup-one"]["windows"]
    assert (sorted(window["parts"]), window["ended_by"]) == (["data", "index"], "the guard")
    assert state["runs"]["guard"]["at"] == result["time"] and journal.check().lines == 1

    # Nothing is open any more: one more look, and no more lines than that of its end.
    for _look in range(2):
        assert guard(**kept)["changed"] is False
    assert (
        journal.check().lines == 1 and 'holdfast_api_calls_left{run="guard"} 1' in (tmp_path / "guard.prom").read_text()
    )

    # The locks come first, and what could not be written is told.
    open_for(cloudflare, "backup-one", "", -1)
    failed = guard(record_dir=str(tmp_path / "guard.prom"))
    assert failed["failed"] and "has done its work, but it is not written down" in failed["msg"]
    assert all(rule["enabled"] for rule in cloudflare.lock_rules("backup-one") if rule["id"].startswith("holdfast/"))
    assert stand_in.rules("backup-one")
