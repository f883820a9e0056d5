# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judges when a host is well, and puts the hosts in order, the worst first. Pure.

A thing that was not looked at is not well: silence is never taken for good news.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Optional

from .figures import age, clock, duration, exact
from .model import ATTENTION, DANGER, PROTECTED, STATES, UNKNOWN, Fleet, Host, Job, Limits, Problem, Signal, Window

# How many signs of one attack are told in full.
MOST_SIGNS = 3


def judged(fleet: Fleet) -> Fleet:
    """The fleet with the state of each host and why. The worst come first; of these, those with signs of an attack."""
    hosts = (_judged(host, fleet.made, fleet.limits) for host in fleet.hosts)
    return replace(fleet, hosts=tuple(sorted(hosts, key=_order)))


def _order(host: Host) -> tuple[int, bool, bool, str]:
    return STATES.index(host.state), not host.signals, not host.open, host.name


def protected(fleet: Fleet) -> list[Host]:
    """Hosts whose locks and snapshots are as they should be, whether or not there is something to look at."""
    return [host for host in fleet.hosts if host.state in (PROTECTED, ATTENTION)]


def known_since(fleet: Fleet) -> Optional[datetime]:
    """The oldest of the proofs upon which `protected` rests."""
    return min((host.proved for host in protected(fleet) if host.proved), default=None)


def _judged(host: Host, now: datetime, limits: Limits) -> Host:
    found = sorted(_problems(host, now, limits), key=lambda problem: STATES.index(problem.state))
    return replace(host, problems=tuple(found), state=found[0].state if found else PROTECTED)


def _problems(host: Host, now: datetime, limits: Limits) -> Iterator[Problem]:
    if host.unreadable:
        yield Problem(UNKNOWN, host.unreadable, "Restore the file from a copy, or remove it and run verify.")
        return
    yield from _silence(host, now, limits)
    yield from (_open(window, now) for window in host.open)
    if host.refuted:
        yield Problem(DANGER, "The newest look found locks that are not in force.", "Run site, then verify.")
    yield from map(_alarm, alarms(host))
    # Where nothing is known of a host, the newest snapshots of its jobs are not known either; as they were when it was heard of.
    if host.heard is not None:
        if not host.jobs:
            yield Problem(UNKNOWN, "No snapshot of it is known.", "Run verify.")
        silent = (now - host.heard).total_seconds() > limits.silence * 3600
        for job in host.jobs:
            yield from _job(job, host.heard if silent else now)
    if host.drill and not host.drill.well:
        yield Problem(DANGER, f"The newest drill failed: {host.drill.text or 'see its output.'}", "Run drill again.")
    yield from host.findings
    yield from _due(host, now, limits)


def _silence(host: Host, now: datetime, limits: Limits) -> Iterator[Problem]:
    allowed = limits.silence * 3600
    if host.heard is None:
        yield Problem(UNKNOWN, "Nothing was ever heard of it.", "Run site if it is new, and verify every day.")
    elif (now - host.heard).total_seconds() > allowed:
        text = f"It was last looked at {age(host.heard, now)}, on {clock(host.heard)}."
        yield Problem(UNKNOWN, text, "See why verify does not run, or does not reach it.")
    elif host.proved is None and not host.refuted:
        yield Problem(UNKNOWN, "Its locks were never proved to be in force.", "Run verify.")
    elif host.proved is not None and (now - host.proved).total_seconds() > allowed:
        text = f"Its locks were last proved {age(host.proved, now)}, on {clock(host.proved)}."
        yield Problem(UNKNOWN, text, "Run verify, and see what it says of this host.")


def _open(window: Window, now: datetime) -> Problem:
    parts = ", ".join(window.parts) or "Something"
    since = f" since {clock(window.opened)}" if window.opened else ""
    if window.lease is not None and window.lease < now:
        return Problem(
            DANGER,
            f"Unlocked{since}: {parts}. The lease ended {age(window.lease, now)}.",
            "Run the relock playbook now.",
        )
    lease = f", at the latest until {clock(window.lease)}" if window.lease else ""
    return Problem(
        DANGER, f"Unlocked{since}{lease}: {parts}.", "Wait for the run that works on it, or run the relock playbook."
    )


def alarms(host: Host) -> list[list[Signal]]:
    """The signs of an attack by job, first the one that was seen first: they have one cause, and are told once.

    The last snapshot before the first one is the last good one; what came before a later one may be the attacker's.
    """
    by_job: dict[str, list[Signal]] = {}
    for signal in sorted(host.signals, key=lambda one: one.since.timestamp() if one.since else math.inf):
        by_job.setdefault(signal.job, []).append(signal)
    return list(by_job.values())


def _alarm(signs: list[Signal]) -> Problem:
    """The most important words come first: the evidence may be long, and is cut."""
    first = signs[0]
    seen = f", first seen in what was stored on {exact(first.since)}" if first.since else ""
    good = f" The last snapshot before it was stored on {exact(first.last_good)}." if first.last_good else ""
    evidence = list(dict.fromkeys(sign.evidence for sign in signs if sign.evidence))
    more = [f"{len(evidence) - MOST_SIGNS} more signs."] if len(evidence) > MOST_SIGNS else []
    text = " ".join([f"This looks like an attack{seen}.{good}", *evidence[:MOST_SIGNS], *more])
    what = "Look at the host before you trust what it stored since; take it for compromised if you cannot explain it."
    if first.last_good_id:
        what += f" To restore the state from before: holdfast_restore_snapshot={first.last_good_id}."
    return Problem(DANGER, text, what, first.code, first.job)


def _job(job: Job, now: datetime) -> Iterator[Problem]:
    what = "Look at the job's unit on the host: systemctl status holdfast-backup@" + job.name + ".service"
    if job.newest is None and job.snapshots is None:
        yield Problem(UNKNOWN, f"No snapshot of job {job.name} is known.", "Run verify.", "", job.name)
    elif job.newest is None:
        yield Problem(DANGER, f"Job {job.name} has no snapshot.", what, "stale", job.name)
    elif (now - job.newest).total_seconds() > job.max_age * 3600:
        limit = duration(job.max_age * 3600)
        text = f"The newest snapshot of job {job.name} was stored {age(job.newest, now)}; {limit} is the limit."
        yield Problem(DANGER, text, what, "stale", job.name)


def _due(host: Host, now: datetime, limits: Limits) -> Iterator[Problem]:
    """A task that was done once and should be done again. One that was never set up is told in its cell only."""
    for last, days, text, what in (
        (host.maintained, limits.maintenance, "Maintenance last succeeded", "Run maintenance."),
        (host.read_from, limits.read, "The data was last read through", "Run check."),
        (host.drill.at if host.drill and host.drill.well else None, limits.drill, "The last drill was", "Run drill."),
    ):
        if last and days and (now - last).total_seconds() > days * 86400:
            yield Problem(ATTENTION, f"{text} {age(last, now)}.", what, "due")
