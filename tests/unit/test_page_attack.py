# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the page says of an attack: when it began, and which snapshot is from before it."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.report import write_report
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.newest import NAME, remember
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.render import AFTER, BEFORE
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.journal import RunJournal

from tests.support.page_fleets import NOW
from tests.unit.test_page import entry, figure, jobs, wanted


@pytest.fixture(name="journal")
def _journal(tmp_path: Path) -> RunJournal:
    return RunJournal(str(tmp_path / "records"))


def test_an_attack_is_told_with_the_last_snapshot_from_before_it(journal: RunJournal, tmp_path: Path) -> None:
    signal = {
        "code": "looks_encrypted", "evidence": "All of it.", "job": "job system", "stored": figure(hours=4), "snapshot": "a" * 64,
        "last_good": "b" * 64, "last_good_stored": figure(hours=30),
    }  # fmt: skip
    journal.append([entry("verify", jobs=jobs(), signals=[signal])], NOW - timedelta(hours=1))
    host = write_report(wanted(journal, tmp_path / "page"), now=NOW).data["hosts"][0]
    assert host["signals"][0]["last_good"] == figure(hours=30)
    problem = host["problems"][0]
    assert "The last snapshot before it was stored on 26 Nov 2026, 03:04:00 UTC. All of it." in problem["text"]
    assert "holdfast_restore_snapshot=bbbbbbbb." in problem["what_to_do"]
    assert "When it was last safe" in (tmp_path / "page" / "hosts" / "web1.html").read_text(encoding="utf-8")


def test_signs_of_one_attack_are_told_once_with_the_last_snapshot_from_before_the_first(
    journal: RunJournal, tmp_path: Path
) -> None:
    def sign(code: str, hours: int, good: str, evidence: str, job: str = "system") -> dict[str, Any]:
        return {
            "code": code, "evidence": evidence, "job": job, "stored": figure(hours=hours), "snapshot": "a" * 64,
            "last_good": good * 64, "last_good_stored": figure(hours=hours + 24),
        }  # fmt: skip

    # What came before the later one is the attacker's own.
    signs = [
        sign("files_vanished", 2, "c", "Most are gone."),
        sign("looks_encrypted", 26, "b", "All of it."),
        sign("common_ending", 26, "b", "All end in .x."),
        sign("looks_encrypted", 20, "d", "The dump, too.", "dump"),
    ]
    journal.append([entry("verify", jobs=jobs(), signals=signs)], NOW - timedelta(hours=1))
    host = write_report(wanted(journal, tmp_path / "page"), now=NOW).data["hosts"][0]
    told = [one for one in host["problems"] if "looks like an attack" in one["text"]]
    assert [one["job"] for one in told] == ["system", "dump"]
    assert told[0]["text"].endswith("All of it. All end in .x. Most are gone.") and "bbbbbbbb" in told[0]["what_to_do"]
    page = (tmp_path / "page" / "hosts" / "web1.html").read_text(encoding="utf-8")
    assert ", snapshot bbbbbbbb." in page and ", snapshot dddddddd." in page and ", snapshot cccccccc." not in page
    assert (tmp_path / "page" / "index.html").read_text(encoding="utf-8").count(">looks encrypted<") == 1


def test_the_newest_snapshots_are_named_on_the_page_of_their_host(journal: RunJournal, tmp_path: Path) -> None:
    def stored(name: str, hours: int, job: str = "system", **more: Any) -> dict[str, Any]:
        return {"id": name * 8, "job": job, "stored": figure(hours=hours), "bytes": 2_000_000, **more}

    signal = {
        "code": "looks_encrypted", "job": "system", "stored": figure(hours=26), "snapshot": "b" * 64, "last_good": "c" * 64,
        "last_good_stored": figure(hours=50),
    }  # fmt: skip
    journal.append([entry("verify", jobs=jobs(), signals=[signal])], NOW - timedelta(hours=1))
    seen = [stored("a", 2), stored("d", 3, "dump"), stored("b", 26), stored("c", 50, bytes="many"), stored("e", 74)]
    beside = Path(journal.folder) / "backup-web1"
    remember(str(beside), [*seen, {"id": "../x"}, {"id": "f" * 8}, 7], NOW - timedelta(hours=1))  # type: ignore[list-item]
    host = write_report(wanted(journal, tmp_path / "page"), now=NOW).data["hosts"][0]
    assert [one["id"][0] for one in host["snapshots"]] == ["a", "d", "b", "c", "e"]
    assert host["snapshots"][3] == {"id": "c" * 8, "job": "system", "stored": figure(hours=50), "bytes": None}
    page = (tmp_path / "page" / "hosts" / "web1.html").read_text(encoding="utf-8")
    notes = dict(re.findall(r"<code>(\w{8})</code>.*<td>([^<]*)</td></tr>", page))
    assert notes == {"a" * 8: AFTER, "d" * 8: "", "b" * 8: AFTER, "c" * 8: BEFORE, "e" * 8: ""}

    (beside / NAME).write_text("[" * 10**5, encoding="utf-8")
    assert write_report(wanted(journal, tmp_path / "page"), now=NOW).data["hosts"][0]["snapshots"] == []
