# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What looks like ransomware, with the real restic: it is found, it holds what came before it, and only a person clears it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.stand_in.client import StandIn
from tests.support.maintenance import PREFIX, LockedRepository
from tests.support.repositories import Bed, program, without_summary
from tests.support.running import Ansible

WORDS = (
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dogs",
    "while",
    "others",
    "look",
    "on",
    "and",
    "say",
    "nothing",
)


def text(number: int) -> bytes:
    """Some KiB that can be compressed, and that are different in each file."""
    return " ".join(
        f"{WORDS[(number * 7 + place * place) % len(WORDS)]}{place * number}" for place in range(500)
    ).encode()


class Files:
    """What a job backs up."""

    def __init__(self, site: LockedRepository) -> None:
        self.site = site
        self.root = site.bed.home / "docs"

    def write(self, start: int = 0) -> None:
        for number in range(60):
            path = self.root / f"d{number % 12}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text(start + number))

    def encrypt(self, ending: str = "") -> None:
        for path in [path for path in self.root.rglob("*") if path.is_file()]:
            size = path.stat().st_size
            path.unlink()
            path.with_name(path.name + ending).write_bytes(os.urandom(size))

    def back_up(self, *more: str) -> str:
        return self.site.bed.backup(self.root, "--tag=job:docs", *more)


@pytest.fixture
def files(site: LockedRepository) -> Files:
    """A job with one snapshot that was looked at."""
    files = Files(site)
    files.write()
    files.back_up()
    looked = site.audit(baseline="update")
    assert looked["signals"] == [] and "failed" not in looked
    return files


def kept(site: LockedRepository) -> Path:
    return site.bed.record_dir / site.bed.bucket / PREFIX / "signals"


def signal_codes(result: dict[str, Any]) -> list[str]:
    return sorted(signal["code"] for signal in result["signals"])


def accept(site: LockedRepository, *ids: str, **more: Any) -> dict[str, Any]:
    where = {"bucket": site.bed.bucket, "prefix": PREFIX, "record_dir": str(site.bed.record_dir)}
    said = {"accept": list(ids), "accepted_by": "Ada", "reason": "made anew", **more}
    return site.bed.ansible.module("restic_signals", **where, **said)


@pytest.mark.sample(of="stories")
def test_encryption_is_held_until_a_person_accepts_it(site: LockedRepository, files: Files) -> None:
    good = site.snapshots()
    for folder in [path for path in files.root.iterdir() if path.is_dir()]:
        (folder / "HOW_TO_PAY.txt").write_bytes(b"Send one coin, and the key is sent to you." * 3)
    files.encrypt(".locked")
    for folder in [path for path in files.root.iterdir() if path.is_dir()]:
        (folder / "HOW_TO_PAY.txt.locked").rename(folder / "HOW_TO_PAY.txt")
        (folder / "HOW_TO_PAY.txt").write_bytes(b"Send one coin, and the key is sent to you." * 3)
    bad = files.back_up()
    # A look without an answer that is kept, and one in check mode, find it, and keep nothing.
    before = kept(site).read_bytes()
    wanted = ["common_ending", "looks_encrypted", "note_files"]
    assert signal_codes(site.audit()) == signal_codes(site.prune(keep_last=1, check_mode=True)) == wanted
    assert kept(site).read_bytes() == before
    # The retention would leave one of each group.
    held = site.prune(keep_last=1, max_remove="100%")
    assert "failed" not in held and held["removed"] == [] and set(good) <= set(site.snapshots())
    assert signal_codes(held) == wanted
    signal = next(one for one in held["signals"] if one["code"] == "looks_encrypted")
    assert signal["snapshot"] == bad and signal["last_good"] == good[-1]
    evidence = next(one for one in held["findings"] if one["id"] == signal["id"])
    assert evidence["severity"] == "warn" and f"The last snapshot before it is {good[-1][:12]}" in evidence["evidence"]
    # Once more, and after the host has put everything back: nothing that it does accepts it.
    files.write()
    files.back_up()
    assert signal_codes(site.prune(keep_last=1, max_remove="100%")) == wanted
    assert set(good) <= set(site.snapshots())
    assert accept(site, *(one["id"] for one in held["signals"]), reason=" ")["failed"]
    assert accept(site, "0" * 12)["failed"] and accept(site, accepted_by="")["signals"] == accept(site)["signals"]
    done = accept(site, *(one["id"] for one in held["signals"]))
    assert done["changed"] and done["signals"] == [] and b'"by": "Ada"' in kept(site).read_bytes()
    assert not accept(site, *(one["id"] for one in held["signals"]))["changed"]
    freed = site.prune(keep_last=1, max_remove="100%")
    assert freed["signals"] == [] and good[-1] in {one["id"] for one in freed["removed"]}


def test_an_upgrade_and_photos_are_no_signal(site: LockedRepository, files: Files) -> None:
    files.write(start=1000)
    for number in range(30):
        (files.root / f"photo{number}.jpg").write_bytes(os.urandom(20_000))
    files.back_up()
    looked = site.audit(baseline="update")
    assert looked["signals"] == [] and "failed" not in looked


def test_no_files_at_all_and_a_job_that_begins(site: LockedRepository, files: Files) -> None:
    for path in [path for path in files.root.rglob("*") if path.is_file()]:
        path.unlink()
    files.back_up()
    empty = site.bed.home / "empty"
    empty.mkdir()
    site.bed.backup(empty, "--tag=job:empty")
    found = site.audit(baseline="update")
    assert signal_codes(found) == ["no_files"]
    assert "It has no file at all, where there were 60" in found["signals"][0]["evidence"]
    # From nothing to something is a beginning.
    (empty / "x").write_bytes(b"x")
    site.bed.backup(empty, "--tag=job:empty")
    assert signal_codes(site.audit(baseline="update")) == ["no_files"]


@pytest.mark.long
def test_what_cannot_be_looked_at_is_held(site: LockedRepository, files: Files) -> None:
    good = site.snapshots()
    files.encrypt()
    files.back_up()
    script = f"""[ "$1" = diff ] && {{ echo 'Fatal: no' >&2; exit 1; }}; exec '{site.bed.restic_path}' "$@" """
    broken = program(site.bed.home / "no-diff", script)
    held = site.prune(keep_last=1, max_remove="100%", restic_path=broken)
    assert "failed" not in held and signal_codes(held) == ["not_looked_at"] and set(good) <= set(site.snapshots())
    assert "restic diff on" in held["signals"][0]["evidence"]
    assert signal_codes(site.prune(keep_last=1, max_remove="100%")) == ["looks_encrypted"]
    assert set(good) <= set(site.snapshots())


@pytest.mark.long
def test_a_repository_that_tells_less_is_looked_at_by_names_and_counts(
    stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path
) -> None:
    """Format 1, whose data is not compressed, with snapshots of a restic that writes no summary."""
    bed = Bed(stand_in, ansible, restic_path, tmp_path, PREFIX)
    bed.initialise(version=1)
    assert "failed" not in bed.repository()
    site = LockedRepository(bed, tmp_path)
    files = Files(site)
    files.write()
    good = without_summary(bed, files.back_up())
    files.encrypt(".locked")
    bad = without_summary(bed, files.back_up())
    bed.lock()
    assert all("summary" not in snapshot for snapshot in bed.restic.snapshots())
    found = site.audit(baseline="update")
    assert "failed" not in found and signal_codes(found) == ["common_ending"]
    assert (found["signals"][0]["snapshot"], found["signals"][0]["last_good"]) == (bad, good)
    (told,) = [one for one in found["findings"] if one["code"] == "signals_not_weighed"]
    assert told["severity"] == "warn" and "only names and counts were looked at" in told["evidence"]


def test_what_is_remembered_is_not_guessed(site: LockedRepository, files: Files) -> None:
    kept(site).write_text("{}")
    refused = site.prune(keep_last=1)
    assert refused["failed"] and "signals is damaged" in refused["msg"] and "Traceback" not in refused["msg"]


@pytest.mark.long
def test_signals_that_are_lost_are_not_taken_for_none(site: LockedRepository, files: Files) -> None:
    good = site.snapshots()
    files.encrypt()
    files.back_up()
    assert signal_codes(site.audit(baseline="update")) == ["looks_encrypted"]
    kept(site).unlink()
    for _time in range(2):
        held = site.prune(keep_last=1, max_remove="100%")
        assert "failed" not in held and signal_codes(held) == ["signals_lost"] and held["removed"] == []
    assert set(good) <= set(site.snapshots())
    kept(site).unlink()
    # Who makes the baseline anew does not accept it.
    (signal,) = site.audit(baseline="rebuild")["signals"]
    assert accept(site, signal["id"])["signals"] == []
    freed = site.prune(keep_last=1, max_remove="100%")
    assert freed["signals"] == [] and good[-1] in {one["id"] for one in freed["removed"]}


def test_thresholds_are_shares(site: LockedRepository) -> None:
    refused = site.prune(signals={"share": 2})
    assert refused["failed"] and "share in signals is 2.0; it must be a share" in refused["msg"]


@pytest.mark.sample(of="stories")
def test_the_playbook_accepts_in_the_name_of_a_person(site: LockedRepository, files: Files) -> None:
    files.encrypt()
    files.back_up()
    (signal,) = site.audit(baseline="update")["signals"]
    bed = site.bed
    variables = {
        "holdfast_node": "localhost",
        "holdfast_account_id": bed.stand_in.account_id,
        "holdfast_api_token": bed.stand_in.api_token,
        "holdfast_bucket": bed.bucket,
        "holdfast_prefix": PREFIX,
        "holdfast_password": bed.options["password"],
        "holdfast_record_dir": str(bed.record_dir),
    }
    inventory = {"holdfast": {"hosts": {"web1": {"ansible_host": "192.0.2.1"}}, "vars": variables}}

    def accepted(**more: Any) -> Any:
        wanted = {"holdfast_recover": "accept", "holdfast_accept_findings": [signal["id"]], **more}
        return bed.ansible.playbook("holdfast.restic_r2.recover", inventory, variables=wanted)

    refused = accepted(holdfast_accept_by="Ada")
    assert refused.exit_code != 0 and "accept also needs" in refused.output
    done = accepted(holdfast_accept_by="Ada", holdfast_accept_reason="made anew")
    assert done.exit_code == 0, done.output
    assert done.of(task="Tell what is accepted")[0].result["msg"] == {"accepted": [signal["id"]], "left": []}
    assert site.audit()["signals"] == []
