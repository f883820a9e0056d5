# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules r2_bucket and r2_bucket_info, run as Ansible runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.record import Record, folder, save

from tests.integration.examples import documentation, run_examples
from tests.stand_in.client import StandIn
from tests.support.four_steps import Modules
from tests.support.running import Ansible

BUCKET = "backup-web1"


@pytest.fixture
def modules(ansible: Ansible, stand_in: StandIn) -> Modules:
    return Modules(ansible, stand_in)


def test_create(modules: Modules) -> None:
    result = modules.four_steps("r2_bucket", name=BUCKET, location_hint="weur")
    assert result["bucket"]["location"] == "WEUR"
    assert result["public_access"] is False
    assert result["diff"]["before"] == {}
    assert result["diff"]["after"]["name"] == BUCKET


def test_what_check_mode_foretells_is_what_comes(modules: Modules) -> None:
    foretold = modules.run(
        "r2_bucket", check_mode=True, name=BUCKET, storage_class="InfrequentAccess", location_hint="oc"
    )
    done = modules.run("r2_bucket", name=BUCKET, storage_class="InfrequentAccess", location_hint="oc")
    del done["bucket"]["creation_date"]
    assert foretold["bucket"] == done["bucket"]


def test_location_is_a_hint_that_never_changes_a_bucket(modules: Modules) -> None:
    modules.run("r2_bucket", name=BUCKET, location_hint="weur")
    again = modules.run("r2_bucket", name=BUCKET, location_hint="enam")
    assert (again["changed"], again["bucket"]["location"]) == (False, "WEUR")


def test_storage_class(modules: Modules) -> None:
    modules.run("r2_bucket", name=BUCKET)
    result = modules.four_steps("r2_bucket", name=BUCKET, storage_class="InfrequentAccess")
    assert result["bucket"]["storage_class"] == "InfrequentAccess"
    assert modules.run("r2_bucket", name=BUCKET)["changed"] is False, "only what was given may change anything"


def test_public_access_is_switched_off_unless_asked_for(modules: Modules) -> None:
    modules.run("r2_bucket", name=BUCKET)
    modules.four_steps("r2_bucket", name=BUCKET, public_access=True)
    assert modules.run("r2_bucket_info", name=BUCKET, public_access=True)["buckets"][0]["public_access"] is True
    result = modules.four_steps("r2_bucket", name=BUCKET)
    assert result["public_access"] is False


def test_jurisdictions_are_worlds_of_their_own(modules: Modules) -> None:
    result = modules.four_steps("r2_bucket", name=BUCKET, jurisdiction="eu")
    assert result["bucket"]["jurisdiction"] == "eu"
    assert modules.run("r2_bucket_info")["buckets"] == []
    assert [bucket["name"] for bucket in modules.run("r2_bucket_info", jurisdiction="eu")["buckets"]] == [BUCKET]


def test_bucket_of_a_recorded_repository_is_not_made_again(modules: Modules, tmp_path: Path) -> None:
    record = Record(BUCKET, "web1/", "1" * 64, "2" * 64, "2026-01-01T00:00:00Z", ["2" * 64])
    save(folder(str(tmp_path), BUCKET, "web1/"), record, {})
    for known in ({}, {"known_buckets": []}):
        for check_mode in (True, False):
            told = modules.fail("r2_bucket", name=BUCKET, record_dir=str(tmp_path), check_mode=check_mode, **known)
            assert f"Bucket {BUCKET} has vanished" in told and "1" * 64 in told
    assert modules.run("r2_bucket_info")["buckets"] == []
    assert modules.run("r2_bucket", name=f"{BUCKET}-2", record_dir=str(tmp_path))["changed"] is True
    modules.run("r2_bucket", name=BUCKET)
    # A list of another account does not say that it is gone.
    again = modules.run("r2_bucket", name=BUCKET, record_dir=str(tmp_path), known_buckets=[])
    assert again["changed"] is False


def test_delete(modules: Modules) -> None:
    modules.run("r2_bucket", name=BUCKET)
    result = modules.four_steps("r2_bucket", name=BUCKET, state="absent")
    assert result["diff"]["after"] == {}
    assert modules.run("r2_bucket_info", name=BUCKET)["buckets"] == []


def test_bucket_that_is_not_empty_is_not_deleted(modules: Modules) -> None:
    modules.run("r2_bucket", name=BUCKET)
    modules.put(BUCKET, "config")
    message = modules.fail("r2_bucket", name=BUCKET, state="absent")
    assert f"'{BUCKET}' is not empty: it is not deleted" in message
    assert modules.stand_in.objects(BUCKET) == ["config"]


def test_unchanged_bucket_costs_two_reads_and_a_known_one_costs_one(modules: Modules) -> None:
    modules.run("r2_bucket", name=BUCKET)
    known = modules.run("r2_bucket_info")["buckets"]
    modules.run("r2_bucket", name=BUCKET)
    assert modules.calls == ["GET /buckets/backup-web1", "GET /buckets/backup-web1/domains/managed"]
    modules.run("r2_bucket", name=BUCKET, known_buckets=known)
    assert modules.calls == ["GET /buckets/backup-web1/domains/managed"]


def test_knowledge_that_is_out_of_date_does_no_harm(modules: Modules) -> None:
    modules.run("r2_bucket", name=BUCKET)
    known = modules.run("r2_bucket_info")["buckets"]
    assert modules.run("r2_bucket", name=BUCKET, known_buckets=[])["changed"] is True
    modules.run("r2_bucket", name=BUCKET, state="absent")
    assert modules.run("r2_bucket", name=BUCKET, known_buckets=known)["changed"] is True
    assert modules.run("r2_bucket_info", name=BUCKET)["buckets"] != []


@pytest.mark.parametrize(
    "fault", [{"cut": "after"}, {"cut": "before"}, {"status": 500}, {"status": 500, "applied": True}]
)
def test_bucket_is_created_although_the_answer_is_lost(modules: Modules, fault: dict[str, Any]) -> None:
    modules.stand_in.fault(method="POST", path="/r2/buckets", **fault)
    result = modules.run("r2_bucket", name=BUCKET)
    assert (result["changed"], result["bucket"]["name"]) == (True, BUCKET)


def test_all_pages_are_listed(modules: Modules) -> None:
    for number in range(3):
        modules.run("r2_bucket", name=f"backup-{number}")
    assert {bucket["name"] for bucket in modules.run("r2_bucket_info")["buckets"]} == {f"backup-{n}" for n in range(3)}


def test_bad_input_is_one_sentence_without_a_secret(modules: Modules) -> None:
    cases = [
        ({"account_id": "f" * 32}, "account"),
        ({"api_token": "nonsense-value"}, "token"),
        ({"api_token": modules.stand_in.create_token("reader", write=False)["value"]}, "Workers R2 Storage Write"),
        ({"name": "No_Bucket"}, "is not a bucket name"),
    ]
    for arguments, sentence in cases:
        message = modules.fail("r2_bucket", **{"name": BUCKET, **arguments})
        assert sentence in message, message
        assert "\n" not in message
        for secret in (modules.stand_in.api_token, arguments.get("api_token", "no secret")):
            assert secret not in message
    assert modules.run("r2_bucket_info")["buckets"] == []


def test_public_access_of_all_buckets_is_not_asked(modules: Modules) -> None:
    assert "needs name" in modules.fail("r2_bucket_info", public_access=True)


def test_environment_names_account_and_token(modules: Modules) -> None:
    stand_in = modules.stand_in
    environment = {
        "CLOUDFLARE_ACCOUNT_ID": stand_in.account_id,
        "CLOUDFLARE_API_TOKEN": stand_in.api_token,
        "CLOUDFLARE_API_BASE_URL": stand_in.api_url,
    }
    assert modules.ansible.module("r2_bucket_info", environment=environment)["buckets"] == []


@pytest.mark.sample(of="examples")
def test_examples(ansible: Ansible, modules: Modules, stand_in: StandIn) -> None:
    run = run_examples(ansible, stand_in, "r2_bucket")
    assert run.exit_code == 0, run.output
    assert [result.changed for result in run.of(action="holdfast.restic_r2.r2_bucket")] == [True, True, False, True]
    modules.run("r2_bucket", name=BUCKET)
    run = run_examples(ansible, stand_in, "r2_bucket_info")
    assert run.exit_code == 0, run.output
    assert run.changed == []


@pytest.mark.parametrize("name", ["r2_bucket", "r2_bucket_info"])
def test_everything_returned_is_documented(modules: Modules, name: str) -> None:
    modules.run("r2_bucket", name=BUCKET)
    result = modules.run(name, name=BUCKET)
    assert set(result) - {"changed", "diff", "invocation"} == set(documentation(name, "RETURN"))
