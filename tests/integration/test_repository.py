# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restic_repository: made once, recorded, and never made again."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Restic

from tests.stand_in.client import StandIn
from tests.support.repositories import Bed, program, sample, spy
from tests.support.running import Ansible


@pytest.fixture
def bed(shared_stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path) -> Bed:
    return Bed(shared_stand_in, ansible, restic_path, tmp_path)


@pytest.fixture(scope="module")
def made_bed(shared_stand_in: StandIn, restic_path: str, tmp_path_factory: pytest.TempPathFactory) -> Bed:
    """A recorded repository for tests that change nothing."""
    home = tmp_path_factory.mktemp("made")
    bed = Bed(shared_stand_in, Ansible(home / "ansible"), restic_path, home)
    assert bed.repository()["created"] is True
    return bed


@pytest.mark.long
@pytest.mark.parametrize("prefix", ["", "web1/", "wéb +1;&=:~'\\/"])
def test_check_do_check_do(bed: Bed, prefix: str) -> None:
    bed.prefix = prefix
    foreseen = bed.repository(check_mode=True)
    assert (foreseen["changed"], foreseen["created"], foreseen["repository_id"]) == (True, True, "")
    assert bed.stand_in.objects(bed.bucket) == []
    assert not bed.record_dir.exists()

    made = bed.repository()
    assert (made["changed"], made["created"]) == (True, True)
    assert made["diff"]["before"] == {"repository": False, "recorded": False}
    assert made["diff"]["after"] == {"repository": True, "recorded": True}
    assert bed.keys() == [f"{prefix}config", f"{prefix}keys/{made['key_id']}"]
    assert bed.restic.config()["id"] == made["repository_id"]

    for check_mode in (True, False):
        again = bed.repository(check_mode=check_mode)
        assert (again["changed"], again["created"]) == (False, False)
        assert (again["repository_id"], again["key_id"]) == (made["repository_id"], made["key_id"])
        assert "warnings" not in again


def test_the_record_holds_what_opens_the_data_and_nobody_else_can_read_it(bed: Bed) -> None:
    made = bed.repository()
    record = Path(made["record"])
    assert record == bed.record_dir / bed.bucket
    data = json.loads((record / "record.json").read_text())
    assert data["repository_id"] == made["repository_id"]
    assert data["keys"] == [data["key_id"]] == [made["key_id"]]
    assert (record / "config").read_bytes() == bed.s3.get("config")
    assert (record / "keys" / made["key_id"]).read_bytes() == bed.s3.get(f"keys/{made['key_id']}")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in bed.record_dir.rglob("*") if path.is_file()}
    assert modes == {0o600}
    folders = [bed.record_dir, *(path for path in bed.record_dir.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


def test_it_comes_before_the_lock_and_also_works_under_it(bed: Bed) -> None:
    bed.lock()
    assert bed.repository()["created"] is True
    assert bed.repository()["changed"] is False


def test_a_vanished_repository_is_an_alarm_and_stays_away(bed: Bed) -> None:
    made = bed.repository()
    for key in bed.stand_in.objects(bed.bucket):
        bed.s3.delete(key)
    for arguments in ({}, {"check_mode": True}, {"record_dir": None, "repository_id": made["repository_id"]}):
        answer = bed.repository(**arguments)
        assert answer["failed"] is True
        assert "has vanished" in answer["msg"] and made["repository_id"] in answer["msg"]
        assert bed.stand_in.objects(bed.bucket) == []


@pytest.mark.long
def test_another_repository_in_its_place_is_an_alarm(bed: Bed) -> None:
    made = bed.repository()
    for key in bed.stand_in.objects(bed.bucket):
        bed.s3.delete(key)
    bed.restic.succeed(["init"])
    before = bed.stand_in.objects(bed.bucket)
    for arguments in ({}, {"record_dir": None, "repository_id": made["repository_id"]}):
        answer = bed.repository(**arguments)
        assert answer["failed"] is True
        assert made["repository_id"] in answer["msg"] and "is expected" in answer["msg"]
    assert bed.stand_in.objects(bed.bucket) == before
    assert json.loads((bed.record_dir / bed.bucket / "record.json").read_text())["key_id"] == made["key_id"]


@pytest.mark.long
def test_of_two_that_make_it_at_once_one_has_it_and_the_other_leaves_nothing(bed: Bed) -> None:
    bed.stand_in.fault(kind="PutObject", path=f"/{bed.bucket}/config", held=True, times=0)
    others = replace(bed, home=bed.home / "other")
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(one.repository, record_dir=str(one.home / "records")) for one in (bed, others)]
        since = 0
        for _run in runs:
            wanted = {"kind": "PutObject", "bucket": bed.bucket, "key": "config"}
            since = bed.stand_in.wait_for_request(60, arrived=True, since=since, **wanted)["n"]
        bed.stand_in.clear_faults()
        answers = [run.result() for run in runs]
    (made,) = (answer for answer in answers if not answer.get("failed"))
    (late,) = (answer for answer in answers if answer.get("failed"))
    assert made["created"] is True and "was made by another run at this moment" in late["msg"]
    assert bed.keys() == ["config", f"keys/{made['key_id']}"]
    assert bed.restic.config()["id"] == made["repository_id"]
    # Once the other one has ended, this is as it would have been from the beginning.
    assert all(one.repository()["repository_id"] == made["repository_id"] for one in (bed, others))


def test_a_lost_answer_to_the_config_is_no_other_run(bed: Bed) -> None:
    bed.stand_in.fault(kind="PutObject", path=f"/{bed.bucket}/config", cut="after")
    assert bed.repository()["created"] is True
    assert len(bed.keys()) == 2


@pytest.mark.long
def test_a_config_without_keys_is_half_made_or_has_lost_them(bed: Bed) -> None:
    bed.stand_in.fault(kind="PutObject", path=f"/{bed.bucket}/keys/", status=403, code="AccessDenied")
    answer = bed.repository()
    assert answer["failed"] and "was only half made: it has a config and no key" in answer["msg"]
    assert "half made" in bed.repository()["msg"]
    assert bed.keys() == ["config"] and not bed.record_dir.exists()
    bed.s3.delete("config")
    made = bed.repository()
    bed.s3.delete(f"keys/{made['key_id']}")
    assert "has lost its keys" in bed.repository()["msg"]


def test_a_repository_that_is_recorded_elsewhere_is_not_adopted(bed: Bed) -> None:
    made = bed.repository()
    other = replace(bed, bucket=f"{bed.bucket}-copy")
    for key in ("config", f"keys/{made['key_id']}"):
        other.s3.put_if(key, bed.s3.get(key))
    answer = other.repository()
    assert answer["failed"] and f"has the id of {bed.bucket}, which is recorded" in answer["msg"]
    assert not (bed.record_dir / other.bucket).exists()


def test_a_half_made_repository_is_named(bed: Bed) -> None:
    made = bed.repository(record_dir=None)
    bed.s3.delete("config")
    answer = bed.repository()
    assert "was only half made" in answer["msg"]
    assert bed.keys() == [f"keys/{made['key_id']}"]
    assert not bed.record_dir.exists()


@pytest.mark.long
def test_a_repository_that_lost_its_config_is_not_made_again(bed: Bed, tmp_path: Path) -> None:
    bed.repository(record_dir=None)
    bed.backup(sample(tmp_path / "files"))
    bed.s3.delete("config")
    before = bed.keys()
    assert "has lost its config" in bed.repository()["msg"]
    assert bed.keys() == before


def test_an_existing_repository_is_adopted(bed: Bed) -> None:
    bed.restic.succeed(["init"])
    foreseen = bed.repository(check_mode=True)
    assert (foreseen["changed"], foreseen["created"]) == (True, False)
    assert not bed.record_dir.exists()
    adopted = bed.repository()
    assert (adopted["changed"], adopted["created"]) == (True, False)
    assert adopted["key_id"] == bed.restic.current_key_id()
    assert bed.repository()["changed"] is False


def test_a_lost_copy_is_made_again(bed: Bed) -> None:
    made = bed.repository()
    (Path(made["record"]) / "config").unlink()
    assert bed.repository(check_mode=True)["changed"] is True
    assert bed.repository()["changed"] is True
    assert (Path(made["record"]) / "config").read_bytes() == bed.s3.get("config")


def test_a_short_password_is_refused_where_a_repository_is_made_and_nowhere_else(bed: Bed) -> None:
    answer = bed.repository(password="seven77")
    assert answer["failed"] and "fewer than 8 characters" in answer["msg"]
    assert bed.stand_in.objects(bed.bucket) == [] and not bed.record_dir.exists()
    short = replace(bed.restic.repository, password="x")
    Restic(short, path=bed.restic.path, cache_dir=bed.restic.cache_dir).succeed(["init"])
    assert "failed" not in bed.repository(password="x")


def test_fields_that_others_added_to_the_record_stay(bed: Bed) -> None:
    record = Path(bed.repository()["record"])
    data = json.loads((record / "record.json").read_text())
    (record / "record.json").write_text(json.dumps({**data, "baseline": {"packs": 7}}))
    (record / "config").unlink()
    bed.repository()
    assert json.loads((record / "record.json").read_text())["baseline"] == {"packs": 7}


def test_planted_keys_give_a_warning_and_do_not_stop_it(bed: Bed) -> None:
    bed.repository()
    planted = "0" * 64
    # smaller than every real id, so that restic would look at it first
    bed.s3.call("put_object", Key=f"keys/{planted}", Body=b"garbage")
    answer = bed.repository()
    assert answer["changed"] is False
    assert any(planted in str(warning) and "not recorded" in str(warning) for warning in answer["warnings"]), answer
    # without the recorded key as a hint, restic fails on the planted one
    assert bed.repository(record_dir=None)["failed"] is True


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"password": "not the one"}, "The password of repository"),
        ({"restic_path": "/nowhere/restic"}, "restic was not found as '/nowhere/restic'"),
        ({"bucket": "no-such-bucket"}, "there is no such bucket"),
        ({"bucket": "../other"}, "is not a bucket name"),
        ({"prefix": "../other"}, "prefix"),
        ({"access_key_id": "0" * 32, "secret_access_key": "0" * 64}, "the S3 keys are not accepted"),
        ({"s3_endpoint": "nonsense"}, "is not usable"),
        ({"key_id": "abc"}, "is not a full id"),
        ({"repository_id": "1" * 64}, "find out which is right"),
    ],
)
def test_bad_input_is_one_sentence(made_bed: Bed, arguments: dict[str, Any], sentence: str) -> None:
    before = made_bed.stand_in.objects(made_bed.bucket)
    answer = made_bed.repository(**arguments)
    assert answer["failed"] is True
    assert sentence in answer["msg"]
    assert "Traceback" not in json.dumps(answer)
    assert "\n" not in answer["msg"]
    assert made_bed.stand_in.objects(made_bed.bucket) == before


def test_an_old_restic_is_refused(bed: Bed, tmp_path: Path) -> None:
    ancient = program(tmp_path / "ancient", "echo 'restic 0.12.1 compiled with go1.16'")
    assert "needs restic 0.14.0 or later" in bed.repository(restic_path=ancient)["msg"]
    strange = program(tmp_path / "strange", "echo hello")
    assert "does not answer like restic" in bed.repository(restic_path=strange)["msg"]
    assert bed.stand_in.objects(bed.bucket) == []


def test_a_damaged_record_is_not_overwritten(bed: Bed) -> None:
    record = Path(bed.repository()["record"]) / "record.json"
    record.write_text("{")
    assert "is not valid JSON" in bed.repository()["msg"]
    record.write_text("{}")
    assert "does not hold all of" in bed.repository()["msg"]
    assert record.read_text() == "{}"


def test_no_secret_is_an_argument_or_in_the_result(bed: Bed, tmp_path: Path) -> None:
    wrapper, arguments, environment = spy(tmp_path, bed.restic_path)
    extra = {"CLOUDFLARE_API_TOKEN": bed.stand_in.api_token, "RESTIC_HOST": "x", "RESTIC_PROGRESS_FPS": "60"}
    options = {name: value for name, value in bed.options.items() if name != "api_token"}
    options.update(restic_path=wrapper, record_dir=str(bed.record_dir))
    answer = bed.ansible.module("restic_repository", environment=extra, **options)
    assert answer["created"] is True
    assert "init" in arguments.read_text()
    for secret in bed.secrets():
        assert secret not in arguments.read_text()
        assert secret not in json.dumps(answer)
    inherited = environment.read_text()
    assert bed.stand_in.secret_access_key in inherited  # where it belongs
    assert bed.stand_in.api_token not in inherited
    assert "RESTIC_HOST" not in inherited and "RESTIC_PROGRESS_FPS" not in inherited
