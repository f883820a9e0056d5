# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares what a repository holds with its baseline, and reads new index objects and the packs that they name.

After it, every blob that any index object names is known to be where the index says, whole: then it does not matter which
of several copies prune keeps.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import ChainMap
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Optional

from .._common.parallel import in_parallel
from .._r2.s3 import S3
from .._restic.cli import Restic, ResticError, TooLargeError
from .._restic.process import SOME_OBJECTS
from . import contents_checks as audit
from .baseline import Baseline, Pack
from .checks import Finding
from .contents_checks import Claims, Listing
from .index_claims import ClaimsError, PackContents, longest_text, short_id
from .new_packs import Figures, contents, pack_key
from .scratch import Scratch

# How many new index objects are read. A backup writes one, and one more for 150,000 blobs.
MOST_NEW = 2000
# Text of so many bytes is read beside others.
_LONG_TEXT = 16 << 20


class Inspected(NamedTuple):
    """The findings, and the baseline with all verified objects."""

    findings: list[Finding]
    baseline: Baseline


@dataclass
class _Said:
    """The claims of index objects, each taken in as it is read; repeated claims are kept once. Safe for threads.

    Args:
        known: What the packs of the baseline hold.
    """

    known: Mapping[str, PackContents]
    together: dict[str, PackContents] = field(default_factory=dict)
    own: Claims = field(default_factory=dict)
    liars: set[str] = field(default_factory=set)
    errors: dict[str, str] = field(default_factory=dict)
    read: int = 0
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    @property
    def broken(self) -> int:
        return len(self.errors) + len(self.liars)

    def add(self, name: str, answer: dict[str, PackContents] | str, *, ours: bool) -> None:
        """Take in what one says, or why it cannot be read; only of those of maintenance is it kept which says what."""
        with self._mutex:
            self.read += 1
            if isinstance(answer, str):
                self.errors[name] = answer
                return
            fresh, liars = audit.merged({name: answer}, ChainMap(self.together, self.known))  # type: ignore[arg-type]
            self.together.update(fresh)
            self.liars |= liars
            if ours:
                self.own[name] = answer


@dataclass
class Contents:
    """The repository's side of the comparison.

    Args:
        restic: restic for the repository.
        s3: Its bucket.
        keys: The content of "config" and of the key that opens it, by their names below the prefix.
        scratch_dir: Where to put packs for a moment.
    """

    restic: Restic
    s3: S3
    keys: Mapping[str, bytes]
    scratch_dir: Optional[str] = None
    figures: Figures = field(default_factory=Figures)
    # What the index objects of maintenance itself claim that were read last.
    claimed: Claims = field(default_factory=dict)
    # Told how many bytes of new packs were read, of how many.
    told: Callable[[int, None, int], object] = lambda done, share, total: None
    _long: threading.Lock = field(default_factory=threading.Lock)

    @property
    def prefix(self) -> str:
        return self.restic.repository.prefix

    def inspect(
        self,
        listed: Listing,
        baseline: Baseline,
        *,
        own: Collection[str] = (),
        deletes: Collection[str] = (),
        trusted: bool = False,
    ) -> Inspected:
        """Compare, and read new objects.

        Args:
            listed: What is there. Index objects must have been listed before packs.
            baseline: What is known.
            own: The keys of what maintenance itself has added, and that is as it was written.
            deletes: The keys of what a maintenance was about to delete.
            trusted: All packs have been read just now, by other means.
        """
        found = audit.shrunk(listed, baseline, deletes)
        known = {name: pack.contents for name, pack in baseline.packs.items()}
        with ExitStack() as stack:
            new = listed.indexes - baseline.indexes
            if len(new) > MOST_NEW and not trusted:
                return Inspected([*found, *audit.too_many("index", new, MOST_NEW)], baseline)
            scratch = stack.enter_context(Scratch(self.restic, self.keys, self.scratch_dir)) if new else None
            said = _Said(known)
            if scratch:
                self._claims(scratch, new, listed, own, said)
            self.claimed, fresh = said.own, said.together
            found += [*audit.unreadable(said.errors), *audit.unread(len(new) - said.read)]
            found += [*audit.contradicting(said.liars), *audit.missing(fresh, listed)]
            if not said.errors:
                # What an unreadable index names is not known, and what only it names would be taken for a leftover.
                ours = {name for name in listed.packs if pack_key(name) in own}
                found += audit.unreferenced(known.keys() | fresh.keys() | ours, listed)
            if not trusted:
                strange = {name: contents for name, contents in fresh.items() if pack_key(name) not in own}
                found += self._new_packs(scratch, listed, baseline, strange)
        packs = {name: Pack(*listed.packs[name], contents) for name, contents in fresh.items() if name in listed.packs}
        verified = replace(baseline, snapshots=listed.snapshots, indexes=frozenset(listed.indexes))
        kept = {name: pack for name, pack in baseline.packs.items() if name in listed.packs}
        return Inspected(found, replace(verified, packs={**kept, **packs}))

    def _new_packs(
        self, scratch: Optional[Scratch], listed: Listing, baseline: Baseline, fresh: Mapping[str, PackContents]
    ) -> list[Finding]:
        again = audit.known_again(fresh, baseline)
        there = {name: listed.packs[name] for name in fresh if name in listed.packs}
        begun, total = self.figures.bytes, sum(pack.size for pack in there.values())
        self.figures.more = lambda: self.told(self.figures.bytes - begun, None, total)
        real = contents(self.s3, self.prefix, scratch, there, self.figures) if scratch and there else {}
        large = audit.too_large("data", self.figures.too_large, SOME_OBJECTS)
        claimed = {name: fresh[name] for name in there if name not in self.figures.too_large}
        bogus = [*large, *audit.bogus(claimed, real)]
        return [*bogus, *audit.claims_known(again, read=not bogus)]

    def _claims(self, scratch: Scratch, names: set[str], listed: Listing, own: Collection[str], said: _Said) -> None:
        """Read what these index objects claim; after too many of them that are not as they should be, no more are."""
        sizes = {name: pack.size for name, pack in listed.packs.items()}

        def look(name: str) -> None:
            if said.broken < audit.MOST_BROKEN:
                said.add(name, self._read_index(scratch, name, sizes), ours=f"index/{name}" in own)

        in_parallel(look, sorted(names))

    def _read_index(self, scratch: Scratch, name: str, sizes: Mapping[str, int]) -> dict[str, PackContents] | str:
        """The claims of an index object, or the reason why it cannot be read."""
        content = self.s3.get(f"{self.prefix}index/{name}")
        self.figures.indexes += 1
        self.figures.bytes += len(content)
        if hashlib.sha256(content).hexdigest() != name:
            return f"its {len(content)} bytes are not what its name says"
        most = longest_text(len(content))
        scratch.add(f"index/{name}", content)
        try:
            # Long ones one after the other, for each takes some hundred MiB while it is read.
            with self._long if most > _LONG_TEXT else nullcontext():
                return scratch.index(name, most, sizes)
        except (ClaimsError, TooLargeError) as error:
            return str(error).rstrip(".")
        except ResticError as error:
            if error.exit_code is None:
                raise
            return "it was not encrypted with the key of this repository"
        finally:
            scratch.remove([f"index/{name}"])


def has_blob(baseline: Baseline, ids: set[str]) -> set[str]:
    """Which of these blobs are in some pack."""
    short = {short_id(name): name for name in ids if re.fullmatch(r"[0-9a-f]{64}", name)}
    found: set[str] = set()
    for pack in baseline.packs.values():
        found.update(short[blob] for blob in pack.contents.short_ids() if blob in short)
    return found
