# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restic_read_through: which packs restic reads, what is remembered of it, and what verify makes of that."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.stand_in.client import StandIn
from tests.stand_in.fixtures import HURRIED
from tests.support.repositories import Bed, program, sample
from tests.support.running import Ansible

PACK = re.compile(r".*data/([0-9a-f]{2})/[0-9a-f]{64}$")


@pytest.fixture(name="bed")
def fixture_bed(stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path) -> Bed:
    bed = Bed(stand_in, ansible, restic_path, tmp_path, prefix="web1/")
    bed.initialise()
    assert "failed" not in bed.repository()
    for number in range(2):
        bed.backup(sample(tmp_path / f"files{number}"))
    bed.lock()
    return bed


def read(bed: Bed, **arguments: Any) -> dict[str, Any]:
    return bed.module("restic_read_through", record_dir=str(bed.record_dir), **arguments)


def packs(bed: Bed) -> list[str]:
    keys = bed.keys()
    return [key for key in keys if PACK.match(key)]


def remembered(bed: Bed) -> Path:
    return bed.record_dir / bed.bucket / "web1" / "reading"


def age(bed: Bed, days: int, *, prefixes: range = range(256)) -> None:
    """Have some prefixes been read so many days ago, and all others now."""
    now = datetime.now(timezone.utc)
    data = {
        "begun": (now - timedelta(days=500)).isoformat(),
        "damaged": {},
        "prefixes": {
            f"{one:02x}": {
                "read": (now - timedelta(days=days if one in prefixes else 0)).isoformat(),
                "packs": 0,
                "bytes": 0,
            }
            for one in range(256)
        },
    }
    remembered(bed).write_text(json.dumps(data), encoding="utf-8")


def verified(bed: Bed) -> list[str]:
    answer = bed.module("restic_verify", record_dir=str(bed.record_dir), read_within="90d")
    return [str(finding) for finding in answer["findings"]]


@pytest.mark.long
def test_restic_reads_the_packs_of_the_part_and_no_others(bed: Bed) -> None:
    """What part n of t is, by restic itself: what is written down as read was read."""
    age(bed, 80, prefixes=range(2, 256, 8))
    there = packs(bed)
    due = [key for key in there if int(PACK.match(key)[1], 16) % 8 == 2]  # type: ignore[index]
    since = bed.stand_in.last_request()
    answer = read(bed)
    assert (answer["read"], answer["left"], answer["packs"], answer["changed"]) == (["3/8"], [], len(due), True)
    got = Counter(
        one["path"].removeprefix(f"/{bed.bucket}/") for one in bed.stand_in.requests(since) if one["method"] == "GET"
    )
    # restic check also loads each pack with trees; of those with data alone, it touches no other.
    assert all(got[key] > 0 for key in due)
    assert answer["complete"] and not read(bed)["changed"]


@pytest.mark.long
def test_everything_is_read_and_verify_is_content_until_it_is_too_old(bed: Bed) -> None:
    age(bed, 91)
    assert any("100% of the stored data was not read in the last 90 days" in one for one in verified(bed))
    foreseen = read(bed, check_mode=True)
    assert (len(foreseen["left"]), foreseen["read"], foreseen["changed"]) == (8, [], False)
    answer = read(bed, limit_download=100_000)
    assert (len(answer["read"]), answer["packs"], answer["complete"]) == (8, len(packs(bed)), True)
    assert verified(bed) == []
    assert remembered(bed).stat().st_mode & 0o777 == 0o600


@pytest.mark.long
def test_a_damaged_pack_is_told_by_both_until_it_is_whole(bed: Bed) -> None:
    key = max(packs(bed), key=lambda one: len(bed.s3.get(one)))
    whole = bed.s3.get(key)
    bed.stand_in.settings(**HURRIED)
    bed.unlock()
    bed.s3.put_if(key, whole[:1000] + b"XXXX" + whole[1004:], etag=bed.s3.head(key).etag)  # type: ignore[union-attr]
    age(bed, 91, prefixes=range(int(PACK.match(key)[1], 16) % 4, 256, 4))  # type: ignore[index]
    failed = read(bed)
    pack = key.rpartition("/")[2]
    assert failed["failed"] and failed["damaged"] == [pack] and len(failed["read"]) == 1
    assert pack in failed["msg"] and "docs/recovery.md" in failed["msg"]
    assert any("Stored data is damaged" in one and pack in one for one in verified(bed))

    bed.s3.put_if(key, whole, etag=bed.s3.head(key).etag)  # type: ignore[union-attr]
    assert len(read(bed)["read"]) == 1
    assert not any("damaged" in one for one in verified(bed))


@pytest.mark.long
def test_an_interruption_loses_nothing_that_was_read(bed: Bed, tmp_path: Path, restic_path: str) -> None:
    """restic gets stuck in the second part, which is given up at the time limit; the next run does the others."""
    age(bed, 91, prefixes=range(0, 256, 4))
    counter = tmp_path / "count"
    stuck = program(
        tmp_path / "stuck",
        f"""if [ "$1" = check ]; then
  echo x >> '{counter}'
  if [ "$(wc -l < '{counter}')" = 2 ]; then exec sleep 600; fi
fi
exec '{restic_path}' "$@" """,
    )
    answer = read(bed, restic_path=stuck, seconds=20)
    assert (len(answer["read"]), len(answer["left"])) == (1, 1), answer
    again = read(bed)
    assert len(again["read"]) == 1 and not set(again["read"]) & set(answer["read"])


def test_what_is_no_answer_is_a_failure_and_remembers_nothing(bed: Bed, tmp_path: Path, restic_path: str) -> None:
    age(bed, 91)
    before = remembered(bed).read_bytes()
    broken = program(tmp_path / "broken", f"""[ "$1" = check ] && exit 1\nexec '{restic_path}' "$@" """)
    failed = read(bed, restic_path=broken)
    assert failed["failed"] and failed["read"] == [] and remembered(bed).read_bytes() == before
    remembered(bed).write_text("{}", encoding="utf-8")
    assert "is damaged: restore it" in read(bed)["msg"]
    assert any("is damaged: restore it" in one for one in verified(bed))
