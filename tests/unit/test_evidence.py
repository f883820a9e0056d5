# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence of a period: what the journal says of it, that it can be verified, and that what was signed stays."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.evidence_files import (
    SignatureError,
    write_evidence,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.evidence import (
    PeriodError,
    _Repository,
    _take,
    period_of,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.journal import RunJournal

from tests.support.march import MARCH, NOW, WINDOW, entries, entry, stamp
from tests.support.page_fleets import HOSTILE, templates


@pytest.fixture(name="journal")
def _journal(tmp_path: Path) -> RunJournal:
    """A March in which something happened, between a February and an April."""
    journal = RunJournal(str(tmp_path / "records"))
    for number, line in enumerate(entries()):
        journal.append([line], MARCH + timedelta(days=number))
    return journal


def write(journal: RunJournal, folder: Path, **more: Any) -> dict[str, Any]:
    proof = write_evidence(
        journal.folder, str(folder), more.pop("period", "2026-03"), templates(), **{"now": NOW, **more}
    )
    data: dict[str, Any] = json.loads(Path(proof.data).read_text(encoding="utf-8"))
    return {**data, "changed": proof.changed}


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("2026", "2026-01-01", "2027-01-01"),
        ("2024", "2024-01-01", "2025-01-01"),
        ("2026-02", "2026-02-01", "2026-03-01"),
        ("2026-12", "2026-12-01", "2027-01-01"),
        ("2026-03-31", "2026-03-31", "2026-04-01"),
        ("2026-03-01/2026-03-15", "2026-03-01", "2026-03-16"),
    ],
)
def test_a_period_is_a_year_a_month_a_day_or_two_days(text: str, begin: str, end: str) -> None:
    period = period_of(text)
    assert (f"{period.begin:%Y-%m-%d}", f"{period.end:%Y-%m-%d}") == (begin, end)


@pytest.mark.parametrize(
    "text", ["", "march", "2026-13", "26-03", "2026-03/2026-04", "2026-03-15/2026-03-01", "../2026", "2026/"]
)
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(PeriodError, match="is no period: write a year or a month"):
        period_of(text)


def test_the_period_is_told_and_nothing_of_before_or_after(journal: RunJournal, tmp_path: Path) -> None:
    data = write(journal, tmp_path / "page")
    assert (data["from"], data["to"], data["journal"]["lines_in_period"]) == (
        "2026-03-01T00:00:00Z",
        "2026-04-01T00:00:00Z",
        7,
    )
    one = data["repositories"]["b-web1"]
    assert (one["proofs"]["count"], one["proofs"]["before"], one["proofs"]["last"]) == (6, stamp(-2), stamp(20))
    # From the 12th to the 20th, and from the 20th to the end of the month.
    assert (one["proofs"]["longest_gap"], one["proofs"]["longest_gap_hours"]) == ([stamp(20), stamp(31)], 264.0)
    assert [(look["at"], look["prefixes"]) for look in one["not_proved"]] == [(stamp(9), {"data/": "open"})]
    assert (one["unlocked_seconds"], one["windows"][0]["run"], one["removed"]) == (1.5, "maintenance", 4)
    assert one["failed"][0]["text"] == "The locks are not in force."
    assert [drill["at"] for drill in one["drills"]] == [stamp(12)]
    assert one["retention"][0]["rules"] == "keep_daily 7; grace 7d"


def test_windows_that_do_not_fit_into_a_line_are_added_up(journal: RunJournal, tmp_path: Path) -> None:
    journal.append([entry("maintenance", 25, windows=[{**WINDOW, "seconds": 2.0}] * 75)], MARCH + timedelta(days=25))
    one = write(journal, tmp_path / "page")["repositories"]["b-web1"]
    assert (one["unlocked_windows"], one["unlocked_seconds"]) == (76, 151.5)


def test_of_each_finding_it_is_told_what_became_of_it(journal: RunJournal, tmp_path: Path) -> None:
    one = write(journal, tmp_path / "page")["repositories"]["b-web1"]
    [finding] = one["findings"]
    assert (finding["first"], finding["last"], finding["gone"]) == (stamp(1), stamp(2), stamp(3))
    assert finding["evidence"] == "It is 54.5 hours old."
    [hold] = one["holds"]
    assert (hold["name"], hold["gone"]) == ("law", stamp(3))


def test_a_host_that_is_told_of_anew_in_each_line_makes_no_line_slower() -> None:
    """Each line is compared with the line before it, and not with all that was ever told."""

    class Counted(dict[Any, Any]):
        looked = 0

        def items(self) -> Any:
            Counted.looked += len(self)
            return super().items()

    known = _Repository(lasting={"findings": Counted()})
    for number in range(1, 40):
        line = entry("verify", number / 2, findings=[{"code": "odd", "evidence": "x" * number}])
        _take(known, line, MARCH + timedelta(days=number / 2))
    gone = [found["gone"] for found in known.lasting["findings"].values()]
    assert gone == [stamp(number / 2) for number in range(2, 40)] + [None]
    assert Counted.looked < 40


def test_a_period_that_goes_on_is_told_until_now(journal: RunJournal, tmp_path: Path) -> None:
    data = write(journal, tmp_path / "page", now=MARCH + timedelta(days=10))
    assert data["to"] == stamp(10)


def test_it_names_the_last_line_by_its_hash_and_says_when_the_chain_is_broken(
    journal: RunJournal, tmp_path: Path
) -> None:
    [path] = Path(journal.folder).glob("journal-*.jsonl")
    lines = path.read_bytes().splitlines()
    data = write(journal, tmp_path / "page")
    assert (data["journal"]["hash"], data["journal"]["lines"]) == (hashlib.sha256(lines[-1]).hexdigest(), 9)
    assert "the chain is whole" in (tmp_path / "page" / "evidence" / "2026-03.html").read_text(encoding="utf-8")
    path.write_bytes(path.read_bytes().replace(b"not in force", b"well in force"))
    again = write(journal, tmp_path / "page")
    assert again["changed"] and "does not hold the hash of the line before it" in again["journal"]["broken"][0]
    assert "The chain of the journal is broken" in (tmp_path / "page" / "evidence" / "2026-03.html").read_text(
        encoding="utf-8"
    )


def test_what_is_signed_can_be_verified_as_the_page_says_and_stays(journal: RunJournal, tmp_path: Path) -> None:
    if not shutil.which("ssh-keygen"):
        pytest.skip("There is no ssh-keygen.")
    key, folder = tmp_path / "key", tmp_path / "page"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True)
    data = write(journal, folder, key=str(key))
    assert data["changed"]
    public = Path(f"{key}.pub").read_text(encoding="utf-8")
    (folder / "evidence" / "allowed_signers").write_text(
        f'holdfast namespaces="holdfast-evidence" {public}', encoding="utf-8"
    )
    told = (folder / "evidence" / "2026-03.html").read_text(encoding="utf-8").replace("&lt;", "<")
    [command] = [line.partition("<pre>")[2].removesuffix("</pre>") for line in told.splitlines() if "-Y verify" in line]
    assert command == data["verify"]
    verified = subprocess.run(
        ["sh", "-c", command], cwd=folder / "evidence", capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0 and 'Good "holdfast-evidence" signature for holdfast' in verified.stdout
    before = (folder / "evidence" / "2026-03.json.sig").stat().st_mtime_ns
    journal.append([entry("verify", 40)], MARCH + timedelta(days=40))
    assert not write(journal, folder, key=str(key), now=NOW + timedelta(days=30))["changed"]
    assert (folder / "evidence" / "2026-03.json.sig").stat().st_mtime_ns == before
    assert all(path.stat().st_mode & 0o777 == 0o640 for path in (folder / "evidence").glob("2026-03.*"))


def test_without_its_key_nothing_is_called_signed(journal: RunJournal, tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="was written and not signed: ssh-keygen said"):
        write(journal, tmp_path / "page", key=str(tmp_path / "no key"))
    assert not list((tmp_path / "page" / "evidence").glob("*.sig"))


def test_in_check_mode_nothing_is_written(journal: RunJournal, tmp_path: Path) -> None:
    proof = write_evidence(journal.folder, str(tmp_path / "page"), "2026-03", templates(), check=True, now=NOW)
    assert proof.changed and not (tmp_path / "page").exists()


def test_what_hosts_chose_is_text(tmp_path: Path) -> None:
    journal = RunJournal(str(tmp_path / "records"))
    for text in HOSTILE:
        finding = {"code": "x", "severity": "warn", "job": text, "evidence": text, "what_to_do": text}
        line = entry("verify", 1, proved=False, text=text, findings=[finding], windows=[{**WINDOW, "reason": text}])
        journal.append([{**line, "by": text, "host": text, "holds": [{"name": text, "reason": text}]}], MARCH)
    write(journal, tmp_path / "page")
    page = (tmp_path / "page" / "evidence" / "2026-03.html").read_text(encoding="utf-8")
    assert "<script" not in page and "<img" not in page and "\u202e" not in page
    assert "&lt;script&gt;" in page


def test_an_empty_journal_proves_nothing_and_says_so(tmp_path: Path) -> None:
    data = write(RunJournal(str(tmp_path / "records")), tmp_path / "page")
    assert data["repositories"] == {} and data["journal"]["hash"] == "0" * 64
    assert "The journal says nothing of this time." in (tmp_path / "page" / "evidence" / "2026-03.html").read_text()
