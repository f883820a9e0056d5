# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Samples of the matrices: each has what it must have, and one after another they go through the whole."""

from __future__ import annotations

import hashlib
from itertools import combinations

import pytest

from tests.matrix import fault_cases, kill_cases
from tests.matrix.fault_cases import FAULTS, Step
from tests.support.figures import merge
from tests.support.sampling import ONE_IN, covering, draw, pick

# As ids of commits are.
SEEDS = [hashlib.sha1(str(number).encode()).hexdigest() for number in range(60)]


def requests() -> list[Step]:
    """Some of each kind: alone, fewer than there are faults, and more."""
    kinds = (
        ("API", "rest", "GET", "/client/v4/accounts/HASH/tokens/verify", 1),
        ("API", "rest", "GET", "/client/v4/accounts/HASH/r2/buckets/BUCKET/lock", 6),
        ("API", "rest", "PUT", "/client/v4/accounts/HASH/r2/buckets/BUCKET/lock", 2),
        ("node", "ListObjectsV2", "GET", "/BUCKET?list-type=2&prefix=data%2F&encoding-type=url", 2),
        ("node", "ListObjectsV2", "GET", "/BUCKET?list-type=2&prefix=index%2F&encoding-type=url", 2),
        ("restic", "GetObject", "GET", "/BUCKET/data/HASH/HASH", 9),
        ("restic", "DeleteObject", "DELETE", "/BUCKET/index/HASH", 3),
        ("restic", "DeleteObject", "DELETE", "/BUCKET/data/HASH/HASH", 1),
    )
    return [Step(*kind, number) for *kind, count in kinds for number in range(count)]


@pytest.fixture(scope="module")
def samples() -> list[list[kill_cases.Row]]:
    return [kill_cases.sample(seed) for seed in SEEDS]


def in_windows(rows: list[kill_cases.Row]) -> set[object]:
    """Who is hit by what while there is something to close."""
    kinds = map(kill_cases.kind, rows)
    return {(target, number) for step, target, number in kinds if kill_cases.BY_NAME[step].window}


def meetings(rows: list[kill_cases.Row]) -> set[object]:
    return {pair for row in rows for pair in combinations(enumerate(kill_cases.kind(row)), 2)}


def test_every_sample_of_signals_has_every_pair_of_step_target_and_signal(samples: list[list[kill_cases.Row]]) -> None:
    whole = kill_cases.whole()
    assert len(set(whole)) == len(whole)
    for sample in samples:
        assert meetings(sample) == meetings(whole)
        assert in_windows(sample) == in_windows(whole)
        assert set(sample) < set(whole)
        assert len(sample) < len(whole) / 2


def test_wrappers_are_among_the_targets() -> None:
    """A container's death is one of everything in it; a job is cancelled at every step, and times out in every request."""
    whole = kill_cases.whole()
    steps = [step.name for step in kill_cases.STEPS]
    for target, where in (
        ("namespace", steps),
        ("runner", steps),
        ("time-out", [step.name for step in kill_cases.STEPS if step.sent]),
        ("keeper", [step.name for step in kill_cases.STEPS if step.keeper for _signal in kill_cases.SIGNALS]),
        *((target, [step for step in steps for _signal in kill_cases.SIGNALS]) for target in ("module", "everything")),
    ):
        assert sorted(row[0] for row in whole if row[1] == target) == sorted(where)


def test_samples_of_signals_go_through_the_whole(samples: list[list[kill_cases.Row]]) -> None:
    assert set().union(*samples) == set(kill_cases.whole())


def test_every_sample_of_faults_has_every_request_and_each_fault_for_each_kind() -> None:
    found = requests()
    whole = fault_cases.whole(found)
    for seed in SEEDS:
        sample = fault_cases.sample(found, seed)
        assert {step for step, _fault in sample} == set(found)
        for alike in {step.alike for step in found}:
            assert {fault for step, fault in sample if step.alike == alike} == set(FAULTS)
        assert set(sample) < set(whole)


def test_samples_of_faults_go_through_the_whole() -> None:
    found = requests()
    seen = {row for seed in SEEDS for row in fault_cases.sample(found, seed)}
    assert seen == set(fault_cases.whole(found))


def test_all_faults_for_what_writes_or_is_the_lock_document_and_for_the_first_of_alike_reads() -> None:
    rows = fault_cases.whole(requests())
    by_step = {str(step): {fault for other, fault in rows if other == step} for step, _fault in rows}
    whole = {name for name, faults in by_step.items() if faults == set(FAULTS)}
    assert len({fault_cases.case_id(row) for row in rows}) == len(rows)
    assert {name for name in by_step if "DELETE" in name or "lock" in name} < whole
    assert {len(faults) for name, faults in by_step.items() if name not in whole} == {1}


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_the_same_seed_gives_the_same_sample(seed: str) -> None:
    assert kill_cases.sample(seed) == kill_cases.sample(seed) != kill_cases.sample(seed + "x")


def test_pairs_of_a_value_that_meets_only_one_other_are_there() -> None:
    rows = [("a", 1, "x"), ("a", 2, "y"), ("b", 1, "y"), ("c", 2, "x")]
    assert {("b", 1, "y"), ("c", 2, "x")} <= set(covering(rows, "seed"))


def test_figures_of_all_processes_are_added_up_but_for_the_worst() -> None:
    sums: dict[str, float] = {}
    for seconds in (0.2, 0.9, 0.1):
        merge(sums, {"cases": 1, "lost": False, "worst_seconds": seconds})
    assert sums == {"cases": 3, "lost": 0, "worst_seconds": 0.9}


def test_what_is_drawn_of_a_group_is_all_of_it_in_the_end() -> None:
    ids = [f"test_{number}" for number in range(12)]
    drawn = [draw(ids, 4, seed) for seed in SEEDS]
    assert all(len(set(some)) == 4 for some in drawn)
    assert set().union(*drawn) == set(ids)
    assert draw(ids[::-1], 4, SEEDS[0]) == drawn[0]
    assert draw(ids[:2], 4, SEEDS[0]) == draw(ids[:2], 2, SEEDS[0])


def test_one_in_some_of_the_long_tests_is_drawn_and_of_others_as_many_as_they_say() -> None:
    ids = [f"test_{number}" for number in range(2 * ONE_IN + 1)]
    groups = {"long": (0, ids), "alone": (0, ["test_alone"]), "stories": (2, [f"story {name}" for name in ids])}
    drawn = [pick(groups, seed) for seed in SEEDS]
    for chosen in drawn:
        assert "test_alone" in chosen
        assert len(chosen & set(ids)) == 3
        assert sum(name.startswith("story") for name in chosen) == 2
    assert set().union(*drawn) == {*ids, "test_alone", *groups["stories"][1]}
