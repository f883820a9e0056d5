# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A new password: a key is added under the lock, and the one of before goes in a window of keys/, when all works without."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.audit import audit_for
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.options import AUDIT
from ansible_collections.holdfast.restic_r2.plugins.module_utils._clients import Clients
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.arguments import (
    CLOUDFLARE,
    HOST_KEYS,
    RESTIC,
    S3,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import quick_key as _quick_key

from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.maintenance import PREFIX, LockedRepository
from tests.support.repositories import PASSWORD, program, spy
from tests.support.running import Ansible, Run

NEW = "another staple, quite as correct"


def ask(site: LockedRepository, *, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
    """Run the module; whatever it did, all is locked, and every recorded key is there."""
    asked = {"record_dir": str(site.bed.record_dir), "fence_seconds": 0, "lock_wait": 0, **arguments}
    result = site.bed.module("restic_key", check_mode=check_mode, **asked)
    assert not [secret for secret in (*site.bed.secrets(), NEW) if secret in json.dumps(result)]
    site.assert_locked()
    assert set(record(site)["keys"]) <= set(keys(site))
    return result


def change(site: LockedRepository, **arguments: Any) -> dict[str, Any]:
    """The same; afterwards one of the passwords opens the repository."""
    result = ask(site, **arguments)
    assert {PASSWORD, NEW} & opening(site)
    return result


def add(site: LockedRepository, **arguments: Any) -> dict[str, Any]:
    return change(site, **{"new_password": NEW, **arguments})


def only(site: LockedRepository, **arguments: Any) -> dict[str, Any]:
    return change(site, **{"state": "only", "password": NEW, **arguments})


def keys(site: LockedRepository) -> list[str]:
    start = f"{PREFIX}keys/"
    return sorted(
        key.removeprefix(start) for key in site.bed.stand_in.objects(site.bed.bucket) if key.startswith(start)
    )


def record(site: LockedRepository) -> dict[str, Any]:
    return dict(json.loads((folder(site) / "record.json").read_text(encoding="utf-8")))


def folder(site: LockedRepository) -> Path:
    return site.bed.record_dir / site.bed.bucket / PREFIX.rstrip("/")


def copies(site: LockedRepository) -> list[str]:
    return sorted(path.name for path in (folder(site) / "keys").iterdir())


def opening(site: LockedRepository) -> set[str]:
    """Which passwords open the repository, in restic's own words."""
    found = set()
    for password in (PASSWORD, NEW):
        done = site.bed.restic.opened_by("", password).run(["cat", "config", "--no-lock"])
        assert done.exit_code in (0, 12), done
        found |= {password} if done.exit_code == 0 else set()
    return found


def maintained(site: LockedRepository, **arguments: Any) -> dict[str, Any]:
    result = site.prune(**arguments)
    assert "failed" not in result, result
    return result


@pytest.mark.sample(of="stories")
def test_added_then_alone_and_maintained_at_every_step(site: LockedRepository) -> None:
    (old,) = keys(site)
    program_path, arguments, _environment = spy(site.bed.home, site.bed.restic_path)
    before = site.bed.keys()
    foreseen = add(site, check_mode=True)
    assert (foreseen["changed"], foreseen["added"], foreseen["key_id"]) == (True, True, "")
    assert site.bed.keys() == before

    made = add(site, restic_path=program_path)
    new = made["key_id"]
    assert made["changed"] is made["added"] is True and made["windows"] == made["fences"] == []
    assert keys(site) == sorted([old, new]) == record(site)["keys"] == copies(site)
    assert record(site)["key_id"] == old and opening(site) == {PASSWORD, NEW} and site.exposed() == []
    said = arguments.read_text(encoding="utf-8")
    assert "key add --new-password-file=/dev/fd/" in said and PASSWORD not in said and NEW not in said
    again = add(site)
    assert (again["changed"], again["key_id"]) == (False, new)
    # Both passwords maintain what both open.
    assert site.audit()["blocked"] is False and site.audit(password=NEW)["blocked"] is False
    assert maintained(site, password=NEW, max_remove="100%")["removed"]

    asked = only(site, check_mode=True)
    assert (asked["changed"], asked["removed"], asked["key_id"]) == (True, [old], new) and len(keys(site)) == 2
    site.bed.stand_in.clear_log()
    done = only(site)
    assert (done["changed"], done["removed"], done["key_id"]) == (True, [old], new)
    assert keys(site) == [new] == record(site)["keys"] == copies(site) and record(site)["key_id"] == new
    assert opening(site) == {NEW} and {entry["prefix"] for entry in site.exposed()} == {f"{PREFIX}keys/"}
    assert [window["in_force"] for window in done["windows"]] == [True]
    assert {entry["key"] for entry in site.destroyed()} == {f"{PREFIX}keys/{old}"}
    assert only(site)["changed"] is False
    site.bed.restic.opened_by(new, NEW).succeed(["backup", str(site.files)])
    maintained(site, password=NEW)
    refused = site.prune()
    assert "password" in refused["msg"] and "wrong" in refused["msg"]


@pytest.mark.long
def test_the_old_password_can_stay_instead(site: LockedRepository) -> None:
    (old,) = keys(site)
    new = add(site)["key_id"]
    gone = only(site, password=PASSWORD)
    assert (gone["removed"], gone["key_id"]) == ([new], old) and opening(site) == {PASSWORD}


REFUSED: dict[str, tuple[Callable[[LockedRepository], dict[str, Any]], str]] = {
    "a short one": (lambda site: add(site, new_password="1234567"), "fewer than 8 characters"),
    "one that restic would read otherwise": (lambda site: add(site, new_password=NEW + "\n"), "white space"),
    "a wrong old one": (lambda site: add(site, password="not the password"), "is wrong"),
    "one that opens nothing": (lambda site: only(site, password="not the password"), "opens none of its recorded keys"),
    "without a record": (lambda site: add(site, record_dir=str(site.bed.home)), "There is no record"),
}


@pytest.mark.long
def test_refused_before_anything_is_changed(site: LockedRepository) -> None:
    before = site.bed.keys()
    for name, (act, sentence) in REFUSED.items():
        refused = act(site)
        assert refused["failed"] is True and sentence in refused["msg"], (name, refused)
        assert site.bed.keys() == before and site.exposed() == [] and record(site)["keys"] == keys(site)


@pytest.mark.long
def test_a_frozen_host_and_a_key_of_a_stranger_are_refused(site: LockedRepository) -> None:
    frozen = folder(site) / "frozen"
    frozen.write_text("Since today.\n", encoding="utf-8")
    assert "was frozen after a break-in" in add(site)["msg"]
    frozen.unlink()
    add(site)
    site.add(f"keys/{'0' * 64}", b"garbage")
    for asked in ({"state": "only"}, {"new_password": "a third one, and long"}):
        refused = ask(site, **asked)
        assert "were not recorded, the first is 000000000000" in refused["msg"], refused
    assert len(keys(site)) == 3 and site.exposed() == []


@pytest.mark.sample(of="stories")
def test_interrupted_anywhere_the_next_run_goes_on(site: LockedRepository) -> None:
    (old,) = keys(site)
    # restic has added the key, and its answer, or the run, was lost.
    lost = program(site.bed.home / "lost", f"""'{site.bed.restic_path}' "$@" || exit
case "$1 $2" in "key add") exit 1;; esac""")  # fmt: skip
    assert add(site, restic_path=lost)["failed"] is True
    assert len(keys(site)) == 2 and record(site)["keys"] == [old]
    done = add(site)
    assert done["added"] is True and len(keys(site)) == 2 and record(site)["keys"] == keys(site)

    # The window is open, and nothing is deleted in it.
    site.bed.stand_in.fault(kind="DeleteObjects", status=500, times=0)
    stopped = only(site)
    site.bed.stand_in.clear_faults()
    assert stopped["failed"] is True and stopped["removed"] == [] and len(keys(site)) == 2
    assert record(site)["leaving"] == [old] and record(site)["keys"] == [done["key_id"]]
    # Maintenance goes on meanwhile, and says what is left to do.
    codes = {finding["code"]: finding["severity"] for finding in maintained(site, password=NEW)["findings"]}
    assert codes["key_leaving"] == "warn"
    assert only(site)["removed"] == [old] and "leaving" not in record(site)

    # It was deleted, and the end of the run was not recorded.
    kept = record(site)
    (folder(site) / "record.json").write_text(json.dumps({**kept, "leaving": [old]}), encoding="utf-8")
    (folder(site) / "record.json").chmod(0o600)
    maintained(site, password=NEW)
    last = only(site)
    assert (last["changed"], last["removed"], last["windows"]) == (True, [], []) and record(site) == kept


@pytest.mark.long
def test_where_python_cannot_encrypt_either_password_reads_what_is_new(
    site: LockedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then restic opens what came since the baseline by the recorded keys, in a folder of its own."""
    monkeypatch.setattr(_quick_key, "HAS_CRYPTOGRAPHY", False)
    add(site)
    site.back_up()
    spec = {**CLOUDFLARE, **S3, **HOST_KEYS, **RESTIC, **AUDIT}
    defaults = {name: option.get("default") for name, option in spec.items()}
    for password in (NEW, PASSWORD):
        asked = {
            **site.bed.options,
            "record_dir": str(site.bed.record_dir),
            "baseline": "compare",
            "password": password,
        }
        audit = audit_for(Clients({**defaults, **asked}), check_mode=True)
        audit.run()
        assert audit.outcome["blocked"] is False and audit.outcome["read"]["indexes"] == 1, audit.outcome


@pytest.mark.long
def test_hosts_are_kept_out_while_keys_are_open(site: LockedRepository) -> None:
    bed = site.bed
    account = {name: bed.account[name] for name in ("account_id", "api_token", "api_url")}
    made = bed.ansible.module(
        "r2_host_token", **account, name="web1", bucket=bed.bucket, prefix=PREFIX, record_dir=str(bed.record_dir)
    )
    assert "failed" not in made, made
    add(site)
    (fence,) = only(site)["fences"]
    assert fence["tokens"] == [made["access_key_id"]] and fence["without"] is None
    (window,) = site.exposed()
    instants = [datetime.fromisoformat(fence[name]).timestamp() for name in ("disabled", "enabled")]
    assert int(instants[0]) <= window["from"] and window["to"] <= instants[1] + 1
    # Told by the second; the stand-in has seen in which order it was.
    order = [request["path"].rpartition("/")[2] for request in bed.stand_in.requests() if request["method"] == "PUT"]
    token, lock = made["access_key_id"], "lock"
    changes = [one for one in order if one in (token, lock)]
    assert changes == [lock, token, lock, lock, token, lock], order


class Change:
    """A fleet of one host whose password is changed by the playbook."""

    def __init__(self, ansible: Ansible, fleet: Fleet) -> None:
        self.ansible = ansible
        self.fleet = fleet
        self.host = fleet.host("web1")
        fleet.secrets.append(NEW)
        self.done("site")

    def done(self, name: str) -> None:
        run = self.ansible.playbook(f"holdfast.restic_r2.{name}", self.fleet.inventory)
        assert run.exit_code == 0, run.output

    def step(self, name: str, *arguments: str) -> Run:
        run = self.ansible.playbook(
            "holdfast.restic_r2.password", self.fleet.inventory, *arguments, variables={"holdfast_password_step": name}
        )
        assert not [secret for secret in self.fleet.secrets if secret in run.output]
        return run

    def on_host(self) -> str:
        return (self.fleet.home("web1") / "etc" / "password").read_text(encoding="utf-8")

    def keys(self) -> int:
        return len([key for key in self.fleet.stand_in.objects("backup-web1") if key.startswith("keys/")])

    def backs_up(self) -> bool:
        return self.fleet.backup("web1").returncode == 0

    def open(self) -> set[str]:
        return {entry["prefix"] for entry in self.fleet.stand_in.ledger()["exposures"]}


@pytest.fixture(name="playbook")
def fixture_playbook(ansible: Ansible, stand_in: StandIn, restic_path: str, tmp_path: Path) -> Change:
    return Change(ansible, Fleet(tmp_path / "fleet", stand_in, restic_path))


@pytest.mark.proof
def test_the_playbook_does_nothing_for_who_has_not_written_down_what(playbook: Change) -> None:
    for name, text in {"add": "as holdfast_new_password", "": "write one of add, remove"}.items():
        refused = playbook.step(name)
        assert refused.exit_code == 2 and text in refused.failed[0].result["msg"], refused.output
    playbook.host["holdfast_new_password"] = NEW
    assert "take holdfast_new_password away" in playbook.step("remove").failed[0].result["msg"]
    dry = playbook.step("add", "--check")
    assert dry.exit_code == 0 and dry.of(action="holdfast.restic_r2.restic_key")[0].changed, dry.output
    assert playbook.keys() == 1 and playbook.on_host() == playbook.host["holdfast_password"]


@pytest.mark.proof
def test_the_playbook_step_by_step(playbook: Change) -> None:
    assert playbook.backs_up()
    playbook.host["holdfast_new_password"] = NEW
    added = playbook.step("add", "-vvv", "--diff")
    assert added.exit_code == 0 and playbook.on_host() == NEW and playbook.keys() == 2, added.output
    assert playbook.backs_up() and playbook.open() == set()
    again = playbook.step("add")
    # A copy beside the files in use comes and goes each time, and is proved.
    assert {one.action for one in again.changed} == {"holdfast.restic_r2.host_credentials"}

    playbook.host["holdfast_password"] = playbook.host.pop("holdfast_new_password")
    dry = playbook.step("remove", "--check")
    assert dry.exit_code == 0 and dry.of(action="holdfast.restic_r2.restic_key")[1].changed, dry.output
    # For a host that has not proved that it works with the new one, the old one stays.
    program_path = playbook.fleet.home("web1") / "bin" / "restic"
    content = program_path.read_bytes()
    program_path.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    playbook.fleet.common.update(backup_prove_retries=0, backup_prove_timeout=30)
    failing = playbook.step("remove")
    assert failing.exit_code == 2 and "What the host has works" in failing.output and playbook.keys() == 2
    program_path.write_bytes(content)
    removed = playbook.step("remove", "-vvv", "--diff")
    assert removed.exit_code == 0 and playbook.keys() == 1, removed.output
    assert playbook.open() == {"keys/"} and playbook.backs_up()
    journal = next((playbook.fleet.folder / "records").glob("journal-*.jsonl")).read_text(encoding="utf-8")
    lines = [line for line in map(json.loads, journal.splitlines()) if line["run"] == "password"]
    assert [(line["step"], line["result"]) for line in lines] == [
        ("add", "ok"), ("add", "ok"), ("remove", "failed"), ("remove", "ok")
    ]  # fmt: skip
    assert [one["parts"] for one in lines[-1]["windows"]] == [["keys"]] and not [
        secret for secret in playbook.fleet.secrets if secret in journal
    ]
    for name in ("site", "maintenance", "verify"):
        playbook.done(name)
    # Each window is in the journal, and so in no note any more.
    assert not list((playbook.fleet.folder / "records").rglob("window-*.json"))
