# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deletes that are made before their turn."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.process_signals import (
    Interrupted,
    signals_raise,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.prepared_deletes import PreparedDelete, await_turn
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3_types import S3Error

REFUSED = {"data/1": S3Error("It is locked.")}


class Service:
    """Notes what is made and what is sent; answers when it may."""

    def __init__(self, tries: int = 1) -> None:
        self.tries = tries
        self.made = 0
        self.sent: list[str] = []
        self.arrived, self.answers = threading.Event(), threading.Event()
        self.answers.set()

    def delete(self) -> dict[str, S3Error]:
        """As botocore, which asks before each try."""
        self.made += 1
        for attempt in range(self.tries):
            await_turn(request=attempt)
            self.sent.append(threading.current_thread().name)
            self.arrived.set()
            self.answers.wait(60.0)
        return REFUSED


def started(service: Service) -> PreparedDelete:
    prepared = PreparedDelete(service.delete)
    prepared.start()
    return prepared


def test_a_request_is_made_at_once_and_sent_when_it_is_its_turn() -> None:
    first, second = Service(tries=3), Service()
    prepared = [started(first), started(second)]
    assert (first.made, second.made) == (1, 1) and not first.sent and not second.sent
    assert prepared[0].send() == REFUSED
    assert len(first.sent) == 3 and not second.sent
    assert prepared[1].send() == REFUSED and len(second.sent) == 1


def test_a_request_that_is_withdrawn_is_never_sent() -> None:
    service, before = Service(), threading.active_count()
    prepared = started(service)
    prepared.withdraw()
    prepared.withdraw()
    assert service.made == 1 and not service.sent and threading.active_count() == before


def test_a_request_that_nobody_prepared_waits_for_no_turn() -> None:
    service = Service()
    assert service.delete() == REFUSED and service.sent


def test_what_the_call_raises_is_raised_where_its_turn_is_given() -> None:
    def fail() -> dict[str, S3Error]:
        raise LookupError("nothing of this kind")

    prepared = PreparedDelete(fail)
    prepared.start()
    with pytest.raises(LookupError, match="nothing of this kind"):
        prepared.send()


def test_a_signal_ends_the_wait_at_once_and_nothing_is_sent_again() -> None:
    service = Service(tries=2)
    service.answers.clear()
    before = {*threading.enumerate()}
    prepared = started(service)

    def end() -> None:
        service.arrived.wait(60.0)
        os.kill(os.getpid(), signal.SIGTERM)

    ending = threading.Thread(target=end)
    ending.start()
    began = time.monotonic()
    with pytest.raises(Interrupted), signals_raise():
        prepared.send()
    assert time.monotonic() - began < 30.0 and len(service.sent) == 1
    service.answers.set()
    for thread in {*threading.enumerate()} - before:
        thread.join(60.0)
    assert len(service.sent) == 1


def test_where_there_is_no_room_for_a_thread_it_is_sent_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    service = Service()
    monkeypatch.setattr(threading.Thread, "start", start)
    prepared = started(service)
    assert not service.made
    assert prepared.send() == REFUSED and service.sent == [threading.main_thread().name]
    prepared.withdraw()
