# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ends work in good order when the process gets a signal.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Optional

from .errors import HoldfastError

_NUMBERS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM)
_PR_SET_PDEATHSIG = 1


# The shortest and the longest time that a run may be given, in seconds: 31 days.
LIMITS = (1, 31 * 86400)


class Interrupted(BaseException):
    """A signal asked the process to end. Not an Exception, so that no library takes it for a failure of its own."""


class TimeOver(Interrupted):
    """The time limit of the block is over."""


@contextmanager
def signals_raise(limit: Optional[float] = None) -> Iterator[None]:
    """Inside the block, the first signal that asks for the end raises Interrupted; those after it change nothing.

    Work that is undone after the first one must not be torn apart by the second.

    Args:
        limit: After so many seconds the block is ended as by a signal.
    """

    def handler(number: int, _frame: Any) -> None:
        for other in _NUMBERS:
            signal.signal(other, signal.SIG_IGN)
        if limit is not None and number == signal.SIGALRM:
            raise TimeOver(f"its time limit of {limit:g} seconds")
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, handler) for number in _NUMBERS}
    if limit is not None:
        signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        if limit is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, previous in before.items():
            signal.signal(number, previous if previous is not None else signal.SIG_DFL)


@contextmanager
def ended_by_signals(
    work: str, end: Callable[[], str], limit: Optional[float] = None, option: str = ""
) -> Iterator[None]:
    """As signals_raise(), but raises HoldfastError with a sentence: the work was ended by a signal, and how things are now.

    Args:
        work: What is done, and on what.
        end: How things are when it was ended.
        limit: After so many seconds the block is ended as by a signal.
        option: The option that sets the limit.
    """
    try:
        with signals_raise(limit):
            yield
    except Interrupted as interrupted:
        raise HoldfastError(f"{work} was ended by {interrupted}; {end()}{longer(interrupted, option)}") from interrupted


def longer(interrupted: Interrupted, option: str) -> str:
    """What is added to the sentence where the time was over: which option to raise."""
    return f" Raise {option} where it needs longer." if option and isinstance(interrupted, TimeOver) else ""


def checked_seconds(seconds: int) -> int:
    """The option `seconds` of a module.

    Raises:
        HoldfastError: It makes no sense.
    """
    if not LIMITS[0] <= seconds <= LIMITS[1]:
        raise HoldfastError(f"seconds is {seconds}: write a number from {LIMITS[0]} to {LIMITS[1]}, which are 31 days.")
    return seconds


@contextmanager
def signals_wait() -> Iterator[None]:
    """Inside the block, signals that ask for the end are only noted; the first of them is raised after it.

    By handlers, because a mask would hold for one thread and the handler runs for whichever thread got the signal. In another
    thread than the main one, which runs the handlers, there is nothing to do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before = {number: signal.signal(number, lambda found, _frame: caught.append(found)) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous if previous is not None else signal.SIG_DFL)
        if caught:
            signal.raise_signal(caught[0])


@contextmanager
def forking() -> Iterator[None]:
    """Around a fork: what Python does after one would swallow what a signal raises, and the child would act for its parent.

    The child must not leave the block. No signal reaches it before it has its own handlers and lifts its mask.
    """
    with signals_wait():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def dies_with_parent(by: signal.Signals = signal.SIGINT) -> Callable[[], None]:
    """For a child's preexec_fn: it gets a signal when this process dies, even by SIGKILL. Linux; elsewhere nothing."""
    parent = os.getpid()
    prctl = getattr(ctypes.CDLL(None), "prctl", None)

    def prepare() -> None:
        # A child inherits the signals that its parent ignores, and a restic that ignores SIGINT could not be asked to stop.
        for number in _NUMBERS:
            signal.signal(number, signal.SIG_DFL)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return prepare
