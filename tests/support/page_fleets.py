# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fleets that a page can be made of: a well one, a sick one with everything that can be wrong, a hostile one, a large one."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.model import (
    ATTENTION,
    DANGER,
    Drill,
    Event,
    Fleet,
    Hold,
    Host,
    Job,
    Limits,
    Problem,
    Signal,
    Snapshot,
    Window,
)

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 27, 9, 4, tzinfo=timezone.utc)
PRICE = 0.015
HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "'; --&gt;{{ 7*7 }}{% raw %}",
    "safe\u202egpj.exe",
    "w" * 300,
    "../../etc/passwd",
)


def templates() -> dict[str, str]:
    """What the role hands to the module."""
    folder = ROOT / "roles" / "report" / "files" / "page"
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}


def ago(**length: float) -> datetime:
    return NOW - timedelta(**length)


def job(name: str, hours: float = 5, days: int = 90, *, most: int = 60, max_age: float = 26) -> Job:
    stored = tuple(ago(hours=hours, days=number) for number in sorted(range(days), reverse=True)[-most:])
    return Job(name, max_age, stored[-1], stored[0], len(stored), len(stored), stored)


def sizes(start: float, daily: float, seed: int, days: int = 90) -> tuple[tuple[datetime, float], ...]:
    """A size that grows, and shrinks with each maintenance."""
    chance, value, found = random.Random(seed), start, []
    for day in range(days, -1, -1):
        value += start * daily * chance.random() * 2
        if day % 7 == 3:
            value -= start * daily * 5
        found.append((ago(days=day, hours=2), value))
    return tuple(found)


def window(days: float, seconds: float, parts: tuple[str, ...] = ("snapshots/", "index/", "data/")) -> Window:
    opened = ago(days=days)
    return Window(opened, opened + timedelta(seconds=seconds), seconds, parts, "maintenance", "the module", None)


def well(name: str, number: int = 1, jobs: tuple[Job, ...] = ()) -> Host:
    """A host of which everything is known, and well."""
    windows = tuple(window(days, 1.4 + (number + days) % 5 / 3) for days in (3, 10, 17, 24, 31))
    held = sizes(2e10 * (1 + number % 9), 0.004, number)
    events = tuple(
        Event(ago(hours=1.5 + 24 * day), "verify", True, "62 snapshots, newest 3 h old; locked", "cron of ops@node1")
        for day in range(12)
    )
    return Host(
        name, f"backup-{name}", jobs or (job("system", 2 + number % 7), job("postgresql", 3 + number % 5, 45)),
        heard=ago(hours=1.5), proved=ago(hours=1.5), proved_by="the host's own key", windows=windows,
        maintained=ago(days=3), unlocked=windows[0].seconds, read_from=ago(days=20 + number % 9),
        drill=Drill(ago(days=6 + number % 20), True, "system", 3.2e9, 41.0 + number % 13), bytes=held[-1][1], sizes=held,
        events=events,
    )  # fmt: skip


def fleet(*hosts: Host) -> Fleet:
    return Fleet(NOW, hosts, PRICE, limits=Limits())


def healthy() -> Fleet:
    return fleet(*(well(name, number) for number, name in enumerate(("db1", "mail1", "web1", "web2"))))


def victim(name: str, number: int, jobs: tuple[Job, ...] = ()) -> Host:
    """A host whose files are being encrypted."""
    snapshots = tuple(
        Snapshot(name, ago(hours=hours), "job system", 3.1e9)
        for name, hours in (("8c1d2f03", 6), ("51b7a90e", 30), ("a02e77c4", 54))
    )
    seen = "In the newest snapshot, 97 % of the files were replaced by content that looks encrypted, and 412 have new names."
    return replace(
        well(name, number, jobs),
        signals=(
            Signal("looks_encrypted", ago(hours=6), seen, "job system", "8c1d2f03", ago(hours=30), "51b7a90e"),
        ),
        holds=(Hold("looks encrypted", ago(days=-60), "all snapshots up to 51b7a90e", 61),),
        snapshots=snapshots,
        snapshots_seen=ago(hours=1.5),
    )  # fmt: skip


def attacked() -> Fleet:
    """A small fleet on the day of an attack; the picture of the README."""
    return fleet(
        victim("web1", 1, (job("system", 6),)),
        well("db1", 2, (job("system", 4), job("postgresql", 3, 45))),
        well("mail1", 3, (job("system", 5),)),
        well("web2", 4, (job("system", 7),)),
    )


def sick() -> Fleet:
    """One host for each thing that can be wrong, and two that are well."""
    attacked = victim("web1", 1)
    opened = Window(ago(hours=2), None, None, ("data/", "index/"), "by hand: broken index", "", ago(hours=1))
    noted = Problem(
        ATTENTION, "3 objects below data/ are no pack of any index.", "They harm nothing; look again later.", "orphans"
    )
    refused = Problem(DANGER, "keys/ holds a key that nobody of yours made.", "See docs/operations.md.", "foreign_key")
    return fleet(
        attacked,
        replace(well("db1", 2), open=(opened,)),
        replace(well("db2", 3), refuted=True),
        replace(well("mail1", 4), jobs=(job("system", 131), job("postgresql", 4))),
        Host("new1", "backup-new1", (Job("system", 26),)),
        replace(well("shop1", 5), heard=ago(days=9), proved=ago(days=9)),
        replace(well("files1", 6), drill=Drill(ago(days=2), False, "system", text="12 of 40 files differ.")),
        replace(well("files2", 7), findings=(refused,)),
        replace(well("git1", 8), findings=(noted,), maintained=ago(days=50)),
        Host("gone1", "backup-gone1", (Job("system", 26),), unreadable="The state of backup-gone1 cannot be read."),
        well("web2", 9),
        well("web3.example.com", 10),
    )


def hostile() -> Fleet:
    """Every text that a host or somebody else chose is an attack."""
    hosts = []
    for number, text in enumerate(HOSTILE):
        host = well(text, number, (replace(job("system"), name=text),))
        hosts.append(
            replace(
                host, repository=text, proved_by=text, findings=(Problem(DANGER, text, text, "x", text),),
                signals=(Signal(text, ago(hours=3), text, text, text, ago(hours=9), text),), holds=(Hold(text, None, text),),
                snapshots=(Snapshot(text, ago(hours=4), text, 7.0),), snapshots_seen=ago(hours=1),
                windows=(replace(window(2, 3.0), parts=(text,), reason=text, ended_by=text),),
                events=(Event(ago(hours=1), text, False, text, text),),
                drill=Drill(ago(days=1), False, text, text=text),
            )
        )  # fmt: skip
    return replace(fleet(*hosts), strangers=HOSTILE)


def large(count: int = 1000) -> Fleet:
    """A thousand hosts, of which some are not well."""
    hosts = [well(f"host{number:04}.example.com", number) for number in range(count)]
    hosts[17] = replace(hosts[17], heard=None, proved=None)
    hosts[233] = replace(hosts[233], jobs=(job("system", 80), job("postgresql", 2)))
    hosts[508] = replace(hosts[508], heard=ago(days=4), proved=ago(days=4))
    hosts[760] = replace(hosts[760], maintained=ago(days=45))
    return fleet(*hosts)
