# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects that are nothing, where restic looks for something; needs no password. And so many that it costs."""

from __future__ import annotations

import os
from functools import partial

from tests.attacks.attack import Attack
from tests.attacks.host import Host

MISPLACED = frozenset({"misplaced_object"})
# Where it is put, and what names it. restic lists packs by the first two digits of their names.
PLACES = {
    "data": ("data/00/", "unreferenced_packs"),
    "index": ("index/", "index_unreadable"),
    "keys": ("keys/", "foreign_key"),
    "snapshots": ("snapshots/", "snapshots_unreadable"),
    "locks": ("locks/", "repository_locked"),
    "config": ("config", "unexpected_object"),
}


# No lock of restic's is empty, so that such an object holds up nothing.
EMPTY = {"locks": "unexpected_object"}


def garbage(folder: str, content: bytes, host: Host) -> None:
    # Before every genuine name, so that it is read first.
    host.put(f"{folder}{'00' * 4}{os.urandom(28).hex()}", content)


def shout(host: Host) -> None:
    """restic reads names in capitals, too, and takes this for the genuine pack with another size."""
    key = min(host.sizes("data/"))
    host.put("data/" + key.removeprefix("data/").upper(), os.urandom(100))


def below(host: Host) -> None:
    """restic goes by the last part of a name when it lists, but not when it reads."""
    host.put(f"index/{os.urandom(32).hex()}/{os.urandom(32).hex()}", os.urandom(100))


def fill(host: Host) -> None:
    """Random packs that no index lists, and objects beside the repository."""
    host.put_many("data", (os.urandom(20_000) for _each in range(100)))
    for number in range(20):
        host.put(f"junk/{number}", os.urandom(20_000))


ATTACKS = [
    *(
        Attack(
            f"{kind} in {part}",
            frozenset({named if content else EMPTY.get(part, named)}),
            partial(garbage, folder, content),
        )
        for part, (folder, named) in PLACES.items()
        for kind, content in (("garbage", os.urandom(300)), ("an empty object", b""))
    ),
    Attack("names: a pack in capitals", MISPLACED, shout),
    Attack("names: below an index", MISPLACED, below),
    Attack("the bucket is filled", frozenset({"unreferenced_packs", "unexpected_object"}), fill),
]
