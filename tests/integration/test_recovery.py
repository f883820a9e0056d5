# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The day after an attack: what somebody planted is removed by name, and the repository is maintained again."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Restic
from ansible_collections.holdfast.restic_r2.plugins.module_utils._tokens.key_file import FILE
from botocore.exceptions import ClientError

from tests.attacks import garbage, indexes, keys, snapshots
from tests.attacks.attack import POLICIES
from tests.attacks.host import Host
from tests.attacks.scene import Copy, Template, contents, copy_of, make_template, stage
from tests.stand_in.client import StandIn
from tests.support.repositories import Bed
from tests.support.running import Run

POLICY = "daily"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="module")
def there(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with stage(template, tmp_path_factory.mktemp("stage")) as stand_in:
        yield stand_in


@pytest.fixture
def copy(template: Template, there: StandIn, tmp_path: Path) -> Copy:
    return copy_of(template, there, tmp_path / "copy", template.bucket)


def before_the_attack() -> str:
    """The template's newest backup is two hours old."""
    return (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat(timespec="seconds")


def arguments_for(copy: Copy, names: list[str]) -> dict[str, Any]:
    options = {name: copy.bed.options[name] for name in (*copy.bed.account, "prefix")}
    path = copy.bed.record_dir.parent / "keys.json"
    path.write_text(json.dumps(names), encoding="utf-8")
    return {
        **options,
        "stored_since": before_the_attack(),
        "record_dir": str(copy.bed.record_dir),
        "keys_file": str(path),
        "fence_seconds": 0,
        "lock_wait": 0,
    }


def remove(copy: Copy, names: list[str], check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
    asked = {**arguments_for(copy, names), **arguments}
    return copy.bed.ansible.module("r2_object", check_mode=check_mode, **asked)


def maintain(copy: Copy) -> dict[str, Any]:
    return copy.bed.module("restic_prune", record_dir=str(copy.bed.record_dir), lock_wait=0, **POLICIES[POLICY])


def exposed(copy: Copy) -> list[str]:
    found = copy.bed.stand_in.ledger()["exposures"]
    return sorted({entry["prefix"] for entry in found if entry["bucket"] == copy.bed.bucket})


ATTACKS: dict[str, tuple[Callable[[Host], None], list[str]]] = {
    "garbage in index": (partial(garbage.garbage, "index/", b"x" * 300), ["index/"]),
    "garbage in snapshots": (partial(garbage.garbage, "snapshots/", b""), ["snapshots/"]),
    "keys of strangers": (keys.many, ["keys/"]),
    "twins": (partial(indexes.twins, 1), ["data/", "index/"]),
    "future days": (partial(snapshots.with_times, snapshots.future_days), ["snapshots/"]),
}


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", ATTACKS)
def test_what_was_planted_is_removed_and_maintenance_goes_on(copy: Copy, name: str) -> None:
    attack, parts = ATTACKS[name]
    before = copy.objects()
    host = copy.host()
    attack(host)
    planted = sorted(host.added)
    assert planted and set(planted).isdisjoint(before)

    dry = remove(copy, planted, check_mode=True)
    assert dry["removed"] == planted and exposed(copy) == [] and set(planted) <= set(copy.objects())

    done = remove(copy, planted)
    assert done["removed"] == planted and done["changed"] is True, done
    assert copy.objects() == before
    assert exposed(copy) == parts
    assert [window["in_force"] for window in done["windows"]] == [True]
    assert copy.bed.stand_in.rules(copy.bed.bucket) == lock_set("")

    again = remove(copy, planted)
    assert again["changed"] is False and again["absent"] == planted and again["windows"] == []
    maintained = maintain(copy)
    assert "failed" not in maintained, maintained
    assert maintained["removed"] and copy.unrestorable(copy.template.kept[POLICY]) == []


def test_a_name_that_is_no_lock_is_told_with_what_removes_it(copy: Copy) -> None:
    """restic itself takes it for a lock that it cannot read, and does not remove it either."""
    before = copy.objects()
    planted = "locks/" + "AB" * 32
    copy.host().put(planted, b"x" * 100)
    found = copy.bed.module("restic_audit", record_dir=str(copy.bed.record_dir))["findings"]
    (named,) = [finding for finding in found if planted in finding["objects"]]
    assert named["severity"] == "warn" and "holdfast_recover=remove" in named["what_to_do"], named
    asked = {**arguments_for(copy, []), "findings": [named["id"]]}
    del asked["keys_file"]
    done = copy.bed.ansible.module("r2_object", **asked)
    assert done["removed"] == [planted] and done["windows"] == [], done
    assert copy.objects() == before and planted not in copy.host().sizes()


@pytest.mark.long
def test_what_was_there_before_is_never_removed(copy: Copy) -> None:
    before = copy.objects()
    host = copy.host()
    host.put_named("index", b"garbage")
    (planted,) = host.added
    key = f"keys/{copy.key_id}"
    genuine = next(name for name in before if name.startswith("snapshots/"))
    refusals = {
        genuine: "before the break-in",
        "config": "is in the record",
        key: "is in the record",
    }
    for name, sentence in refusals.items():
        refused = remove(copy, [planted, name])
        assert refused["failed"] is True and sentence in refused["msg"], refused
        assert refused["removed"] == [] and refused["windows"] == []
    # A wrong date does not help against the record, and nonsense is none.
    old = remove(copy, [planted, key], stored_since="2000-01-01")
    assert "is in the record" in old["msg"]
    assert "write it like" in remove(copy, [planted], stored_since="yesterday")["msg"]
    assert {**before, planted: copy.objects()[planted]} == copy.objects() and exposed(copy) == []


def planted_everywhere(host: Host) -> list[str]:
    """What makes a window open all parts: names that begin as genuine ones do."""
    names = [
        f"{part}/{number:064x}" for part in ("config", "keys", "data/00", "index", "snapshots") for number in range(9)
    ]
    for name in names:
        host.put(name, b"x")
    return sorted(names)


@contextmanager
def deleting(host: Host, names: list[str]) -> Iterator[Counter[str]]:
    """The host deletes all the time; what it got for an answer."""
    answers: Counter[str] = Counter()
    end = threading.Event()

    def run() -> None:
        while not end.is_set():
            for name in names:
                try:
                    host.s3.delete_object(Bucket=host.bucket, Key=name)
                    answers["deleted"] += 1
                except ClientError as error:
                    answers[error.response["Error"]["Code"]] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield answers
    finally:
        end.set()
        thread.join()


@pytest.mark.sample(of="stories")
def test_a_host_that_deletes_meanwhile_destroys_nothing_while_objects_are_removed(copy: Copy) -> None:
    """It was not frozen: maintenance has only warned of what was planted."""
    before = copy.objects()
    host = copy.host()
    planted = planted_everywhere(host)
    asked = arguments_for(copy, planted)
    listed = {"holdfast_remove_keys_file": asked["keys_file"], "holdfast_remove_stored_since": asked["stored_since"]}
    copy.bed.stand_in.clear_log()
    with deleting(host, sorted(before)) as answers:
        run = playbook(copy, "remove", holdfast_fence_seconds=0, holdfast_lock_wait=0, **listed)
    assert copy.objects() == before and answers["deleted"] == 0, answers
    assert run.exit_code == 0, run.output
    result = run.of(action="holdfast.restic_r2.r2_object")[0].result
    assert result["removed"] == planted
    (fence,) = result["fences"]
    assert len(fence["tokens"]) == 1 and fence["without"] is None and answers["Unauthorized"], answers
    # What opens the data, and the data, are never open at a time.
    assert [one["prefixes"] for one in result["windows"]] == [["config", "keys/"], ["data/", "index/", "snapshots/"]]
    sent = [one for one in copy.bed.stand_in.requests() if one["kind"] == "DeleteObjects"]
    assert len(sent) == 2
    host.put("locks/still", b"x")  # its token works again


def test_nothing_is_unlocked_where_the_host_cannot_be_kept_out_unless_asked_for_by_name(copy: Copy) -> None:
    host = copy.host()
    planted = planted_everywhere(host)
    copy.bed.stand_in.create_token("of a stranger", bucket=copy.bed.bucket)
    refused = remove(copy, planted)
    assert refused["failed"] and "of a stranger" in refused["msg"] and "set fence to never" in refused["msg"], refused
    assert exposed(copy) == [] and set(planted) <= set(copy.objects()) and refused["removed"] == refused["fences"] == []
    assert "fence_seconds is 3601" in remove(copy, planted, fence_seconds=3601)["msg"]

    asked = arguments_for(copy, planted)
    listed = {"holdfast_remove_keys_file": asked["keys_file"], "holdfast_remove_stored_since": asked["stored_since"]}
    run = playbook(copy, "remove", holdfast_fence="never", **listed)
    assert run.exit_code == 0 and set(planted).isdisjoint(copy.objects()), run.output
    journal = next(copy.bed.record_dir.glob("journal-*.jsonl")).read_text(encoding="utf-8")
    last = json.loads(journal.splitlines()[-1])
    assert (last["step"], last["unfenced"]) == ("remove", "asked for by fence=never"), last
    assert [one["parts"] for one in last["windows"]] == [["config", "keys"], ["data", "index", "snapshots"]]


def inventory_of(copy: Copy) -> dict[str, Any]:
    """The host of the copy, whose token is managed."""
    bed = copy.bed
    return {
        "holdfast": {
            "hosts": {bed.bucket: {}},
            "vars": {
                "holdfast_account_id": bed.stand_in.account_id,
                "holdfast_api_token": bed.stand_in.api_token,
                "holdfast_api_url": bed.stand_in.api_url,
                "holdfast_s3_endpoint": bed.stand_in.s3_endpoint,
                "holdfast_token_id": bed.stand_in.token_id,
                "holdfast_bucket": bed.bucket,
                "holdfast_password": bed.options["password"],
                "holdfast_record_dir": str(bed.record_dir),
                "holdfast_restic_path": bed.restic_path,
                "repository_token_name": bed.bucket,
            },
        }
    }


def playbook(copy: Copy, step: str, *arguments: str, **variables: Any) -> Run:
    """The recover playbook, for the host of the copy."""
    bed = copy.bed
    wanted = {"holdfast_recover": step, **variables}
    return bed.ansible.playbook("holdfast.restic_r2.recover", inventory_of(copy), *arguments, variables=wanted)


@pytest.mark.sample(of="stories")
def test_the_playbook_goes_step_by_step(copy: Copy) -> None:
    before = copy.objects()
    host = copy.host()
    snapshots.missing_tree(host)
    planted = sorted(host.added)

    assert playbook(copy, "remove").exit_code != 0  # without a list
    frozen = playbook(copy, "freeze")
    assert frozen.exit_code == 0, frozen.output
    with pytest.raises(ClientError):
        host.put("junk", b"")
    refused_everything(copy)

    judged = playbook(copy, "judge")
    assert judged.exit_code == 0, judged.output
    findings = judged.of(task="Show the findings")[0].result["msg"]
    assert {finding["code"]: finding["objects"] for finding in findings}["missing_tree"] == planted
    rows = judged.of(task="Show the snapshots")[0].result["msg"]
    forged = planted[0].removeprefix("snapshots/")[:8]
    assert len(rows) == 1 + len(copy.template.contents) + 1 and rows[-1].split()[1] == forged

    (named,) = [finding["id"] for finding in findings if finding["code"] == "missing_tree"]
    listed = {"holdfast_remove_findings": [named], "holdfast_remove_stored_since": before_the_attack()}
    dry = playbook(copy, "remove", "--check", **listed)
    assert dry.exit_code == 0 and planted[0] in copy.objects(), dry.output
    removed = playbook(copy, "remove", **listed)
    assert removed.exit_code == 0 and copy.objects() == before, removed.output
    # Frozen, it has no token that a fence could disable.
    (fence,) = removed.of(action="holdfast.restic_r2.r2_object")[0].result["fences"]
    assert fence["tokens"] == [] and "no token reaches the repository" in fence["without"]

    thawed = playbook(copy, "thaw")
    assert thawed.exit_code == 0 and thawed.changed, thawed.output
    made = copy.bed.ansible.playbook([PROVISION], inventory_of(copy))
    assert made.exit_code == 0, made.output
    assert made.of(action="holdfast.restic_r2.r2_host_token")[0].changed and (copy.record / FILE).exists()


PROVISION = {"hosts": "holdfast", "gather_facts": False, "roles": ["holdfast.restic_r2.repository"]}


def refused_everything(copy: Copy) -> None:
    """Nobody gives a frozen host keys: not the repository's side of site, not rotate, not refresh."""
    steps: list[Any] = [[PROVISION]]
    for state, temporary in (("staged", False), ("promoted", False), ("present", True)):
        role = {"name": "holdfast.restic_r2.repository", "tasks_from": "keys"}
        variables = {"repository_token_state": state, "repository_temporary": temporary}
        tasks = [{"name": state, "ansible.builtin.include_role": role, "vars": variables}]
        steps.append([{"hosts": "holdfast", "gather_facts": False, "tasks": tasks}])
    for play in steps:
        run = copy.bed.ansible.playbook(play, inventory_of(copy))
        (failed,) = run.failed
        # Credentials are registered without being shown.
        hidden = "'repository_temporary': True" in str(play)
        assert hidden or "was frozen after a break-in" in failed.result["msg"], run.output
    assert not (copy.record / FILE).exists()


@pytest.mark.sample(of="stories")
def test_what_is_trusted_moves_to_a_new_repository(copy: Copy, tmp_path: Path) -> None:
    """As docs/recovery.md has it: copied under the lock, accepted by a person, maintained by the times that they claim."""
    trusted = sorted(copy.template.contents, key=list(copy.template.contents).index)[-8:]
    old = copy.bed
    new = Bed(old.stand_in, old.ansible, old.restic_path, tmp_path / "new")
    assert "failed" not in new.repository(password="another one")
    new.lock()
    copied = subprocess.run(
        [old.restic_path, "copy", "--from-repo", old.restic.repository.address, *trusted],
        env={
            "PATH": os.defpath,
            "HOME": str(tmp_path),
            "AWS_ACCESS_KEY_ID": old.stand_in.token_id,
            "AWS_SECRET_ACCESS_KEY": old.stand_in.secret_access_key,
            "AWS_DEFAULT_REGION": "auto",
            "RESTIC_FROM_PASSWORD": old.options["password"],
            "RESTIC_FROM_KEY_HINT": copy.key_id,
            "RESTIC_REPOSITORY": new.restic.repository.address,
            "RESTIC_PASSWORD": "another one",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert copied.returncode == 0, copied.stderr
    options = {"record_dir": str(new.record_dir), "password": "another one"}
    by_claims = {**options, "lock_wait": 0, "retention_time": "snapshot", "keep_daily": 3}
    refused = new.module("restic_prune", **by_claims)
    assert [finding["code"] for finding in refused["findings"]] == ["claimed_time"]
    accepted = new.module("restic_audit", baseline="rebuild", **options)
    assert accepted["changed"] is True, accepted
    done = new.module("restic_prune", **by_claims)
    assert "failed" not in done and len(done["kept"]) == 3 and len(done["removed"]) == 5, done
    # Of the same days, and whole: copies have other ids.
    program = Restic(replace(new.restic.repository, password="another one"), path=old.restic_path)
    found = {snapshot["original"]: snapshot["id"] for snapshot in program.snapshots()}
    assert set(found) == set(trusted[-3:])
    for original, name in found.items():
        target = tmp_path / original
        program.succeed(["restore", f"{name}:{copy.template.paths}", "--target", str(target), "--no-lock"])
        assert contents(target) == copy.template.contents[original]
