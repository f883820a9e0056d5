# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What looks like ransomware, from the counts that restic tells."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit import signals, tree_changes
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.signals import Bytes, Came, Change, Limits
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.tree_changes import ChangesError, TreeChanges
from hypothesis import given
from hypothesis import strategies as st

LIMITS = Limits()


def line(path: str, modifier: str) -> str:
    return json.dumps({"message_type": "change", "path": path, "modifier": modifier})


def counted(changes: Iterable[tuple[str, str]], blobs: int = 1000) -> TreeChanges:
    counts = TreeChanges()
    for path, modifier in changes:
        counts.take(line(path, modifier))
    said = {
        "message_type": "statistics",
        "removed": {"data_blobs": blobs, "bytes": 1000 * blobs},
        "added": {"bytes": 900 * blobs},
    }
    counts.take(json.dumps(said))
    return counts


def changed(count: int, modifier: str = "M") -> list[tuple[str, str]]:
    return [(f"/srv/{number % 7}/{number}", modifier) for number in range(count)]


def codes(change: Change) -> list[str]:
    return [signal.code for signal in signals.signals(change, LIMITS)]


def weighed(files: int, counts: TreeChanges, replaced: Bytes, new: Bytes) -> list[str]:
    return codes(Change(files, counts, Bytes(10_000_000, 3_000_000), replaced, new))


# What restic prints --------------------------------------------------------------------------------------------------


def test_what_is_counted() -> None:
    counts = counted(
        [
            ("/srv/", "M"), ("/srv/a", "M"), ("/srv/b", "U"), ("/srv/c", "T"), ("/srv/d", "-"), ("/srv/d.locked", "+"),
            ("/srv/e", "-"), ("/srv/new/", "+"), ("/srv/new/NOTE", "+"), ("/srv/NOTE", "+"),
        ]
    )  # fmt: skip
    assert (counts.changed, counts.vanished, counts.added, counts.complete) == (2, 2, 3, True)
    assert counts.replaced == 4 and counts.gone == 4 and counts.after(10) == 11
    assert counts.gained == {".locked": 1}
    # A folder that is new itself has nothing in it that a note could be about.
    assert counts.notes["NOTE"].folders == 1 and counts.notes["NOTE"].samples == ["/srv"]


@pytest.mark.parametrize(
    ("before", "after"), [("mail:2,", "mail:2,S"), ("a.log", "a.log.gz"), ("a", "b"), ("x/a", "x/a.b/c"), ("a", "a")]
)
def test_names_that_gained_no_ending_of_ransomware(before: str, after: str) -> None:
    assert counted([(f"/{before}", "-"), (f"/{after}", "+")]).gained == {}


def test_loose_objects_of_git_are_packed_and_not_gone() -> None:
    loose = [(f"/p/.git/objects/{number:02x}/{number:038x}", "-") for number in range(200)]
    counts = counted([*loose, ("/p/.git/objects/pack/1.pack", "+")])
    assert (counts.gone, counts.packed) == (0, 200)
    assert codes(Change(260, counts)) == []


@pytest.mark.parametrize(
    "said", ["", "no JSON", "[]", "{}", '{"message_type": "change"}', '{"message_type": "statistics"}', "[" * 100_000]
)
def test_what_restic_does_not_print_is_an_error(said: str) -> None:
    with pytest.raises(ChangesError):
        TreeChanges().take(said)


def test_more_lines_than_are_read_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_changes, "MOST_LINES", 3)
    with pytest.raises(ChangesError, match="more than 3 changes"):
        counted(changed(4))


def test_memory_does_not_grow_with_what_a_host_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_changes, "_MOST_FOLDERS", 10)
    monkeypatch.setattr(tree_changes, "_MOST_NAMES", 10)
    paths = [f"/{number}/{'x' * 400}/{number}" for number in range(100)]
    counts = counted([(path, "-") for path in paths] + [(f"{path}/n{len(path)}.{path[:9]}", "+") for path in paths])
    assert counts.touched <= 11 and len(counts.folders) <= 10 and len(counts.notes) <= 10 and len(counts.gained) <= 10
    assert (counts.vanished, counts.added) == (100, 100)


def test_the_folders_that_are_hit_most() -> None:
    paths = [f"/var/www/site{number % 3}/a/{number}" for number in range(30)] + ["/etc/x"]
    assert counted([(path, "M") for path in paths]).worst_folders()[0].startswith("/var/www/site")
    evil = counted([("/a\x1b[2J{{ x }}/y", "M")]).worst_folders()
    assert "\x1b" not in evil[0] and "{{" not in evil[0]


@given(st.lists(st.tuples(st.text(max_size=12), st.sampled_from(["+", "-", "M", "U", "T", "MU", "?"])), max_size=40))
def test_any_changes_have_counts_that_fit_together(changes: list[tuple[str, str]]) -> None:
    counts = counted((f"/{path}", modifier) for path, modifier in changes)
    assert counts.replaced <= counts.gone and counts.replaced <= counts.changed + counts.added
    assert sum(counts.folders.values()) <= counts.gone and counts.after(0) >= 0
    counts.worst_folders()


# What it means -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "hit", "new", "found"),
    [
        (1000, 900, Bytes(1_000_000, 990_000), True),
        (1000, 50, Bytes(1_000_000, 990_000), True),
        # So few files, or so few of them.
        (1000, 49, Bytes(1_000_000, 990_000), False),
        (100, 9, Bytes(1_000_000, 990_000), False),
        # As compressible as before; half of it; a part of each file; a part of some files.
        (1000, 900, Bytes(1_000_000, 300_000), False),
        (1000, 900, Bytes(1_000_000, 650_000), True),
        (1000, 900, Bytes(1_000_000, 400_000), True),
        (1000, 300, Bytes(1_000_000, 400_000), False),
        # An upgrade, and photos.
        (1000, 300, Bytes(11_000_000, 10_300_000), False),
        # Nothing came instead.
        (1000, 300, Bytes(), False),
    ],
)
def test_replaced_by_what_cannot_be_compressed(files: int, hit: int, new: Bytes, found: bool) -> None:
    counts = counted(changed(hit))
    assert ("looks_encrypted" in weighed(files, counts, Bytes(1_000_000, 300_000), new)) == found


@pytest.mark.parametrize(
    ("came", "lost"),
    [
        # Of a million bytes that went and 900,000 that came: all of these came now, and so many are dense.
        (Came(900_000, 0), 0.0),
        (Came(900_000, 100_000), 0.1),
        # As much as looks like the encryption of a part of each file.
        (Came(900_000, 120_000), None),
        (Came(5_000_000, 900_000), None),
        # More came into the snapshot than into the repository: something had been put there before.
        (Came(899_999, 0), None),
        (None, None),
    ],
)
def test_no_more_can_be_encrypted_than_came_and_cannot_be_compressed(came: Came | None, lost: float | None) -> None:
    assert signals.at_most_lost(counted(changed(200)), came, LIMITS) == lost


def test_nothing_is_said_of_what_replaced_nothing() -> None:
    assert signals.at_most_lost(counted(changed(200), blobs=0), Came(900_000, 0), LIMITS) is None


def test_dense_content_that_is_replaced_tells_nothing() -> None:
    counts = counted(changed(900))
    assert weighed(1000, counts, Bytes(1_000_000, 960_000), Bytes(1_000_000, 1_000_000)) == []


@pytest.mark.parametrize(("replaced", "found"), [(1_000_000, []), (3_000_000, ["looks_encrypted"])])
def test_of_few_files_bytes_are_counted(replaced: int, found: list[str]) -> None:
    content = Bytes(replaced, replaced // 4)
    assert weighed(3, counted(changed(3)), content, Bytes(replaced, replaced)) == found


def test_under_other_names_in_other_folders() -> None:
    counts = counted([*changed(90, "-"), *((f"/x/{number}", "+") for number in range(90))])
    assert weighed(100, counts, Bytes(1_000_000, 300_000), Bytes(1_000_000, 1_000_000)) == ["looks_encrypted"]
    cleaned = counted([*changed(60, "-"), *((f"/x/{number}", "+") for number in range(90))])
    assert weighed(100, cleaned, Bytes(1_000_000, 300_000), Bytes(1_000_000, 1_000_000)) == []


def test_both_figures_and_the_folders_are_told() -> None:
    change = Change(1000, counted(changed(900)), Bytes(), Bytes(1_000_000, 300_000), Bytes(1_000_000, 1_000_000))
    text = signals.signals(change, LIMITS)[0].evidence
    assert "90% of 1000 files" in text and "packed 1.00 of its length, before 0.30" in text and "/srv/0 (129)" in text


def test_an_ending_counts_where_the_content_changed() -> None:
    paths = [pair for number in range(40) for pair in ((f"/d/{number:03}", "-"), (f"/d/{number:03}.evil", "+"))]
    assert codes(Change(100, counted(paths, blobs=40))) == ["common_ending"]
    assert codes(Change(100, counted(paths, blobs=0))) == []
    assert codes(Change(1000, counted(paths, blobs=40))) == []


def test_notes_are_in_half_of_the_folders() -> None:
    notes = [(f"/d/{number}/READ_ME", "+") for number in range(20)]
    assert list(signals.suspected_notes(counted(notes))) == ["READ_ME"]
    assert len(signals.suspected_notes(counted(notes))["READ_ME"]) == tree_changes.SAMPLES
    others = [(f"/e/{number}/x{number}", "M") for number in range(30)]
    assert signals.suspected_notes(counted([*notes, *others])) == {}
    hidden = [(f"/d/{number}/.DS_Store", "+") for number in range(20)]
    assert signals.suspected_notes(counted(hidden)) == {}
    assert codes(Change(100, counted(notes), notes=(("READ_ME", 20),))) == ["note_files"]


@pytest.mark.parametrize(
    ("files", "gone", "found"),
    [
        (1000, 751, ["files_vanished"]),
        (1000, 750, []),
        (1000, 1000, ["no_files"]),
        (3, 3, ["no_files"]),
        (19, 18, []),
        (0, 0, []),
    ],
)
def test_what_is_left(files: int, gone: int, found: list[str]) -> None:
    assert codes(Change(files, counted(changed(gone, "-")))) == found


sizes = st.integers(0, 1 << 50)
contents = st.builds(Bytes, sizes, sizes)


@given(contents, contents, contents, st.integers(0, 1 << 40), st.integers(0, 60))
def test_any_figures_have_an_answer(content: Bytes, replaced: Bytes, new: Bytes, files: int, hit: int) -> None:
    change = Change(files, counted(changed(hit)), content, replaced, new)
    assert 0 <= change.lost <= 1 and 0 <= change.share <= 1
    signals.signals(change, LIMITS)
    assert signals.worth_weighing(change.counts, files, LIMITS) in (True, False)


# Summaries -----------------------------------------------------------------------------------------------------------


def snapshot(name: str, parent: str = "", **summary: Any) -> dict[str, Any]:
    return {"id": name, "parent": parent, "tree": f"tree of {name}", "summary": summary}


BEFORE = snapshot("a", total_files_processed=100)


@pytest.mark.parametrize(
    ("after", "hits"),
    [
        (snapshot("b", "a", files_changed=2, files_unmodified=95, files_new=9), (5, 100)),
        (snapshot("b", "a", files_changed=2, files_unmodified=98), (2, 100)),
        (snapshot("b", "a", files_changed=2, files_unmodified=500), (2, 100)),
        (snapshot("b", "other", files_changed=2, files_unmodified=98), None),
        (snapshot("b", "a", files_changed=-2, files_unmodified=98), None),
        (snapshot("b", "a", files_changed="2", files_unmodified=98), None),
        (snapshot("b", "a", files_changed=True, files_unmodified=98), None),
        ({"id": "b", "parent": "a"}, None),
        ({"id": "b", "parent": "a", "summary": []}, None),
        ({**BEFORE, "id": "b"}, (0, 1)),
    ],
)
def test_what_a_summary_says(after: dict[str, Any], hits: Any) -> None:
    assert signals.hits_by_summary(BEFORE, after) == hits
    assert signals.packed_by_summary(after) == 0
