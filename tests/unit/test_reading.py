# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which parts of a repository are read when, and when verify says that something was not."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.read_through import broken_packs, length
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.reading import (
    Part,
    Reading,
    ReadingError,
    due_parts,
    from_data,
    overdue,
    parts_of,
    to_data,
)

NOW = datetime(2026, 11, 27, 4, tzinfo=timezone.utc)
MONTH = timedelta(days=30)
PACK = "88" + "a" * 62


def follow(
    days: int, of: int, *, name: str = "backup-web1", every: int = 1, away: range = range(0)
) -> list[list[Part]]:
    """What a check reads each day, or every so many days; on some days it does not run."""
    reading, read = Reading(NOW), []
    for day in range(0, days, every):
        now = NOW + timedelta(days=day)
        due = [] if day in away else due_parts(reading, now, MONTH, of, name)
        for part in due:
            reading.note(part, now, {})
        read.append(due)
        assert overdue(reading, NOW, now, MONTH) is None or away
    return read


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("of", [8, 64, 256])
def test_everything_is_read_in_time_by_daily_and_by_weekly_runs(of: int, every: int) -> None:
    read = follow(120, of, every=every)
    assert {part.number for parts in read for part in parts} == set(range(1, of + 1))


def test_each_run_reads_another_part_and_none_reads_everything() -> None:
    read = [part.number for parts in follow(23, 8) for part in parts]
    assert sorted(set(read)) == list(range(1, 9))
    assert max(len(parts) for parts in follow(120, 64)) <= 6


def test_a_fleet_begins_at_different_parts() -> None:
    firsts = {tuple(part.number for part in follow(1, 8, name=f"backup-web{number}")[0]) for number in range(50)}
    assert len(firsts) == 8


def test_runs_that_did_not_take_place_are_made_up_for_the_oldest_first() -> None:
    read = follow(40, 8, away=range(5, 35))
    assert [parts for parts in read[5:35] if parts] == []
    late = read[35]
    assert late == sorted(late, key=lambda part: part.due) and len(late) > 4


def test_a_repository_that_grows_has_the_same_parts_in_smaller_pieces() -> None:
    assert (parts_of(0), parts_of(64 << 30), parts_of((64 << 30) + 1), parts_of(1 << 50)) == (8, 8, 16, 256)
    reading = Reading(NOW)
    reading.note(Part(3, 8, NOW), NOW, {2: (1, 100)})
    halves = [part.number for part in due_parts(reading, NOW + MONTH * 0.5, MONTH, 16, "x")]
    assert not {3, 11} & set(halves)


def test_what_was_stored_after_the_reading_counts_from_when_it_was_stored() -> None:
    """The time of a part is the instant before which everything in it was stored when it was read."""
    reading = Reading(NOW)
    for number in range(1, 9):
        reading.note(Part(number, 8, NOW), NOW + timedelta(days=number), {})
    assert reading.oldest() == NOW + timedelta(days=1)
    assert overdue(reading, NOW, NOW + timedelta(days=31), MONTH) is None
    told = overdue(reading, NOW, NOW + timedelta(days=31, seconds=1), MONTH)
    assert told == (
        "12% of the stored data was not read in the last 30 days: run the playbook check, at least every few days, and give it "
        "the time that it needs (holdfast_check_seconds)."
    )


def test_a_new_repository_has_its_first_period_and_one_that_was_never_read_has_not() -> None:
    assert overdue(None, NOW, NOW + MONTH, MONTH) is None
    assert "was never read" in str(overdue(None, NOW, NOW + MONTH * 1.01, MONTH))
    begun = Reading(NOW + MONTH * 5)
    assert overdue(begun, NOW, NOW + MONTH * 6, MONTH) is None
    assert "100% of the stored data" in str(overdue(begun, NOW, NOW + MONTH * 6.01, MONTH))


def test_a_damaged_pack_is_told_until_its_part_is_whole_again() -> None:
    reading = Reading(NOW)
    reading.note_damage([PACK], NOW)
    reading.note_damage([PACK], NOW + MONTH)
    reading = from_data(json.loads(json.dumps(to_data(reading))))
    told = str(overdue(reading, NOW, NOW, MONTH))
    assert PACK in told and "2026-11-27T04:00:00Z" in told and "docs/recovery.md" in told
    reading.note(Part(2, 8, NOW), NOW, {})
    assert reading.damaged
    reading.note(Part(0x88 % 8 + 1, 8, NOW), NOW, {})
    assert overdue(reading, NOW, NOW, MONTH) is None


def test_what_is_remembered_comes_back() -> None:
    reading = Reading(NOW)
    reading.note(Part(1, 2, NOW), NOW, {0: (3, 4711)})
    again = from_data(json.loads(json.dumps(to_data(reading))))
    assert again == reading and again.prefixes[0][1:] == (3, 4711) and not again.complete()


@pytest.mark.parametrize(
    "data",
    [
        [],
        {"begun": "2026-11-27"},
        {"begun": 1, "prefixes": {}, "damaged": {}},
        {"begun": "2026-11-27", "prefixes": {"zz": {"read": "2026-11-27", "packs": 0, "bytes": 0}}, "damaged": {}},
        {"begun": "2026-11-27", "prefixes": {"100": {"read": "2026-11-27", "packs": 0, "bytes": 0}}, "damaged": {}},
        {"begun": "2026-11-27", "prefixes": {"00": {"read": "soon", "packs": 0, "bytes": 0}}, "damaged": {}},
        {"begun": "2026-11-27", "prefixes": {}, "damaged": {"x": "2026-11-27"}},
    ],
)
def test_a_file_that_says_something_else_is_refused(data: object) -> None:
    with pytest.raises(ReadingError):
        from_data(data)


def test_only_full_ids_of_the_summary_are_packs() -> None:
    summary = {"message_type": "summary", "num_errors": 2, "broken_packs": [PACK, "x; rm -rf", 7]}
    assert broken_packs(f"noise\n[1]\n{json.dumps(summary)}\n") == [PACK]
    assert broken_packs("") == broken_packs(json.dumps({**summary, "broken_packs": None})) == []


def test_a_time_that_is_too_short_is_refused() -> None:
    assert length("1m", NOW) == timedelta(days=31)
    for text in ("", "5h", "0d"):
        with pytest.raises(HoldfastError, match="a day or more"):
            length(text, NOW)
