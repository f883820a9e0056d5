# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who changes rules while others have windows: what is true of them whatever the service answers."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.change import change_rules
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.desired import plan
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.mutex import Mutex
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import open_window, windows

from tests.support.api_in_memory import Account, clocks_of
from tests.support.fake_api import BUCKET, FakeBucket, token

HOLDER = "0123456789abcdef"
LOGS = {"id": "logs", "enabled": True, "prefix": "logs/", "condition": {"type": "Age", "maxAgeSeconds": 1}}


def account_of() -> Account:
    return Account(lock_set(""), token("t1", "holdfast/web1"))


def opened(account: Account, seconds: float) -> None:
    lease = account.server_now() + timedelta(seconds=seconds)
    account.rules = open_window(account.rules, "", ["data"], lease=lease, holder=HOLDER)


def lock(account: Account, rules: list[dict[str, Any]]) -> None:
    client = account.client(retry_timeout=30)

    def change(current: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return plan(current, rules, state="present", now=client.server_time())

    def mutex_for(_cloudflare: object, _name: str) -> Mutex:
        bucket: Any = FakeBucket(account)
        return Mutex(lambda: bucket, client.server_time, account.sleep)

    with clocks_of(account):
        change_rules(client, BUCKET, change, mutex_for)


def closed_meanwhile(account: Account, moment: float) -> list[dict[str, Any]]:
    """The keeper of the window closes it at that moment, or between a look of somebody else and the write that follows."""
    closed = lock_set("")
    account.script["PUT lock"] = [partial(setattr, account, "rules", closed)]
    account.at(moment, partial(setattr, account, "rules", closed))
    return closed


def test_no_document_is_written_back_that_was_read_while_a_window_was_open() -> None:
    account = account_of()
    opened(account, 10.0)
    closed_meanwhile(account, 9.0)
    lock(account, [LOGS])
    assert not windows(account.rules) and LOGS in account.rules


def test_window_that_stays_open_is_not_waited_for_without_end() -> None:
    account = account_of()
    opened(account, 3000.0)
    closed_meanwhile(account, 2999.0)
    with pytest.raises(HoldfastError, match="window of the repository of the bucket is open until"):
        lock(account, [LOGS])
    assert windows(account.rules) and account.now < 100


def test_rule_that_somebody_else_undoes_at_once_is_written_again() -> None:
    """Also in a bucket of one host: its keeper may have read the document before."""
    account = account_of()
    account.at(1.0, partial(setattr, account, "rules", lock_set("")))
    lock(account, [LOGS])
    account.sleep(10)
    assert LOGS in account.rules
