# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules r2_bucket_lock and r2_bucket_lock_info, run as Ansible runs them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import CloudflareLocks
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import open_window

from tests.integration.examples import documentation, run_examples
from tests.stand_in.client import StandIn
from tests.support.four_steps import Modules
from tests.support.running import Ansible

BUCKET = "backup-web1"
HOLDER = "0123456789abcdef"
LOGS = {"id": "logs", "prefix": "logs/"}
FOREIGN = {"id": "theirs", "enabled": True, "prefix": "theirs/", "condition": {"type": "Age", "maxAgeSeconds": 7}}


@pytest.fixture
def cloudflare(stand_in: StandIn) -> CloudflareLocks:
    """The client, to prepare what a module finds."""
    return CloudflareLocks(stand_in.api_token, stand_in.account_id, url=stand_in.api_url)


@pytest.fixture
def modules(ansible: Ansible, stand_in: StandIn, cloudflare: CloudflareLocks) -> Modules:
    cloudflare.create_bucket(BUCKET)
    return Modules(ansible, stand_in)


def lock(modules: Modules, **arguments: Any) -> dict[str, Any]:
    return modules.run("r2_bucket_lock", bucket=BUCKET, **arguments)


def written(modules: Modules) -> dict[str, dict[str, Any]]:
    return {rule["id"]: rule for rule in modules.stand_in.rules(BUCKET)}


def test_lock_set_of_a_repository(modules: Modules) -> None:
    result = modules.four_steps("r2_bucket_lock", bucket=BUCKET, repository="")
    assert result["rules"] == lock_set("")
    assert modules.stand_in.rules(BUCKET) == lock_set("")
    assert result["diff"]["before"] == {"rules": []}
    modules.four_steps("r2_bucket_lock", bucket=BUCKET, repository="", state="absent")
    assert modules.stand_in.rules(BUCKET) == []


def test_objects_are_held_and_lock_files_are_not(modules: Modules) -> None:
    lock(modules, repository="web1")
    modules.put(BUCKET, "web1/data/00/1", "web1/locks/1")
    modules.put(BUCKET, "web1/locks/1")
    with pytest.raises(Exception, match="ObjectLockedByBucketPolicy"):
        modules.put(BUCKET, "web1/data/00/1")


def test_rules_of_every_kind(modules: Modules) -> None:
    rules = [
        LOGS,
        {"id": "age", "prefix": "a/", "retention": "age", "age": "36h"},
        {"id": "date", "prefix": "d/", "retention": "date", "date": "2099-12-31", "enabled": False},
    ]
    modules.four_steps("r2_bucket_lock", bucket=BUCKET, rules=rules)
    found = written(modules)
    assert found["logs"]["condition"] == {"type": "Indefinite"}
    assert found["age"]["condition"] == {"type": "Age", "maxAgeSeconds": 129600}
    assert found["date"]["condition"]["date"].startswith("2099-12-31T00:00:00")
    assert found["date"]["enabled"] is False
    modules.four_steps("r2_bucket_lock", bucket=BUCKET, rules=[{**LOGS, "retention": "age", "age": "1w"}])
    assert written(modules)["logs"]["condition"] == {"type": "Age", "maxAgeSeconds": 604800}
    assert set(written(modules)) == {"logs", "age", "date"}


def test_exact_needs_purge_to_remove_the_rules_of_others(modules: Modules, cloudflare: CloudflareLocks) -> None:
    cloudflare.replace_lock_rules(BUCKET, [FOREIGN])
    assert "say purge" in modules.fail("r2_bucket_lock", bucket=BUCKET, state="exact", rules=[LOGS])
    assert not modules.wrote
    modules.four_steps("r2_bucket_lock", bucket=BUCKET, state="exact", purge=True, rules=[LOGS])
    assert set(written(modules)) == {"logs"}
    modules.four_steps("r2_bucket_lock", bucket=BUCKET, state="exact", purge=True, rules=[])
    assert written(modules) == {}


def test_rules_of_others_stay(modules: Modules, cloudflare: CloudflareLocks) -> None:
    cloudflare.replace_lock_rules(BUCKET, [FOREIGN])
    before = modules.stand_in.rules(BUCKET)
    modules.four_steps("r2_bucket_lock", bucket=BUCKET, repository="")
    modules.four_steps("r2_bucket_lock", bucket=BUCKET, repository="", state="absent")
    assert modules.stand_in.rules(BUCKET) == before


def test_number_of_calls(modules: Modules) -> None:
    lock(modules, repository="")
    assert [call.split()[0] for call in modules.calls] == ["GET", "PUT", "GET"]
    lock(modules, repository="")
    assert modules.calls == [f"GET /buckets/{BUCKET}/lock"]
    modules.run("r2_bucket_lock_info", bucket=BUCKET)
    assert modules.calls == [f"GET /buckets/{BUCKET}/lock"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "one of the following is required: rules, repository"),
        ({"rules": [LOGS, LOGS]}, "given 2 times"),
        ({"rules": [{"id": "all"}]}, "allow_whole_bucket"),
        ({"rules": [{**LOGS, "retention": "age"}]}, "age"),
        ({"rules": [{**LOGS, "retention": "age", "age": "0"}]}, "no age"),
        ({"rules": [{**LOGS, "retention": "age", "age": "-3d"}]}, "no age"),
        ({"rules": [{**LOGS, "retention": "date", "date": "2020-01-01"}]}, "in the past"),
        ({"rules": [{**LOGS, "retention": "date", "date": "31.12.2099"}]}, "no date"),
        ({"rules": [{"id": "holdfast/data", "prefix": "x"}]}, "use the option repository"),
        ({"repository": "", "rules": [{"id": "x", "prefix": "lo"}]}, "own lock files"),
        ({"repository": "", "rules": [{"id": "x"}], "allow_whole_bucket": True}, "own lock files"),
        ({"repository": "a//b"}, "no prefix of a repository"),
        ({"rules": [{"id": str(number), "prefix": f"{number}/"} for number in range(1001)]}, "R2 allows 1000"),
    ],
)
def test_nonsense_is_refused_and_nothing_written(modules: Modules, arguments: dict[str, Any], sentence: str) -> None:
    assert sentence in modules.fail("r2_bucket_lock", bucket=BUCKET, **arguments)
    assert not modules.wrote


def with_window(cloudflare: CloudflareLocks, lease: datetime) -> list[dict[str, Any]]:
    rules = open_window(lock_set(""), "", ["data", "index"], lease=lease, holder=HOLDER)
    return cloudflare.replace_lock_rules(BUCKET, rules)


def test_live_window_is_not_cut(modules: Modules, cloudflare: CloudflareLocks) -> None:
    lease = datetime.now(timezone.utc) + timedelta(minutes=5)
    with_window(cloudflare, lease)
    for state in ("present", "absent"):
        assert "is at work" in modules.fail("r2_bucket_lock", bucket=BUCKET, repository="", state=state)
        assert not modules.wrote
    (window,) = modules.run("r2_bucket_lock_info", bucket=BUCKET)["windows"]
    assert (window["live"], window["overdue"], window["orphaned"]) == (True, False, False)
    assert (window["prefix"], window["parts"], window["holder"]) == ("", ["data", "index"], HOLDER)


def test_window_is_judged_by_the_clock_of_the_server(modules: Modules, cloudflare: CloudflareLocks) -> None:
    with_window(cloudflare, datetime.now(timezone.utc) + timedelta(minutes=5))
    modules.stand_in.settings(clock_offset=3600)
    assert modules.run("r2_bucket_lock_info", bucket=BUCKET)["windows"][0]["overdue"] is True
    lock(modules, repository="")
    assert modules.stand_in.rules(BUCKET) == lock_set("")


def test_overdue_and_orphaned_windows_are_closed(modules: Modules, cloudflare: CloudflareLocks) -> None:
    rules = with_window(cloudflare, datetime.now(timezone.utc) - timedelta(seconds=5))
    modules.four_steps("r2_bucket_lock", bucket=BUCKET, repository="")
    assert modules.stand_in.rules(BUCKET) == lock_set("")
    cloudflare.replace_lock_rules(BUCKET, rules[:-1])
    assert modules.run("r2_bucket_lock_info", bucket=BUCKET)["windows"][0]["orphaned"] is True
    modules.four_steps("r2_bucket_lock", bucket=BUCKET, repository="")
    assert modules.stand_in.rules(BUCKET) == lock_set("")


def test_document_edited_into_nonsense_is_reported_and_left_alone(
    modules: Modules, cloudflare: CloudflareLocks
) -> None:
    rules = [{**rule, "prefix": "elsewhere/"} if rule["id"] == "holdfast/data" else rule for rule in lock_set("")]
    cloudflare.replace_lock_rules(BUCKET, rules)
    assert "correct it by hand" in modules.fail("r2_bucket_lock", bucket=BUCKET, repository="")
    assert not modules.wrote
    problems = modules.run("r2_bucket_lock_info", bucket=BUCKET)["problems"]
    assert len(problems) == 1
    assert "'holdfast/data'" in problems[0]


@pytest.mark.parametrize(
    "fault",
    [
        {"method": "PUT", "cut": "before"},
        {"method": "PUT", "cut": "after"},
        {"method": "PUT", "status": 500},
        {"method": "PUT", "status": 500, "applied": True},
        {"method": "PUT", "status": 429, "code": 971, "retry_after": 1},
        {"method": "PUT", "status": 200, "body": "<html>"},
        {"method": "GET", "cut": "before"},
        {"method": "GET", "status": 503, "body": "upstream"},
        {"method": "GET", "status": 429, "code": 971, "retry_after": 1},
        {"method": "GET", "skip": 1, "cut": "after"},
    ],
)
def test_lock_is_set_whatever_happens_to_a_call(modules: Modules, fault: dict[str, Any]) -> None:
    modules.stand_in.fault(path="/lock", **fault)
    assert lock(modules, repository="")["changed"] is True
    assert modules.stand_in.rules(BUCKET) == lock_set("")


def test_token_that_may_only_read(modules: Modules) -> None:
    reader = modules.stand_in.create_token("reader", write=False)
    assert modules.run("r2_bucket_lock_info", bucket=BUCKET, api_token=reader["value"])["rules"] == []
    message = modules.fail("r2_bucket_lock", bucket=BUCKET, repository="", api_token=reader["value"])
    assert "'Workers R2 Storage Write'" in message
    assert reader["value"] not in message


def test_token_of_a_host_can_neither_read_nor_change_locks(modules: Modules) -> None:
    host = modules.stand_in.create_token("web1", bucket=BUCKET)
    for secret in (host["value"], host["secret_access_key"]):
        for name in ("r2_bucket_lock", "r2_bucket_lock_info"):
            more = {"repository": ""} if name == "r2_bucket_lock" else {}
            message = modules.fail(name, bucket=BUCKET, api_token=secret, **more)
            assert "token" in message
            assert secret not in message
    assert modules.stand_in.rules(BUCKET) == []


@pytest.mark.parametrize("name", ["r2_bucket_lock", "r2_bucket_lock_info"])
def test_bucket_that_is_not_there_or_in_another_jurisdiction(modules: Modules, name: str) -> None:
    more = {"repository": ""} if name == "r2_bucket_lock" else {}
    for arguments in ({"bucket": "backup-web2"}, {"bucket": BUCKET, "jurisdiction": "eu"}):
        message = modules.fail(name, **arguments, **more)
        assert "There is no bucket" in message
        assert "check name, account and jurisdiction" in message


@pytest.mark.parametrize("name", ["r2_bucket_lock", "r2_bucket_lock_info"])
def test_everything_returned_is_documented(modules: Modules, cloudflare: CloudflareLocks, name: str) -> None:
    with_window(cloudflare, datetime.now(timezone.utc) - timedelta(minutes=5))
    result = modules.run(name, bucket=BUCKET, **({"repository": ""} if name == "r2_bucket_lock" else {}))
    described = documentation(name, "RETURN")
    assert set(result) - {"changed", "diff", "invocation"} == set(described)
    for key, value in result.items():
        for element in value if isinstance(value, list) and key in described else []:
            if isinstance(element, dict):
                assert set(element) == set(described[key]["contains"])


@pytest.mark.sample(of="examples")
def test_examples(ansible: Ansible, modules: Modules, cloudflare: CloudflareLocks, stand_in: StandIn) -> None:
    for bucket in ("archive", "backup-shared"):
        cloudflare.create_bucket(bucket)
    for _twice in (1, 2):
        run = run_examples(ansible, stand_in, "r2_bucket_lock")
        assert run.exit_code == 0, run.output
    run = run_examples(ansible, stand_in, "r2_bucket_lock_info")
    assert run.exit_code == 0, run.output
    assert stand_in.rules("backup-shared") == lock_set("web1")
    assert [rule["id"] for rule in stand_in.rules("archive")] == ["logs"]


@pytest.mark.long
def test_account_and_token_come_from_the_action_group(ansible: Ansible, stand_in: StandIn) -> None:
    run = run_examples(ansible, stand_in, "r2_bucket", "--check", "--diff")
    assert run.exit_code == 0, run.output
    assert stand_in.api_token not in run.output
