# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An index that claims copies of what is there, so that a prune deletes the genuine ones as superfluous."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from typing import Any

from tests.attacks.attack import Attack
from tests.attacks.host import Host
from tests.support.repository_format import OVERHEAD, header_size, name_of, pack_size

Blobs = list[dict[str, Any]]
NAMED = frozenset({"index_claims_known_blobs", "bogus_pack"})
# The smallest blob: one byte of text.
SMALLEST = OVERHEAD + 1


def claim(host: Host, packs: Iterable[tuple[bytes, Blobs]]) -> None:
    """Upload these packs, and an index that says they hold these blobs."""
    claimed = []
    for content, blobs in packs:
        claimed.append({"id": name_of(content), "blobs": blobs})
        host.put_named("data", content)
    host.put_named("index", host.master.seal_json({"packs": claimed}))


def twins(copies: int, host: Host) -> None:
    """For each genuine pack, packs of the same size with random bytes."""
    genuine = host.packs().values()
    for _copy in range(copies):
        claim(host, [(os.urandom(pack_size(blobs)), blobs) for blobs in genuine])


def one_big(host: Host) -> None:
    """One pack that claims to hold all files, and one for all folders: restic keeps them apart."""
    packs = []
    for kind in ("data", "tree"):
        offset, blobs = 0, []
        for blob in (blob for found in host.packs().values() for blob in found if blob["type"] == kind):
            blobs.append({**blob, "offset": offset})
            offset += int(blob["length"])
        packs.append((os.urandom(offset + header_size(blobs)), blobs))
    claim(host, packs)


def tiny(host: Host) -> None:
    """For each genuine pack a very small one."""
    packs = []
    for genuine in host.packs().values():
        blobs = [
            {"id": blob["id"], "type": blob["type"], "offset": number * SMALLEST, "length": SMALLEST}
            for number, blob in enumerate(genuine)
        ]
        packs.append((os.urandom(pack_size(blobs)), blobs))
    claim(host, packs)


def newest_only(host: Host) -> None:
    """Twins of the packs that no snapshot has left behind: what is needed as a whole is never read by prune."""
    packs = host.packs()
    whole = sorted(packs.values(), key=len)[: len(packs) - 2]
    claim(host, [(os.urandom(pack_size(blobs)), blobs) for blobs in whole])


def crossed(host: Host) -> None:
    """No new packs: the genuine ones are claimed to hold what others of their kind and size do."""
    packs = sorted(host.packs().items(), key=lambda item: (item[1][0]["type"], item[0]))
    names, contents = [name for name, _blobs in packs], [blobs for _name, blobs in packs]
    shifted = contents[1:] + contents[:1]
    claimed = [{"id": name, "blobs": blobs} for name, blobs in zip(names, shifted)]
    host.put_named("index", host.master.seal_json({"packs": claimed}))


ATTACKS = [
    Attack("index: a twin of each pack", NAMED, partial(twins, 1)),
    Attack("index: four twins of each pack", NAMED, partial(twins, 4)),
    Attack("index: twins of the newest packs, keep last", NAMED, newest_only, policy="last"),
    Attack("index: one big pack", NAMED, one_big),
    Attack("index: tiny packs", NAMED, tiny),
    # Where one of them is too small for what it is said to hold, the object is not read to its end.
    Attack("index: other blobs in genuine packs", frozenset({"index_contradicts", "index_unreadable"}), crossed),
]
