# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Windows in which deletes are the proof that they are open: what is true of them whatever the service answers."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import windows

from tests.support.api_in_memory import Account, keep, spec_of
from tests.support.fake_api import Lost, token

LOCK_CALLS = ["GET lock", "PUT lock", "GET lock"]
LOGS = {"id": "logs", "enabled": True, "prefix": "logs/", "condition": {"type": "Age", "maxAgeSeconds": 1}}


def account_of(prefix: str = "") -> Account:
    return Account(lock_set(prefix), token("t1", "holdfast/web1"))


def short(account: Account, moment: float, prefix: str = "") -> dict[str, Any]:
    """A window for deletes, whose parent is done at this moment; it is open from 0.2 s on, or from 0.25 s if shared."""
    return keep(account, spec_of(account, prefix=prefix, proved=False), moment)


@pytest.mark.parametrize("prefix", ["", "web1/"])
def test_deletes_begin_with_the_answer_and_closing_builds_upon_what_was_read_back(prefix: str) -> None:
    account = account_of(prefix)
    report = short(account, 0.8, prefix)
    calls = account.told["opened"]["calls"]
    assert calls[-1] == "PUT lock" and windows(account.told["opened"]["rules"])
    assert account.calls[len(calls) :] == ["GET lock", "PUT lock", "GET lock", *["GET lock"] * bool(prefix)]
    assert report["in_force"] is True and report["closed_by_other"] is False and account.mutex is None


@pytest.mark.parametrize("prefix", ["", "web1/"])
def test_closing_builds_upon_nothing_that_is_older_than_a_second(prefix: str) -> None:
    account = account_of(prefix)
    account.at(1.6, lambda: account.rules.append(LOGS))
    if prefix:
        account.at(1.55, lambda: seen.append(account.mutex))
    seen: list[object] = []
    report = short(account, 1.8, prefix)
    assert LOGS in account.rules and not windows(account.rules) and report["in_force"] is True
    assert seen == [None] * bool(prefix)


def test_window_that_somebody_wrote_away_at_once_is_opened_again_and_told_once() -> None:
    account = account_of()
    bare = [*lock_set(""), LOGS]
    account.at(0.21, partial(setattr, account, "rules", bare))
    told: list[float] = []
    account.script["PUT lock"] = [None, lambda: told.append(account.told["opened"]["now"])]
    report = short(account, 3.0)
    assert told == [account.told["opened"]["now"]] and account.calls.count("PUT lock") == 3
    assert LOGS in account.rules and not windows(account.rules) and report["in_force"] is True


def test_lost_answer_is_told_once_the_window_was_seen() -> None:
    account = account_of()
    account.script["PUT lock"] = [Lost(0.0)]
    report = short(account, 3.0)
    assert account.told["opened"]["calls"] == LOCK_CALLS[:3] and windows(account.told["opened"]["rules"])
    assert report["in_force"] is True and not windows(account.rules)


def test_window_whose_end_came_before_it_was_read_back_is_not_in_doubt() -> None:
    """Its write was answered: nothing of it can take effect late, so that closing does not look again for half a minute."""
    account = account_of()
    account.script["GET lock"] = [None, Lost(None)]
    report = short(account, 0.3)
    assert report["in_force"] is True and not windows(account.rules) and account.now < 15.0


def test_closing_without_an_answer_is_not_proved_by_a_document_of_before_the_opening() -> None:
    account = account_of()
    account.empty = True  # so that nothing can be probed
    account.script["PUT lock"] = [None, Lost(None)]
    account.at(0.86, lambda: account.stale.append(lock_set("")))
    report = short(account, 0.8)
    assert not account.stale and report["in_force"] is True and not windows(account.rules)


def test_closing_without_an_answer_is_not_proved_by_a_document_of_before_a_late_opening() -> None:
    """The opening takes effect when all was closed; what is read just after that may show the time before."""
    account = account_of()
    account.empty = True
    account.script["PUT lock"] = [Lost(31.5), None, Lost(None)]
    account.at(32.45, lambda: account.stale.append(lock_set("")))
    report = short(account, 0.8)
    assert not account.stale and report["in_force"] is True and not windows(account.rules)


def test_opening_write_without_an_answer_that_comes_once_all_is_closed_is_closed_again() -> None:
    """A stale look made the keeper write twice; the first write took effect, and hides that the second did not yet."""
    account = account_of()
    account.script["PUT lock"] = [partial(account.stale.append, lock_set("")), Lost(15.0)]
    report = short(account, 3.0)
    account.sleep(60.0)
    assert report["in_force"] is True and account.calls.count("PUT lock") == 4
    assert account.rules == lock_set("")
