# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots that claim what is not so, to push genuine ones out of what a policy keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from tests.attacks.attack import POLICIES, Attack
from tests.attacks.host import Host

DAY = timedelta(days=1)
TIMES = frozenset({"claimed_time"})


def newest(host: Host) -> tuple[str, dict[str, Any]]:
    """The newest snapshot: its id, and its document as restic stores it."""
    found = host.ask_restic("snapshots", "--json")
    name = max(found, key=lambda snapshot: snapshot["time"])["id"]
    return name, host.ask_restic("cat", "snapshot", name)


def add(host: Host, documents: Iterable[dict[str, Any]]) -> None:
    host.put_many("snapshots", (host.master.seal_json(document) for document in documents))


def with_times(times: Callable[[datetime], Iterable[datetime]], host: Host) -> None:
    """Copies of the newest snapshot, of the same host and paths and complete, that claim other times."""
    _name, document = newest(host)
    now = datetime.now(timezone.utc)
    add(host, ({**document, "time": moment.isoformat()} for moment in times(now)))


def future_days(now: datetime) -> Iterable[datetime]:
    return (now + number * DAY for number in range(1, 61))


def far_future(now: datetime) -> Iterable[datetime]:
    return (now.replace(year=now.year + 70, month=1, day=1),)


def past_days(now: datetime) -> Iterable[datetime]:
    midnight = now.replace(hour=23, minute=59, second=30, microsecond=0)
    return (midnight - number * DAY for number in range(1, 19))


def future_years(now: datetime) -> Iterable[datetime]:
    return (now.replace(year=now.year + number, month=6, day=1) for number in range(1, 101))


def missing_tree(host: Host) -> None:
    _name, document = newest(host)
    add(host, [{**document, "time": datetime.now(timezone.utc).isoformat(), "tree": "5a" * 32}])


FORGED = {
    "60 future days": future_days,
    "one far future": far_future,
    "23:59 of each day": past_days,
    "100 future years": future_years,
}
ATTACKS = [
    *(
        Attack(f"snapshots: {name}, keep {policy}", TIMES, partial(with_times, times), policy=policy)
        for name, times in FORGED.items()
        for policy in POLICIES
    ),
    Attack(
        "snapshot: its tree is missing",
        frozenset({"missing_tree"}),
        missing_tree,
    ),
]
