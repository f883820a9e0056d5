# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long the page of a thousand hosts takes, from a journal of a month of theirs, and how large it is.

Seconds are those of the processor, so that other work of the machine does not count.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.evidence_files import write_evidence
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.report import PageRequest, write_report
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.journal import RunJournal

from tests.support.page_fleets import templates

HOSTS, DAYS = 1000, 30
MOST_SECONDS, MOST_BYTES = 5.0, 2_000_000
BEGIN = datetime(2026, 10, 1, 4, tzinfo=timezone.utc)


def measure() -> dict[str, Any]:
    """Seconds, and bytes of index.html."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        folder = Path(name)
        journal = RunJournal(str(folder / "records"))
        for day in range(DAYS):
            journal.append(_day(day), BEGIN + timedelta(days=day))
        now = BEGIN + timedelta(days=DAYS - 1, hours=1)
        hosts = [{"name": _name(number), "bucket": f"backup-{number}", "jobs": ["system"]} for number in range(HOSTS)]
        request = PageRequest(journal.folder, str(folder / "page"), hosts, templates(), 0.015, 48)
        seconds, written = _timed(lambda: write_report(request, now=now))
        assert written.data["protected"] == HOSTS
        evidence, _proof = _timed(
            lambda: write_evidence(journal.folder, str(folder / "page"), "2026-10", templates(), now=now)
        )
        return {
            "hosts": HOSTS,
            "journal_lines": HOSTS * DAYS,
            "seconds": seconds,
            "index_bytes": (folder / "page" / "index.html").stat().st_size,
            "evidence_seconds": evidence,
        }


def misses(figures: dict[str, Any]) -> list[str]:
    """The targets that were not met."""
    found = []
    if figures["seconds"] > MOST_SECONDS:
        found.append(f"report took {figures['seconds']} s, at most {MOST_SECONDS} are allowed")
    if figures["index_bytes"] > MOST_BYTES:
        found.append(f"report made a page of {figures['index_bytes']} bytes, at most {MOST_BYTES} are allowed")
    return found


def _timed(work: Any) -> tuple[float, Any]:
    begin = time.process_time()
    made = work()
    return round(time.process_time() - begin, 1), made


def _name(number: int) -> str:
    return f"host{number:04}.example.com"


def _day(day: int) -> Iterator[dict[str, Any]]:
    """What verify, and once a week maintenance, tell of each host."""
    at = (BEGIN + timedelta(days=day)).strftime("%Y-%m-%dT%H:%M:%SZ")
    locks = {
        "proved": True,
        "by": "host",
        "prefixes": dict.fromkeys(("config", "data/", "index/", "keys/"), "locked"),
    }
    for number in range(HOSTS):
        job = {
            "name": "system",
            "state": "ok",
            "newest": at,
            "oldest": "2026-08-01T00:00:00Z",
            "snapshots": 30,
            "max_age": 26,
        }
        line = {
            "run": "verify", "result": "ok", "at": at, "host": _name(number), "bucket": f"backup-{number}", "locks": locks,
            "jobs": [{**job, "days": 24, "calendar": "7fffffff"}], "bytes": 10**10 + day * 10**8, "text": "30 snapshots; locked",
        }  # fmt: skip
        if day % 7 == 0:
            window = {
                "parts": ["snapshots", "index", "data"],
                "opened": at,
                "seconds": 1.5,
                "ended_by": "its work is done",
            }
            line.update(run="maintenance", windows=[window], removed=3)
        yield line
