# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restic_restore, restic_check and restic_snapshot_info on one repository with two backups."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.examples import run_examples
from tests.stand_in.client import StandIn
from tests.support.processes import describe, gone
from tests.support.processes import tree as processes_of
from tests.support.repositories import PASSWORD, Bed, looks, old, program, sample, spy, tree
from tests.support.running import Ansible


@dataclass
class Backups:
    bed: Bed
    files: Path
    first: str
    second: str

    def restored(self, target: Path) -> dict[str, Any]:
        """What is below the target, named as in the backed-up folder."""
        return tree(target / self.files.relative_to("/"))


@pytest.fixture(scope="module")
def backups(shared_stand_in: StandIn, restic_path: str, tmp_path_factory: pytest.TempPathFactory) -> Backups:
    home = tmp_path_factory.mktemp("backups")
    bed = Bed(shared_stand_in, Ansible(home / "ansible"), restic_path, home, prefix="web1/")
    bed.initialise()
    bed.repository()
    files = sample(home / "files")
    first = bed.backup(files, "--tag=before")
    (files / "etc" / "hosts").write_text("127.0.0.1 changed\n", encoding="utf-8")
    second = bed.backup(files)
    bed.backup(files / "etc", host="web2")
    bed.lock()
    return Backups(bed, files, first, second)


def restore(backups: Backups, folder: Path, **arguments: Any) -> dict[str, Any]:
    return backups.bed.module("restic_restore", **{"paths": [str(backups.files)], "target": str(folder), **arguments})


@pytest.mark.long
def test_restore_is_equal(backups: Backups, tmp_path: Path) -> None:
    target = tmp_path / "new"
    foreseen = restore(backups, target, check_mode=True)
    assert (foreseen["changed"], foreseen["verified"]) == (True, False)
    assert not target.exists()

    bed, record = backups.bed, backups.bed.record_dir / backups.bed.bucket / "web1"
    looking, place = looks(tmp_path, bed.options["restic_path"], "restore", record)
    done = restore(backups, target, restic_path=looking, record_dir=str(bed.record_dir))
    assert json.loads(place.read_text())["step"] == "judging what the snapshot lists"
    assert list(record.glob("progress-*")) == []
    assert backups.restored(target) == tree(backups.files)
    assert (done["changed"], done["verified"], done["snapshot"]["id"]) == (True, True, backups.second)
    assert (done["files"], done["bytes"]) == (foreseen["files"], foreseen["bytes"])
    assert done["bytes"] == 300_018

    refused = restore(backups, target)
    assert "is not empty" in refused["msg"]


@pytest.mark.long
def test_restore_over_files_is_idempotent(backups: Backups, tmp_path: Path) -> None:
    restore(backups, tmp_path)
    for check_mode in (True, False):
        again = restore(backups, tmp_path, overwrite=True, check_mode=check_mode)
        assert (again["changed"], again["bytes"]) == (False, 0)
    hosts = tmp_path / backups.files.relative_to("/") / "etc" / "hosts"
    hosts.write_text("127.0.0.1 tampere\n", encoding="utf-8")  # of the same size
    os.utime(hosts, ns=((backups.files / "etc" / "hosts").stat().st_mtime_ns,) * 2)  # and time
    (tmp_path / "stays").touch()
    assert restore(backups, tmp_path, overwrite=True, check_mode=True)["changed"] is True
    assert "tampere" in hosts.read_text()
    assert restore(backups, tmp_path, overwrite=True)["changed"] is True
    assert backups.restored(tmp_path) == tree(backups.files)
    assert (tmp_path / "stays").exists()


@pytest.mark.long
def test_a_changed_mode_alone_counts(backups: Backups, tmp_path: Path) -> None:
    restore(backups, tmp_path)
    hosts = tmp_path / backups.files.relative_to("/") / "etc" / "hosts"
    hosts.chmod(0o777)
    assert restore(backups, tmp_path, overwrite=True)["changed"] is True
    assert restore(backups, tmp_path, overwrite=True)["changed"] is False


@pytest.mark.long
def test_nothing_outside_the_target_is_written(backups: Backups, tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    parent = target / backups.files.parent.relative_to("/")
    parent.mkdir(parents=True)
    (parent / backups.files.name).symlink_to(outside)
    assert restore(backups, target, overwrite=True)["changed"] is True
    assert tree(outside) == {}
    assert backups.restored(target) == tree(backups.files)


@pytest.mark.long
@pytest.mark.parametrize("name", ["first", "short"])
def test_restore_of_an_older_snapshot(backups: Backups, tmp_path: Path, name: str) -> None:
    chosen = backups.first if name == "first" else backups.first[:12]
    answer = restore(backups, tmp_path, snapshot=chosen, include_patterns=["hosts"])
    assert answer["snapshot"]["id"] == backups.first
    found = {path: content for path, content in backups.restored(tmp_path).items() if content is not None}
    assert found == {"etc/hosts": b"127.0.0.1 localhost\n"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"include_patterns": ["/no/such/thing"]}, "fits what is to be included"),
        ({"exclude": ["*"]}, "fits what is to be included"),
        ({"include": ["/no/such/thing"]}, "has no /no/such/thing, which was to be included"),
        ({"include": ["etc/hosts"]}, "no absolute path"),
    ],
)
def test_to_restore_nothing_is_a_failure(
    backups: Backups, tmp_path: Path, chosen: dict[str, list[str]], told: str
) -> None:
    for restic_path in (backups.bed.restic_path, old(tmp_path, backups.bed.restic_path)):
        answer = restore(backups, tmp_path / "new", restic_path=restic_path, **chosen)
        assert answer["failed"] and told in answer["msg"], answer
        assert not (tmp_path / "new").exists() or list((tmp_path / "new").iterdir()) == []


def test_paths_to_include_are_taken_as_they_are(backups: Backups, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name in ("one,two.txt", "[a]", "a", "b*", "bc", "it's"):
        (files / name).write_text(name)
    chosen = backups.bed.backup(files)
    include = [str(files / name) for name in ("one,two.txt", "[a]", "b*", "it's")]
    done = restore(backups, tmp_path / "new", snapshot=chosen, include=include)
    assert sorted(tree(tmp_path / "new" / files.relative_to("/"))) == ["[a]", "b*", "it's", "one,two.txt"], done
    missing = restore(backups, tmp_path / "other", snapshot=chosen, include=[*include, str(files / "[b]")])
    assert "has no" in missing["msg"] and not (tmp_path / "other").exists()
    backups.bed.unlock()
    backups.bed.restic.succeed(["forget", chosen])
    backups.bed.lock()


def test_a_forged_snapshot_of_the_year_0_keeps_no_other_from_being_restored(backups: Backups, tmp_path: Path) -> None:
    odd = backups.bed.backup(backups.files, "--time=0000-01-01 00:00:00")
    done = restore(backups, tmp_path / "new")
    assert done["snapshot"]["id"] == backups.second and odd in str(done["warnings"]), done
    backups.bed.unlock()
    backups.bed.restic.succeed(["forget", odd])
    backups.bed.lock()


@pytest.mark.long
def test_the_newest_of_each_job(backups: Backups, tmp_path: Path) -> None:
    jobs = [{"name": "etc", "paths": [f"{backups.files}/etc/"]}, {"name": "all", "paths": [str(backups.files)]}]
    done = restore(backups, tmp_path / "both", paths=[], jobs=jobs)
    assert done["snapshots"][0]["id"] == backups.second and len(done["snapshots"]) == 2, done
    assert backups.restored(tmp_path / "both") == tree(backups.files)
    assert restore(backups, tmp_path / "one", paths=[], jobs=jobs[1:])["snapshot"]["id"] == backups.second
    unclear = restore(backups, tmp_path / "none", paths=[], jobs=[])
    assert "several jobs" in unclear["msg"] and str(backups.files / "etc") in unclear["msg"]
    gone = restore(backups, tmp_path / "none", paths=[], jobs=[*jobs, {"name": "dump", "paths": ["/dump"]}])
    assert "no snapshot of the job dump" in gone["msg"]
    assert not (tmp_path / "none").exists()


def test_snapshot_by_id_and_latest_of_paths(backups: Backups, tmp_path: Path) -> None:
    assert restore(backups, tmp_path / "a", snapshot=backups.first, exclude=["big"])["snapshot"]["id"] == backups.first
    assert "etc/big" not in backups.restored(tmp_path / "a")
    found = restore(backups, tmp_path / "b", paths=[str(backups.files / "etc")])
    assert found["snapshot"]["hostname"] == "web2"


def test_an_old_restic_restores_too(backups: Backups, tmp_path: Path) -> None:
    program, target = old(tmp_path, backups.bed.restic_path), tmp_path / "new"
    assert restore(backups, target, restic_path=program, check_mode=True)["changed"] is True
    assert not target.exists()
    done = restore(backups, target, restic_path=program)
    assert backups.restored(target) == tree(backups.files)
    assert (done["changed"], done["verified"]) == (True, True)
    assert done["bytes"] == 300_018
    again = restore(backups, target, restic_path=program, overwrite=True)
    assert "needs restic 0.17.0 or later" in again["msg"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"snapshot": "feedfeed"}, "has no snapshot that fits feedfeed"),
        ({"snapshot": "--help"}, "is neither 'latest' nor a snapshot id"),
        ({"paths": ["/web9"]}, "has no snapshot that fits latest --path=/web9"),
        ({"target": "relative"}, "is not an absolute path"),
        ({"target": "/etc/hostname"}, "is not a folder"),
        ({"password": "x"}, "it opens no key"),
        ({"repository_id": "0" * 64}, "is expected"),
    ],
)
def test_bad_input_of_restore(backups: Backups, tmp_path: Path, arguments: dict[str, Any], sentence: str) -> None:
    answer = restore(backups, tmp_path, **arguments)
    assert answer["failed"] is True and sentence in answer["msg"], answer
    assert tree(tmp_path) == {"ansible": None} or not any(tmp_path.iterdir())


def test_restore_needs_no_boto3_and_tells_no_secret(backups: Backups, tmp_path: Path) -> None:
    bed = backups.bed
    wrapper, arguments = spy(tmp_path, bed.restic_path)[:2]
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "boto3.py").write_text("raise ImportError('not here')\n")
    options = {
        "s3_endpoint": bed.stand_in.s3_endpoint,
        "access_key_id": bed.stand_in.token_id,
        "secret_access_key": bed.stand_in.secret_access_key,
        "bucket": bed.bucket,
        "prefix": bed.prefix,
        "password": PASSWORD,
        "restic_path": wrapper,
        "target": str(tmp_path / "new"),
    }
    paths = os.pathsep.join([str(hidden), bed.ansible.environment()["PYTHONPATH"]])
    answer = bed.ansible.module("restic_restore", environment={"PYTHONPATH": paths}, **options)
    assert answer["verified"] is True
    told = json.dumps(answer) + arguments.read_text()
    assert not [secret for secret in bed.secrets() if secret in told]


def test_snapshots_and_their_upload_times(backups: Backups) -> None:
    bed = backups.bed
    bed.stand_in.set_upload_time(bed.bucket, f"web1/snapshots/{backups.first}", "2026-01-02T03:04:05Z")
    found = bed.module("restic_snapshot_info", upload_times=True)["snapshots"]
    assert [snapshot["id"] for snapshot in found][:2] == [backups.first, backups.second]
    assert found[0]["uploaded"] == "2026-01-02T03:04:05Z"
    assert [snapshot["tags"] for snapshot in found] == [["before"], [], []]
    assert [snapshot["hostname"] for snapshot in found] == ["web1", "web1", "web2"]
    assert "uploaded" not in bed.module("restic_snapshot_info", check_mode=True)["snapshots"][0]


def test_check_of_a_sound_repository(backups: Backups) -> None:
    for arguments in ({}, {"read_data": True, "check_mode": True}, {"read_data_subset": "1/2"}):
        answer = backups.bed.module("restic_check", **arguments)
        assert (answer["changed"], answer["ok"], answer["errors"]) == (False, True, []), answer
    assert "either read_data or" in backups.bed.module("restic_check", read_data=True, read_data_subset="1/2")["msg"]
    assert "must be a part (2/7)" in backups.bed.module("restic_check", read_data_subset="many")["msg"]


def test_modules_that_read_write_nothing(backups: Backups, tmp_path: Path) -> None:
    bed = backups.bed
    start = bed.stand_in.last_request()
    bed.module("restic_check")
    bed.module("restic_snapshot_info", upload_times=True)
    restore(backups, tmp_path)
    methods = {item["method"] for item in bed.stand_in.requests(start) if item["bucket"] == bed.bucket}
    assert methods <= {"GET", "HEAD"}


@pytest.mark.long
def test_what_an_attacker_adds_is_named_and_stops_no_restore(
    shared_stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path
) -> None:
    bed = Bed(shared_stand_in, ansible, restic_path, tmp_path)
    bed.initialise()
    made = bed.repository()
    files = sample(tmp_path / "files")
    bed.backup(files)
    planted = "f" * 64
    bed.s3.call("put_object", Key=f"snapshots/{planted}", Body=b"garbage")
    bed.s3.call("put_object", Key=f"keys/{'0' * 64}", Body=b"garbage")
    bed.s3.call("put_object", Key=f"locks/{planted}", Body=b"garbage")

    listed = bed.module("restic_snapshot_info", key_id=made["key_id"])
    assert listed["failed"] is True and "cannot read 1 of the snapshot objects" in listed["msg"]
    assert planted[:8] in listed["msg"]
    told = bed.module("restic_snapshot_info", key_id=made["key_id"], unreadable="tell", upload_times=True)
    assert len(told["snapshots"]) == 1 and planted[:8] in str(told["warnings"]), told

    answer = bed.module("restic_restore", key_id=made["key_id"], target=str(tmp_path / "new"))
    assert answer["verified"] is True
    assert planted[:8] in str(answer["warnings"])
    assert tree(tmp_path / "new" / files.relative_to("/")) == tree(files)


@pytest.mark.sample(of="examples")
def test_examples(stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path) -> None:
    bed = Bed(stand_in, ansible, restic_path, tmp_path, bucket="backup-web1")
    Bed(stand_in, ansible, restic_path, tmp_path, bucket="backup-shared")
    options = {"restic_path": restic_path, "cache_dir": str(tmp_path / "cache")}
    variables: dict[str, Any] = {
        "holdfast_password": PASSWORD,
        "holdfast_record_dir": str(tmp_path / "records"),
        "backup_jobs": [{"name": "files", "paths": [str(tmp_path / "files")], "max_age": 4}],
    }

    def run(module: str, **more: Any) -> None:
        ended = run_examples(ansible, stand_in, module, options={**options, **more}, variables=variables)
        assert ended.exit_code == 0, ended.output
        assert not ended.failed and ended.of(action=f"holdfast.restic_r2.{module}")

    run("restic_repository")
    variables["chosen_snapshot"] = bed.backup(sample(tmp_path / "files"))
    run("restic_snapshot_info")
    bed.lock()
    run("restic_verify", record_dir=str(tmp_path / "records"))
    run("restic_check")
    run("restic_restore", target=str(tmp_path / "new"), overwrite=True, include=[str(tmp_path / "files")])
    assert tree(tmp_path / "new" / (tmp_path / "files").relative_to("/")) == tree(tmp_path / "files")


@pytest.mark.long
def test_damage_is_found(shared_stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path) -> None:
    bed = Bed(shared_stand_in, ansible, restic_path, tmp_path)
    bed.initialise()
    bed.repository()
    bed.backup(sample(tmp_path / "files"))
    pack = max(bed.s3.list("data/"), key=lambda item: item.size)
    content = bytearray(bed.s3.get(pack.key))
    content[1000] ^= 1
    bed.s3.call("put_object", Key=pack.key, Body=bytes(content))
    assert bed.module("restic_check")["ok"] is True  # as documented: it did not look
    answer = bed.module("restic_check", read_data=True)
    assert (answer["failed"], answer["ok"]) == (True, False)
    assert os.path.basename(pack.key)[:8] in json.dumps(answer["errors"])

    broken = bed.module("restic_restore", target=str(tmp_path / "new"))
    assert broken["failed"] is True and "restic restore on" in broken["msg"] and "the first error" in broken["msg"]

    bed.s3.delete(pack.key)
    assert bed.module("restic_check")["ok"] is False


def test_a_run_that_takes_too_long_is_ended_and_says_which_option_to_raise(backups: Backups, tmp_path: Path) -> None:
    bed = backups.bed
    silent = program(tmp_path / "silent", "exec sleep 600")
    target, name = str(tmp_path / "new"), f"{bed.bucket}/web1"
    for module, more, told in (
        ("restic_check", {}, "was ended by its time limit of 1 seconds; nothing is known"),
        ("restic_restore", {"target": target}, f"was ended by its time limit of 1 seconds; {target} has what was"),
    ):
        before = bed.stand_in.last_request()
        for seconds in (0, 10**20):
            refused = bed.module(module, seconds=seconds, **more)
            assert f"seconds is {seconds}: write a number from 1 to 2678400" in refused["msg"]
        assert bed.stand_in.last_request() == before
        ended = bed.module(module, restic_path=silent, seconds=1, **more)["msg"]
        assert f" of {name} {told}" in ended and "Raise seconds" in ended, ended


@pytest.mark.parametrize(
    ("module", "part", "step"),
    [("restic_check", "index", "check"), ("restic_restore", "index", "ls"), ("restic_restore", "data", "restore")],
)
def test_restic_ends_at_the_limit_while_the_server_does_not_answer(
    backups: Backups, tmp_path: Path, module: str, part: str, step: str
) -> None:
    bed = backups.bed
    # Of the packs, the one with files: restic has read the others by then.
    held = (
        max(bed.s3.list(f"web1/{part}/"), key=lambda item: item.size).key if part == "data" else f"web1/{part}/[0-9a-f]"
    )
    more = {"snapshot": backups.first, "target": str(tmp_path / "new")} if module == "restic_restore" else {}
    bed.stand_in.fault(method="GET", path=f"/{bed.bucket}/{held}", held=True, times=0)
    since = bed.stand_in.last_request()
    try:
        with bed.start(module, cache_dir=str(tmp_path / "cache"), **more) as process:
            bed.stand_in.wait_for_request(timeout=60, since=since, arrived=True, path=f"/{held}")
            below = processes_of(process.pid, "module")
            commands = " ".join(map(describe, below))
            process.send_signal(signal.SIGALRM)  # as the timer does
            said = json.loads(process.communicate(timeout=60)[0])["msg"]
    finally:
        bed.stand_in.clear_faults()
    assert "was ended by its time limit of 86400 seconds" in said, said
    assert f"/restic {step} " in commands and all(gone(one.pid) for one in below), commands


def test_wrong_keys_are_named_at_once(backups: Backups) -> None:
    wrong = {"access_key_id": "0" * 32, "secret_access_key": "0" * 64}
    start = backups.bed.stand_in.last_request()
    answer = backups.bed.module("restic_check", **wrong)
    assert "the S3 keys are not accepted" in answer["msg"]
    assert len(backups.bed.stand_in.requests(start)) == 1
