# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is true of windows whatever the service answers: each test is one invariant."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import windows

from tests.support.api_in_memory import Account, keep, spec_of
from tests.support.fake_api import Lost, Refused, token


def account_of(prefix: str = "") -> Account:
    return Account(lock_set(prefix), token("t1", "holdfast/web1"))


def test_one_refusal_late_in_closing_is_not_the_end_of_it() -> None:
    account = account_of()
    account.script["PUT lock"] = [None, *[Lost(None)] * 12, Refused(403), Refused(404, 10006)]
    report = keep(account, spec_of(account), 5.0)
    assert report["in_force"] is True and not windows(account.rules), report


def test_refusals_that_go_on_end_closing_after_a_minute_of_them() -> None:
    account = account_of()
    account.script["PUT lock"] = [None, *[Lost(None)] * 8, *[Refused(403)] * 1000]
    report = keep(account, spec_of(account), 5.0)
    assert report["in_force"] is False and "ansible localhost" in report["error"]


def test_time_without_an_answer_between_two_refusals_is_no_time_of_refusals() -> None:
    account = account_of()
    account.script["PUT lock"] = [None, Refused(403)]
    account.script["GET lock"] = [None, None, None, *[Lost(None)] * 16, Refused(403)]
    report = keep(account, spec_of(account), 5.0)
    assert account.now > 120.0
    assert report["in_force"] is True and not windows(account.rules), report


@pytest.mark.parametrize("refused", [Refused(403), Refused(404, 10006), Refused(429, 971)])
def test_window_whose_opening_could_not_be_read_back_is_closed_by_writing(refused: Refused) -> None:
    account = account_of()
    account.empty = True
    locked = [dict(rule) for rule in account.rules]
    account.script["GET lock"] = [None, *[refused] * (30 if refused.status == 429 else 1)]

    def stale() -> None:
        account.stale = [locked]

    account.script["PUT lock"] = [stale]
    report = keep(account, spec_of(account, open_timeout=2.0), 5.0)
    assert not windows(account.rules) and report["in_force"] is True, report


def test_timeout_counts_no_time_in_which_the_node_was_suspended() -> None:
    account = account_of()
    account.script["PUT lock"] = [None, *[Lost(None)] * 4]
    account.at(8.0, lambda: account.suspend(3600.0))
    report = keep(account, spec_of(account), 5.0)
    assert report["in_force"] is True and not windows(account.rules), report


def test_window_that_reads_as_closed_is_closed_by_writing_all_the_same() -> None:
    """What was read may be older than the window."""
    account = account_of()
    account.empty = True
    locked = [dict(rule) for rule in account.rules]

    def stale() -> None:
        account.stale = [locked]

    account.at(4.9, stale)
    report = keep(account, spec_of(account), 5.0)
    assert not windows(account.rules) and report["in_force"] is True
    assert account.calls.count("PUT lock") == 2


@pytest.mark.parametrize("prefix", ["", "web1/"])
def test_window_that_its_keeper_closed_is_not_said_to_be_closed_by_others(prefix: str) -> None:
    account = account_of(prefix)
    report = keep(account, spec_of(account, prefix=prefix), 5.0)
    assert report["in_force"] is True and report["closed_by_other"] is False


def test_window_whose_closing_could_not_be_read_back_is_not_said_to_be_closed_by_others() -> None:
    account = account_of()
    account.script["GET lock"] = [None, None, None, Refused(403)]
    report = keep(account, spec_of(account), 5.0)
    assert report["in_force"] is True and report["closed_by_other"] is False
