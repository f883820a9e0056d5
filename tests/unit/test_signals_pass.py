# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each snapshot is looked at once, in the order of storing; what is seen stays until a person accepts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit import signals_pass, signals_state
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.index_claims import PackWeight
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.new_packs import PackFile
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.signals import Came, Limits, Signal
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.signals_look import Looked
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.signals_pass import SignalsPass
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.signals_state import (
    Accepted,
    SignalsError,
    State,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import ResticError

BEGUN = datetime(2026, 11, 1, 3, tzinfo=timezone.utc)
NOTHING = State("r")
ADA = Accepted("Ada", "2026-11-27T09:00:00Z", "photos made anew")


def snapshot(number: int, *, quiet: bool = False, job: str = "web", **more: Any) -> dict[str, Any]:
    """The snapshot of a day; a quiet one says that nothing but a file has changed."""
    summary = {"total_files_processed": 100, "files_changed": 1, "files_unmodified": 99}
    said = {"summary": summary, "parent": f"{number - 1}"} if quiet else {}
    return {"id": f"{number}", "tree": f"t{number}", "job": job, "time": "1999-01-01T00:00:00Z", **said, **more}


@dataclass
class Told:
    """Answers as written down, by the id of the later snapshot."""

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    over: bool = False
    known: list[Optional[int]] = field(default_factory=list)
    came: list[Optional[Came]] = field(default_factory=list)

    def compare(self, before: str, after: str, files: Optional[int] = None, came: Optional[Came] = None) -> Looked:
        self.asked.append((before, after))
        self.known.append(files)
        self.came.append(came)
        answer = self.answers.get(after, Looked(gone=True, lost=0.0))
        if isinstance(answer, Exception):
            raise answer
        return answer


BAD = Looked([Signal("looks_encrypted", "90 % of all.")], gone=True, lost=1.0)


def run(
    snapshots: Sequence[dict[str, Any]],
    state: State = NOTHING,
    told: Optional[Told] = None,
    packs: Sequence[PackFile] = (),
    weights: Sequence[tuple[int, PackWeight]] = (),
) -> tuple[State, Told]:
    told = told or Told()
    uploaded = {one["id"]: BEGUN + timedelta(days=int(one["id"])) for one in snapshots}
    one = SignalsPass(told, Limits(), uploaded, lambda snapshot: str(snapshot["job"]), packs, state, weights=weights)
    return one.run(snapshots), told


def test_each_is_looked_at_once_against_the_last_one() -> None:
    days = [snapshot(number) for number in range(3)]
    state, told = run(days)
    assert told.asked == [("0", "1"), ("1", "2")] and state.judged == {"0", "1", "2"} and state.open == []
    again, told = run([*days, snapshot(3)], state)
    assert told.asked == [("2", "3")] and again.judged == {"0", "1", "2", "3"}
    same, told = run([*days, snapshot(3)], again)
    assert told.asked == [] and same == again


def test_jobs_are_apart_and_claimed_times_mean_nothing() -> None:
    _state, told = run(
        [snapshot(2), snapshot(1, job="db"), snapshot(0), snapshot(3, job="db", time="1970-01-01T00:00:00Z")]
    )
    assert sorted(told.asked) == [("0", "2"), ("1", "3")]


def test_quiet_snapshots_are_not_looked_into_until_they_add_up() -> None:
    days = [
        snapshot(0, summary={"total_files_processed": 100}),
        *(snapshot(number, quiet=True) for number in range(1, 6)),
    ]
    _state, told = run(days)
    assert told.asked == [("0", "5")]


def test_more_data_than_a_snapshot_tells_of_is_not_quiet() -> None:
    days = [snapshot(0, summary={"total_files_processed": 100}), snapshot(1, quiet=True)]
    came = [PackFile(9 << 20, int((BEGUN + timedelta(hours=20)).timestamp()))]
    assert run(days)[1].asked == [] and run(days, packs=came)[1].asked == [("0", "1")]


def test_much_data_is_looked_into_whatever_its_snapshot_says_and_once() -> None:
    """A forged summary tells of no change, and of more data than came."""
    forged = {"total_files_processed": 100, "files_changed": 0, "files_unmodified": 100, "data_added_packed": 1 << 40}
    days = [snapshot(number, quiet=number > 0, summary=forged) for number in range(4)]
    stored = [(BEGUN + timedelta(days=day, hours=-1)).timestamp() for day in (0, 1, 2)]
    packs = [PackFile(size << 20, int(at)) for size, at in zip((1000, 40, 60), stored)]
    answers = {"2": Looked(gone=True, lost=None)}
    assert run(days, told=Told(answers), packs=packs[:2])[1].asked == []
    assert run(days, told=Told(answers), packs=packs)[1].asked == [("0", "2")]


def test_what_came_between_both_is_told_to_those_who_compare() -> None:
    at = [int((BEGUN + timedelta(days=day, hours=-1)).timestamp()) for day in range(4)]
    days = [snapshot(number) for number in range(3)]
    weights = [(stored, PackWeight(1000 * 10**day, 10**day)) for day, stored in enumerate(at)]
    _state, told = run(days, weights=weights)
    assert told.came == [Came(10_000, 10), Came(100_000, 100)]
    # A slow change is compared with the snapshot before it, so what came counts from there.
    _state, told = run(days, told=Told({"1": Looked(gone=True, lost=None)}), weights=weights)
    assert told.came == [Came(10_000, 10), Came(110_000, 110)]
    assert run(days)[1].came == [None, None]


def test_many_snapshots_among_many_packs_take_no_time_of_their_own() -> None:
    """A host can have half a million objects: each of its packs is looked at once, and not once for each snapshot."""

    class Pack:
        looked = 0

        def __getattr__(self, name: str) -> int:
            Pack.looked += 1
            return 0

    days = [snapshot(number, quiet=number > 0) for number in range(50)]
    run(days, packs=[Pack()] * 10)  # type: ignore[list-item]
    assert Pack.looked == 20


def test_slow_changes_are_compared_with_what_was_before_them() -> None:
    answers = {"1": Looked(gone=True, lost=None), "2": Looked(gone=True, lost=0.4), "3": BAD}
    state, told = run([snapshot(number) for number in range(5)], told=Told(answers))
    assert told.asked == [("0", "1"), ("0", "2"), ("0", "3"), ("2", "3"), ("3", "4")]
    # Against the last one it is seen as well, so that it came at once.
    assert [(one.snapshots, one.good) for one in state.open] == [(("3",), "2")]


def test_files_are_counted_once() -> None:
    """Whether the next one is compared with the same snapshot or with another."""
    slow, harmless = (
        Looked(gone=True, lost=None, files=102, before=100),
        Looked(gone=True, lost=0.0, files=105, before=100),
    )
    told = run([snapshot(number) for number in range(4)], told=Told({"1": slow, "2": harmless}))[1]
    assert told.asked == [("0", "1"), ("0", "2"), ("2", "3")] and told.known == [None, 100, 105]


@pytest.mark.parametrize("answer", [Looked(gone=True, lost=0.4), ResticError("It took too long.")])
def test_the_last_good_snapshot_of_a_slow_change_is_the_one_before_it(answer: Any) -> None:
    class Slow(Told):
        def compare(self, before: str, after: str, files: Optional[int] = None, came: Optional[Came] = None) -> Looked:
            if before == "2" and isinstance(answer, Exception):
                raise answer
            return answer if before == "2" else super().compare(before, after, files, came)

    told = Slow({"1": Looked(gone=True, lost=None), "2": Looked(gone=True, lost=0.4), "3": BAD})
    state, _told = run([snapshot(number) for number in range(4)], told=told)
    assert [(one.snapshots, one.good) for one in state.open] == [(("3",), "0")]


def test_a_signal_stays_whatever_becomes_of_its_snapshot() -> None:
    state, _told = run([snapshot(0), snapshot(1), snapshot(2)], told=Told({"1": BAD}))
    signal = state.open[0]
    assert (signal.stored, signal.good, signal.good_stored) == ("2026-11-02T03:00:00Z", "0", "2026-11-01T03:00:00Z")
    assert "The last snapshot before it is 0, stored 2026-11-01" in signal.finding().evidence
    for left in ([snapshot(0)], [snapshot(2)], [], [snapshot(0), snapshot(7, job="other")]):
        after, _told = run(left, state)
        assert after.open == [signal] and after.hold_before == BEGUN + timedelta(days=1)


def test_the_last_signal_says_what_is_held() -> None:
    state, _told = run([snapshot(number) for number in range(4)], told=Told({"1": BAD, "3": BAD}))
    first, last = (one.finding("p/").id for one in state.open)
    assert first != last and state.hold_before == BEGUN + timedelta(days=3)
    after = signals_state.accept(state, [last], ADA, "p/")
    assert after.hold_before == BEGUN + timedelta(days=1) and after.raised[1].accepted == ADA
    assert signals_state.accept(after, [first], ADA, "p/").hold_before is None
    with pytest.raises(SignalsError, match="There is no signal 'x'"):
        signals_state.accept(state, [first, "x"], ADA, "p/")


def test_what_cannot_be_looked_at_is_told_and_held_until_it_can_or_is_accepted() -> None:
    broken = Told({"1": ResticError("It took too long.")})
    days = [snapshot(0), snapshot(1), snapshot(2)]
    state, _told = run(days, told=broken)
    (signal,) = state.open
    assert (signal.code, signal.snapshots) == ("not_looked_at", ("1", "2")) and state.judged == {"0"}
    assert "2 snapshots were not looked at: It took too long." in signal.evidence
    assert state.hold_before == BEGUN + timedelta(days=1)
    assert run(days, state, broken)[0] == state
    healed, _told = run(days, state)
    assert healed.open == [] and healed.hold_before is None
    accepted = signals_state.accept(state, [signal.finding().id], ADA, "")
    after, told = run([*days, snapshot(3)], accepted)
    assert told.asked == [("0", "3")] and after.open == []


def test_time_and_numbers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals_pass, "MOST_LOOKS", 2)
    monkeypatch.setattr(signals_pass, "MOST_JOBS", 3)
    monkeypatch.setattr(signals_pass, "MOST_RAISED", 1)
    state, told = run([snapshot(number) for number in range(5)])
    assert len(told.asked) == 2 and [one.snapshots for one in state.open] == [("3", "4")]
    state, told = run([snapshot(0), snapshot(1)], told=Told(over=True))
    assert told.asked == [] and "the time for it is over" in state.open[0].evidence
    state, _told = run([snapshot(number, job=f"j{number}") for number in range(5)])
    assert len(state.anchors) == 3 and [one.code for one in state.open] == ["not_looked_at"] * 2
    state, _told = run([snapshot(number) for number in range(3)], told=Told({"1": BAD, "2": BAD}))
    assert [one.snapshots for one in state.open] == [("1",)]


def test_many_histories_that_were_not_looked_at_are_told_together_and_all_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals_pass, "MOST_LATE", 3)
    monkeypatch.setattr(signals_pass, "MOST_JOBS", 1)
    # The one that was stored last is that of a job in the middle.
    days = [snapshot(number, job=f"j{number * 5 % 8}") for number in range(8)]
    state, _told = run(days)
    assert [one.code for one in state.open] == ["not_looked_at"] * 3
    assert sorted(name for one in state.open for name in one.snapshots) == [f"{number}" for number in range(1, 8)]
    assert state.hold_before == BEGUN + timedelta(days=7)
    assert "5 snapshots of 5 histories were not looked at" in state.open[-1].evidence
    accepted = signals_state.accept(state, [one.finding().id for one in state.open], ADA, "")
    assert run(days, accepted)[0].open == []


def test_an_anchor_that_the_retention_removed_is_replaced_by_the_next() -> None:
    answers = {"1": Looked(gone=True, lost=0.4), "2": Looked(gone=True, lost=0.4)}
    state, _told = run([snapshot(0), snapshot(1), snapshot(2)], told=Told(answers))
    assert state.anchors["web"].snapshot == "0"
    assert run([snapshot(1), snapshot(2), snapshot(3)], state)[1].asked == [("1", "3")]
    assert run([snapshot(9)], state)[1].asked == []


def test_names_of_jobs_are_harmless() -> None:
    state, _told = run([snapshot(number, job="{{ evil }}\x1b[2J") for number in range(2)], told=Told({"1": BAD}))
    assert not {"\x1b", "{{"} & set(state.open[0].finding().evidence) and "{{" not in state.open[0].finding().evidence


# The file ------------------------------------------------------------------------------------------------------------


def test_it_is_remembered_as_it_was(tmp_path: Path) -> None:
    assert signals_state.load(str(tmp_path), "r") is None
    state, _told = run([snapshot(number) for number in range(3)], told=Told({"1": BAD, "2": ResticError("x")}))
    state = signals_state.accept(state, [state.open[0].finding().id], ADA, "")
    signals_state.save(str(tmp_path), state)
    assert signals_state.load(str(tmp_path), "r") == state
    assert (tmp_path / "signals").stat().st_mode & 0o777 == 0o600
    with pytest.raises(SignalsError, match="another repository"):
        signals_state.load(str(tmp_path), "other")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 2}', '{"version": 1, "repository_id": "r", "judged": [], "anchors": {}, "raised": [{}]}',
     '{"version": 1, "repository_id": "r", "judged": 3, "anchors": {}, "raised": []}'],
)  # fmt: skip
def test_a_damaged_file_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "signals").write_text(text)
    (tmp_path / "signals").chmod(0o600)
    with pytest.raises(SignalsError):
        signals_state.load(str(tmp_path), "r")
