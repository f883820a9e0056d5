# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the objects of a repository with its baseline. Pure: listings in, findings out.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from .._r2.s3 import S3Object
from .baseline import Baseline
from .checks import BLOCK, WARN, Finding, below
from .index_claims import PackContents
from .new_packs import PackFile, pack_key

Claims = dict[str, dict[str, PackContents]]

_PACK = re.compile(r"data/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_OTHER = re.compile(r"(keys|index|snapshots)/([0-9a-f]{64})")
# restic takes the last part of a key for the name of the object, in any folder and case (0.19: backend/s3, List).
_NAME = re.compile(r"[0-9A-Fa-f]{64}")
# What else may be in the bucket: restic's locks, and the mutex of a shared bucket.
_KNOWN = {"config", "data/", "index/", "keys/", "snapshots/", "locks/", "holdfast/"}
# The largest object of each kind that is read, in bytes. restic ends an index object after 150,000 blobs, which are some 28 MB
# as text where nothing is compressed (internal/repository/index/index.go); a snapshot holds paths, tags and a summary.
LARGEST = {"config": 64 << 10, "keys/": 64 << 10, "index/": 32 << 20, "snapshots/": 256 << 10}
# After so many objects of a kind that are not as restic writes them, no more are read: each may take a third of a second.
MOST_BROKEN = 300
_REBUILD = "make a new baseline with restic_audit and baseline=rebuild"
_MANUAL = "remove it in a manual window"


@dataclass
class Listing:
    """The objects of a repository by kind.

    Args:
        snapshots: When each was stored, in seconds since 1970, by id.
        indexes: The ids of the index objects.
        packs: The packs by id.
        misplaced: Keys that restic would take for those of other objects.
        unexpected: Keys that restic ignores.
    """

    snapshots: dict[str, int] = field(default_factory=dict)
    indexes: set[str] = field(default_factory=set)
    packs: dict[str, PackFile] = field(default_factory=dict)
    misplaced: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """The size of all packs."""
        return sum(pack.size for pack in self.packs.values())


def listing(objects: Iterable[S3Object], prefix: str) -> Listing:
    """Sort the objects of the lock set by kind."""
    found = Listing()
    for item in objects:
        key, stored = item.key[len(prefix) :], int(item.last_modified.timestamp())
        pack, other = _PACK.fullmatch(key), _OTHER.fullmatch(key)
        if pack:
            found.packs[pack[2]] = PackFile(item.size, stored)
        elif other and other[1] == "snapshots":
            found.snapshots[other[2]] = stored
        elif other and other[1] == "index":
            found.indexes.add(other[2])
        elif not other and key != "config":
            restics = any(_NAME.fullmatch(part) for part in key.split("/"))
            (found.misplaced if restics else found.unexpected).append(key)
    return found


def _packs(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(pack_key(name) for name in sorted(names))


def some(names: Collection[str], what: str) -> str:
    """How many of something, and the first of them."""
    first = min(names)
    short = first[:12] if _NAME.fullmatch(first) else repr(first[:100])
    return f"{len(names)} {what}, the first is {short}"


def strangers(listed: Listing, top: Iterable[str]) -> list[Finding]:
    """Objects that are not where, or not named as, restic writes them.

    Args:
        listed: What is in the folders of the repository.
        top: The names of what is directly below its prefix.
    """
    found = []
    if listed.misplaced:
        evidence = f"The bucket holds {some(listed.misplaced, 'objects that restic takes for others')}."
        found.append(
            Finding(
                "misplaced_object", BLOCK, evidence, f"Find out who wrote it, and {_MANUAL}.", tuple(listed.misplaced)
            )
        )
    unexpected = [*listed.unexpected, *(name for name in top if name not in _KNOWN and not name.startswith("config"))]
    if unexpected:
        evidence = f"The bucket holds {some(unexpected, 'objects or folders that restic does not write')}."
        found.append(
            Finding(
                "unexpected_object",
                WARN,
                evidence,
                "Find out who wrote it; it costs, and does no harm. The step holdfast_recover=remove of recover removes it.",
                tuple(unexpected),
            )
        )
    return found


def uploads(keys: Collection[str]) -> list[Finding]:
    """restic's objects are too small for a multipart upload: another program has begun one."""
    if not keys:
        return []
    evidence = f"There are {some(keys, 'unfinished multipart uploads onto objects, which restic never makes')}."
    what = "Look at the host: a program there may have tried to replace objects. R2 removes the parts after some days."
    return [Finding("unfinished_uploads", WARN, evidence, what, tuple(sorted(keys)))]


def shrunk(listed: Listing, baseline: Baseline, deletes: Collection[str] = ()) -> list[Finding]:
    """The objects of the baseline must still be there, unchanged.

    Args:
        listed: What is there.
        baseline: What was there.
        deletes: The keys of what an interrupted maintenance of ours was about to delete.
    """
    snapshots = _gone("snapshots/", baseline.snapshots.keys() - listed.snapshots.keys(), deletes)
    changed = {name for name, time in baseline.snapshots.items() if listed.snapshots.get(name, time) != time}
    indexes = _gone("index/", baseline.indexes - listed.indexes, deletes)
    packs = {name for name in baseline.packs.keys() - listed.packs.keys() if pack_key(name) not in deletes}
    replaced = {
        name
        for name, pack in baseline.packs.items()
        if name in listed.packs and listed.packs[name] != (pack.size, pack.stored)
    }
    kinds = (
        ("snapshots_gone", snapshots, "snapshots of the baseline are gone"),
        ("snapshot_replaced", changed, "snapshots of the baseline were stored again"),
        ("index_gone", indexes, "index objects of the baseline are gone"),
        ("packs_gone", packs, "packs of the baseline are gone"),
        ("pack_replaced", replaced, "packs of the baseline were stored again"),
    )
    what = f"If you did that yourself, {_REBUILD}; else an attacker deleted in a window: stop using the host's S3 keys."
    return [Finding(code, BLOCK, f"{some(names, text)}.", what) for code, names, text in kinds if names]


def _gone(folder: str, names: Iterable[str], deletes: Collection[str]) -> set[str]:
    return {name for name in names if folder + name not in deletes}


def oversized(objects: Iterable[S3Object], prefix: str) -> list[Finding]:
    """Objects that are larger than any of their kind that restic writes; reading them could exhaust the node."""
    found = []
    for kind, limit in LARGEST.items():
        large = [item for item in objects if item.key.startswith(prefix + kind) and item.size > limit]
        if large:
            keys = tuple(item.key[len(prefix) :] for item in large)
            evidence = f"{len(large)} objects are larger than restic's are, the first is {keys[0][:80]!r}"
            text = f"{evidence} with {large[0].size} bytes; at most {limit} are read."
            found.append(Finding("oversized_object", BLOCK, text, f"Find out who wrote it, and {_MANUAL}.", keys))
    return found


def too_large(kind: str, names: Collection[str], limit: int) -> list[Finding]:
    """Objects that become larger than any of their kind when they are decompressed."""
    if not names:
        return []
    evidence = f"{some(names, f'objects in {kind}/ were not read to their end')}: reading it takes more than {limit >> 10} KiB."
    if len(names) >= MOST_BROKEN:
        evidence += " There may be more: others were not looked at after these."
    keys = _packs(names) if kind == "data" else below(kind, names)
    what = f"Treat the host as compromised; find out who wrote it, and {_MANUAL}."
    return [Finding("oversized_object", BLOCK, evidence, what, keys)]


def too_many(kind: str, names: Collection[str], limit: int) -> list[Finding]:
    """More new objects than a host makes between two looks; they are not read."""
    evidence = f"There are {some(names, f'new objects in {kind}/')}; at most {limit} are read."
    what = f"Look at the host: it may be filling the bucket. If all is well, {_REBUILD}."
    return [Finding("too_many_objects", BLOCK, evidence, what)]


def unread(count: int) -> list[Finding]:
    """Index objects that were not looked at, because so many others could not be read."""
    if not count:
        return []
    evidence = f"{count} more index objects were not looked at, because {MOST_BROKEN} others cannot be read."
    what = "Treat the host as compromised; remove the objects that index_unreadable names, then look again."
    return [Finding("too_many_objects", BLOCK, evidence, what)]


def unreadable(errors: Mapping[str, str]) -> list[Finding]:
    """Index objects that cannot be read, with the reasons."""
    if not errors:
        return []
    first = min(errors)
    evidence = f"{len(errors)} index objects cannot be read, the first is index/{first}: {errors[first]}."
    return [
        Finding("index_unreadable", BLOCK, evidence, f"Find out who wrote it, and {_MANUAL}.", below("index", errors))
    ]


def merged(claimed: Claims, known: Mapping[str, PackContents]) -> tuple[dict[str, PackContents], set[str]]:
    """The claims of index objects about packs that are not known, and those that contradict what is known.

    Args:
        claimed: What index objects that are not in the baseline claim, by their ids.
        known: What is known of packs.
    """
    together: dict[str, PackContents] = {}
    liars = set()
    for index, packs in claimed.items():
        for pack, contents in packs.items():
            other = known.get(pack) or together.setdefault(pack, contents)
            # Of a pack that is not there, nothing is kept that could be compared.
            if contents.digest and other.digest != contents.digest:
                liars.add(index)
    return together, liars


def contradicting(liars: Collection[str]) -> list[Finding]:
    """Index objects that do not agree with others, or with the packs of the baseline."""
    if not liars:
        return []
    evidence = f"{some(liars, 'index objects contradict the known contents of a pack')}."
    what = f"Treat the host as compromised, and {_MANUAL}."
    return [Finding("index_contradicts", BLOCK, evidence, what, below("index", liars))]


def missing(claimed: Iterable[str], listed: Listing) -> list[Finding]:
    """Packs that an index claims and that are not there."""
    gone = set(claimed) - listed.packs.keys()
    if not gone:
        return []
    evidence = f"Index objects name {some(gone, 'packs that are not there')}."
    return [
        Finding("pack_missing", BLOCK, evidence, "Run restic check, and find out whether a backup was cut or forged.")
    ]


def unreferenced(claimed: Collection[str], listed: Listing) -> list[Finding]:
    """Packs that no index names: of a backup that was cut or is running, or of a host that fills the bucket."""
    names = listed.packs.keys() - set(claimed)
    if not names:
        return []
    size = sum(listed.packs[name].size for name in names) / (1 << 20)
    evidence = f"There are {some(names, f'packs, {size:.1f} MiB, that no index names')}."
    return [
        Finding("unreferenced_packs", WARN, evidence, "Nothing, if a backup was cut or runs; maintenance removes them.")
    ]


def known_again(new: Mapping[str, PackContents], baseline: Baseline) -> int:
    """How many blobs new packs are said to hold that other packs have, too."""
    total, seen = 0, set()
    for contents in new.values():
        for blob in contents.short_ids():
            total += 1
            seen.add(blob)
    again = total - len(seen)
    for pack in baseline.packs.values():
        again += sum(blob in seen for blob in pack.contents.short_ids())
    return again


def claims_known(count: int, read: bool) -> list[Finding]:
    """Blobs that were there, and that a new pack is said to hold as well."""
    if not count:
        return []
    evidence = f"New index objects claim {count} blobs that are there already, in other packs."
    what = "Nothing, if a prune was interrupted or two backups ran at once; else look at the host."
    if read:
        return [
            Finding("index_claims_known_blobs", WARN, f"{evidence} The new packs were read and do hold them.", what)
        ]
    return [Finding("index_claims_known_blobs", BLOCK, evidence, "Look at the host.")]


def bogus(claimed: Mapping[str, PackContents], real: Mapping[str, PackContents]) -> list[Finding]:
    """Packs that were read and are not what index objects say."""
    false = {name for name, contents in claimed.items() if name not in real or real[name].digest != contents.digest}
    if not false:
        return []
    evidence = f"{some(false, 'new packs were read and are not what the index says')}."
    what = f"Treat the host as compromised; see the recovery guide, and {_MANUAL}."
    return [Finding("bogus_pack", BLOCK, evidence, what, _packs(false))]


def rootless(trees: Mapping[str, str], there: Collection[str]) -> list[Finding]:
    """Snapshots whose data is in no index.

    Args:
        trees: The root of each new snapshot, by the snapshot's id.
        there: Those roots that some index names.
    """
    broken = [name for name, tree in trees.items() if tree not in there]
    if not broken:
        return []
    evidence = f"{some(broken, 'snapshots have no data in the repository')}."
    return [
        Finding(
            "missing_tree",
            BLOCK,
            evidence,
            "Find out who made it, and forget it in a manual window.",
            below("snapshots", broken),
        )
    ]


def no_baseline(size: int, limit: int) -> list[Finding]:
    """There is none, and to read everything unasked would take too long."""
    evidence = f"There is no baseline, and {size / (1 << 30):.1f} GiB are too much to read unasked ({limit >> 30} GiB)."
    what = f"Once, {_REBUILD}, which reads everything; or restore the record's folder from a copy."
    return [Finding("baseline_missing", BLOCK, evidence, what[0].upper() + what[1:])]


def damaged_baseline(problem: str) -> list[Finding]:
    """There is one that cannot be used."""
    what = f"Restore it from a copy, or {_REBUILD}, which reads everything."
    return [Finding("baseline_damaged", BLOCK, problem, what)]
