# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is true of fence and guard whatever the service answers: each test is one invariant."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks import fences
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import open_window, windows
from ansible_collections.holdfast.restic_r2.plugins.module_utils._tokens.api import Tokens
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.control import Control, Ending
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.fence import (
    FenceHolder,
    FenceKeeper,
    FenceSpec,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.guard import relock
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.session import WindowError, WindowSession

from tests.support.api_in_memory import Account, clocks_of, keep, spec_of
from tests.support.fake_api import BUCKET, FakeBucket, Lost, Refused, token

HOLDER = "0123456789abcdef"
OTHER = "fedcba9876543210"
WEB1 = "holdfast/web1"


def account_of(prefix: str = "") -> Account:
    return Account(lock_set(prefix), token("t1", WEB1))


def fenced(account: Account, seconds: float, prefix: str = "", holder: str = HOLDER) -> None:
    """A fence that somebody has put up, whose lease ends so many seconds from now."""
    now = account.server_now()
    lease = now + timedelta(seconds=seconds)
    account.rules = fences.put_up(account.rules, prefix, tokens=["t1"], holder=holder, lease=lease, now=now)
    account.tokens["t1"]["status"] = "disabled"


def opened(account: Account, seconds: float, prefix: str = "") -> None:
    lease = account.server_now() + timedelta(seconds=seconds)
    account.rules = open_window(account.rules, prefix, ["data"], lease=lease, holder=HOLDER)


def fence(account: Account, moment: float = 300.0, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "parts": (),
        "tokens": ("t1",),
        "makers": account.client,
        "host_s3": partial(FakeBucket, account, "t1"),
        "lease_seconds": 3600.0,
        "cap_seconds": 86400.0,
    }
    return keep(account, spec_of(account, FenceSpec, **{**values, **changes}), moment, FenceKeeper)


def guard(account: Account, **settings: Any) -> Any:
    with clocks_of(account):
        return relock(account.client(retry_timeout=30), BUCKET, None, **settings)


# --- the guard -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refused", [Refused(429, 971), Refused(403), Lost(None)])
def test_guard_enables_no_token_before_it_has_read_a_closed_document(refused: object) -> None:
    account = account_of()
    fenced(account, -1)
    opened(account, -1)
    account.script["PUT lock"] = [refused] * 20
    result = guard(account)
    assert windows(account.rules) and account.tokens["t1"]["status"] == "disabled"
    assert result.failure is not None and result.problems and not result.fences


def test_guard_enables_nothing_behind_a_fence_that_was_taken_over() -> None:
    """Another maintenance takes the overdue fence over, at whatever step of the guard after its first look."""
    for step in (1, 2, 3):
        account = account_of()
        fenced(account, -1)
        lease = account.server_now() + timedelta(hours=1)
        other = fences.put_up(account.rules, "", tokens=["t1"], holder=OTHER, lease=lease, now=account.server_now())
        account.at_call[step] = partial(setattr, account, "rules", other)
        guard(account)
        found = fences.fence_of(account.rules, "")
        # Where the guard's write came last, the other does not find its rule when it reads back.
        assert (found and found.holder == OTHER and account.tokens["t1"]["status"] == "disabled") or step == 1, step


@pytest.mark.parametrize("step", ["GET lock", "GET token t1"])
def test_guard_that_stood_still_enables_nothing_behind_a_fence_that_was_put_up_since(step: str) -> None:
    account = account_of()
    fenced(account, -1)

    def stand_still() -> None:
        account.stale.append(account.rules)
        account.suspend(400.0)
        account.rules = lock_set("")
        fenced(account, 3600, holder=OTHER)

    # Of the reads of the document, the one after the second look.
    account.script[step] = [*([None] * 2 if step == "GET lock" else []), stand_still]
    result = guard(account)
    assert account.tokens["t1"]["status"] == "disabled"
    found = fences.fence_of(account.rules, "")
    assert found is not None and found.holder == OTHER and result.problems


@pytest.mark.parametrize("prefix", ["", "web1/"])
def test_fence_is_not_said_to_be_up_while_the_guard_takes_it_down(prefix: str) -> None:
    """The guard, told to use force, runs as a whole at each step of the fence."""
    quiet = account_of(prefix)
    fence(quiet, prefix=prefix)
    told = 0
    for step in range(len(quiet.calls)):
        account = account_of(prefix)
        account.at_call[step] = partial(guard, account, force=True)
        report = fence(account, prefix=prefix)
        if "opened" in account.told:
            up = fences.fence_of(account.told["opened"]["rules"], prefix)
            assert account.told["opened"]["tokens"]["t1"] == "disabled" and up is not None, step
            told += 1
        assert account.tokens["t1"]["status"] == "active" and report["in_force"] is not False, step
        assert fences.fences(account.rules) == [], step
    assert told


def test_guard_says_of_a_token_that_was_active_all_the_time_that_it_was() -> None:
    """A fence rule that a late write brought back."""
    account = account_of()
    fenced(account, -1)
    account.tokens["t1"]["status"] = "active"
    result = guard(account)
    assert fences.fences(account.rules) == [] and "enabled again" not in result.line


# --- the fence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [20.0, 100.0, 310.0])
def test_token_is_active_in_the_end_however_late_its_disabling_takes_effect(late: float) -> None:
    account = account_of()
    account.script["PUT token t1"] = [Lost(late)]
    report = fence(account)
    account.sleep(1000)
    assert account.tokens["t1"]["status"] == "active", report
    assert report["in_force"] is not False and fences.fences(account.rules) == []


@pytest.mark.parametrize("late", [2.0, 20.0, 29.0])
def test_token_is_active_in_the_end_also_where_its_disabling_was_cut_short(late: float) -> None:
    """Maintenance is killed while the request waits for its answer, and the request takes effect all the same."""
    account = account_of()

    def cut() -> None:
        account.at(account.now + late, lambda: account.tokens["t1"].update(status="disabled"))
        raise Ending("the parent is gone")

    account.script["PUT token t1"] = [cut]
    report = fence(account)
    account.sleep(1000)
    assert account.tokens["t1"]["status"] == "active", report
    assert report["in_force"] is not False and fences.fences(account.rules) == []


def test_token_is_enabled_also_where_it_reads_as_active() -> None:
    """The disabling took effect, and is not to be seen yet in what is read."""
    account = account_of()
    account.script["PUT token t1"] = [Lost(290.0)]
    fence(account, 295.0)
    assert account.calls.count("PUT token t1") >= 2


def test_nothing_is_opened_before_the_minute_in_which_changes_of_keys_spread() -> None:
    account = account_of()
    fence(account)
    assert account.told["opened"]["now"] - account.disabled_at["t1"] >= 60.0


def test_what_somebody_else_changes_of_a_token_meanwhile_stays() -> None:
    """A rotation renames it between the look at it and the disabling."""
    account = account_of()
    with clocks_of(account):
        tokens = Tokens(account.client(), account.sleep)
        found = tokens.get("t1")
        assert found is not None
        account.tokens["t1"]["name"] = f"{WEB1}/former/t1"
        account.tokens["t1"]["expires_on"] = "2026-12-01T00:00:00Z"
        tokens.set_status("t1", "disabled")
    assert account.tokens["t1"]["name"] == f"{WEB1}/former/t1" and account.tokens["t1"]["expires_on"]
    assert account.tokens["t1"]["status"] == "disabled"


def test_fence_that_cannot_come_down_says_whether_the_host_is_still_out() -> None:
    account = account_of()
    # The token is enabled, but the rule stays: of the writes of the document, only the first gets through.
    account.script["PUT lock"] = [None, *[Refused(403)] * 1000]
    report = fence(account)
    assert report["in_force"] is False and account.tokens["t1"]["status"] == "active"
    assert "could not be enabled again" not in report["error"] and "rule" in report["error"]


def test_no_token_is_disabled_where_somebody_else_wrote_the_rule_away() -> None:
    """Who had read the document before; were the keeper to die then, nobody would know of the token."""
    account = account_of()
    bare = [dict(rule) for rule in account.rules]
    account.script["PUT lock"] = [lambda: account.at(account.now + 0.5, partial(setattr, account, "rules", bare))]
    fence(account)
    assert account.calls.count("PUT token t1") == 0 and "opened" not in account.told


@pytest.mark.parametrize("late", ["lost, seen", "lost, unseen", "suspended"])
def test_tokens_of_a_fence_that_a_late_write_overwrote_are_enabled_again(late: str) -> None:
    account = account_of()
    account.tokens["t2"] = token("t2", WEB1)
    # Somebody else puts up a fence and dies behind it, before our write takes effect.
    account.at(0.2, lambda: fenced(account, 3600, holder=OTHER))
    account.script["PUT lock"] = [partial(account.suspend, 5.0) if late == "suspended" else Lost(5.0)]
    if late == "lost, unseen":
        account.script["GET lock"] = [None, None, *[Refused(429, 971)] * 6]
    report = fence(account, tokens=("t1", "t2"))
    assert ("is at work" if late == "lost, seen" else "disabled by another process") in report["ended_by"]
    assert report["in_force"] and not fences.fences(account.rules)
    assert {one["status"] for one in account.tokens.values()} == {"active"}


def test_node_that_stood_still_enables_nothing_behind_a_fence_that_was_put_up_since() -> None:
    account = account_of()

    def stand_still() -> None:
        account.stale.append(account.rules)
        account.suspend(400.0)
        account.rules = lock_set("")
        fenced(account, 3600, holder=OTHER)

    # Of the reads of the document, the last one before the tokens are enabled.
    account.at(300.0, lambda: account.script.__setitem__("GET lock", [stand_still]))
    fence(account)
    assert account.tokens["t1"]["status"] == "disabled"


def test_second_looks_enable_nothing_behind_a_fence_that_was_put_up_since() -> None:
    account = account_of()
    account.script["PUT token t1"] = [None, Lost(0.0)]  # so that enabling looks again for half a minute

    def put_up() -> None:
        account.rules = lock_set("")
        fenced(account, 3600, holder=OTHER)

    account.at(304.0, put_up)
    fence(account)
    assert account.now > 310 and account.tokens["t1"]["status"] == "disabled"


@pytest.mark.parametrize("prefix", ["", "web1/"])
def test_fence_that_was_taken_over_stays_also_where_the_next_look_is_an_older_one(prefix: str) -> None:
    """Else nobody would enable its tokens: neither we, nor the process that took it over."""
    quiet = account_of(prefix)
    fence(quiet, prefix=prefix)
    tokens = [step for step, call in enumerate(quiet.calls) if call == "PUT token t1"]
    look = max(step for step, call in enumerate(quiet.calls) if call == "GET lock" and step < tokens[-1])
    account = account_of(prefix)
    before: list[Any] = []

    def take_over() -> None:
        before.extend(account.rules)
        mine = fences.fence_of(before, prefix)
        assert mine is not None
        account.rules = fences.take_over(before, mine, holder=OTHER, lease=mine.lease)

    account.at_call = {look: take_over, look + 1: lambda: account.stale.append(before)}
    fence(account, prefix=prefix)
    found = fences.fence_of(account.rules, prefix)
    assert before and found is not None and found.holder == OTHER and account.tokens["t1"]["status"] == "disabled"


def test_token_that_a_person_disables_meanwhile_stays_disabled() -> None:
    account = account_of()
    account.tokens["t1"]["status"] = "disabled"
    report = fence(account)
    assert "disabled by another process" in report["ended_by"]
    assert account.tokens["t1"]["status"] == "disabled" and not fences.fences(account.rules)


def test_fence_that_is_not_to_be_seen_yet_is_taken_down_all_the_same() -> None:
    account = account_of()
    bare = [dict(rule) for rule in account.rules]
    account.script["PUT lock"] = [lambda: account.at(account.now + 0.01, show_stale)]

    def show_stale() -> None:
        account.script["GET lock"] = [Refused(403), *[lambda: setattr(account, "stale", [bare])] * 3]
        account.at(account.now + 1.0, account.script["GET lock"].clear)

    report = fence(account)
    assert fences.fences(account.rules) == [] and account.tokens["t1"]["status"] == "active", report


@pytest.mark.parametrize(("holder", "seconds"), [(HOLDER, 3600.0), (OTHER, 3600.0), (HOLDER, 299.0), (None, 0.0)])
def test_window_opens_only_behind_a_fence_of_its_own_that_outlasts_it(holder: str | None, seconds: float) -> None:
    account = account_of()
    if holder:
        fenced(account, seconds, holder=holder)
    report = keep(account, spec_of(account, behind=HOLDER), 5.0)
    good = holder == HOLDER and seconds > 300.0
    assert ("opened" in account.told, account.calls.count("PUT lock") > 0, report["fence_lost"]) == (good, good, None)


def test_window_whose_fence_goes_meanwhile_tells_it_and_ends_at_its_lease() -> None:
    account = account_of()
    fenced(account, 3600.0)
    account.at(2.0, lambda: setattr(account, "rules", [one for one in account.rules if not fences.fences([one])]))
    report = keep(account, spec_of(account, behind=HOLDER, lease_seconds=60.0), 3000.0)
    assert "taken down by another process" in report["fence_lost"] and report["in_force"] is True
    assert not windows(account.rules) and account.now < 120.0


@pytest.mark.parametrize("ended_by", [Control.CLOSE, "the lease ran out"])
def test_fence_that_ended_before_its_parent_was_done_fails_the_run(
    ended_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(account_of(), FenceSpec, parts=())
    assert isinstance(spec, FenceSpec)
    holder = FenceHolder(spec)
    monkeypatch.setattr(WindowSession, "running", True)
    monkeypatch.setattr(WindowSession, "over", lambda _window: None)
    monkeypatch.setattr(WindowSession, "__exit__", lambda _window, *_error: None)
    holder.report = {"ended_by": ended_by}
    with (
        nullcontext() if ended_by == Control.CLOSE else pytest.raises(WindowError, match="ended before maintenance did")
    ):
        holder.__exit__(None, None, None)
