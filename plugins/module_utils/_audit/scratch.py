# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a private local repository with the keys of one in R2, in which restic looks at single objects of that one.

So restic tells what an object holds without being told by the bucket's own index, and reads nothing else.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Optional

from .._common.errors import HoldfastError
from .._restic.cli import Repository, Restic
from .._restic.process import SOME_OBJECTS, memory_for
from .index_claims import LARGEST_TEXT, PackContents, claims

FOLDERS = ("data", "index", "keys", "locks", "snapshots")
_PREFIX = "holdfast-audit-"


@dataclass(frozen=True)
class LocalRepository(Repository):
    """A repository in a folder."""

    folder: str = ""

    @property
    def address(self) -> str:
        return self.folder


class Scratch:
    """The local repository, for use as a context; its folder is always removed.

    Args:
        restic: restic for the repository in R2.
        objects: The content of "config" and of what opens it below "keys/".
        parent: Where to make the folder; the usual place for temporary files when None.

    Raises:
        HoldfastError: The folder cannot be made or written.
    """

    def __init__(self, restic: Restic, objects: Mapping[str, bytes], parent: Optional[str] = None) -> None:
        try:
            self._temporary = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True)
        except OSError as error:
            raise HoldfastError(
                f"No temporary folder can be made in {parent or 'TMPDIR'}: {error.strerror}."
            ) from error
        self.folder = Path(self._temporary.name)
        for name in FOLDERS:
            (self.folder / name).mkdir()
        for name, content in objects.items():
            self.add(name, content)
        own = restic.repository
        known = {item.name: getattr(own, item.name) for item in fields(Repository)}
        self.restic = Restic(LocalRepository(**known, folder=str(self.folder)), path=restic.path)

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._temporary.cleanup()

    def path(self, name: str) -> Path:
        """Where an object is, by its key below the prefix; its folder is there afterwards."""
        found = self.folder / name
        found.parent.mkdir(exist_ok=True)
        return found

    def add(self, name: str, content: bytes) -> None:
        try:
            self.path(name).write_bytes(content)
        except OSError as error:
            raise self.full(error) from error

    def full(self, error: OSError) -> HoldfastError:
        return HoldfastError(
            f"The temporary folder {self.folder.parent} cannot be written ({error.strerror}); set scratch_dir to one with "
            "a gigabyte to spare."
        )

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    # What restic says of the objects that were added -----------------------------------------------------------------

    def index(
        self, name: str, most: int = LARGEST_TEXT, sizes: Optional[Mapping[str, int]] = None
    ) -> dict[str, PackContents]:
        """The claims of an index object.

        Args:
            name: Its name.
            most: How many bytes of text are read.
            sizes: As for claims().

        Raises:
            TooLargeError: It is larger than any index object of restic once it is decompressed.
            ResticError: It cannot be decrypted.
            ClaimsError: It is not as restic writes it.
        """
        command = ["cat", "index", name, "--no-lock", "--no-cache"]
        return claims(self.restic.succeed(command, memory=memory_for(most), most=most).stdout, sizes)

    def contents(self) -> dict[str, PackContents]:
        """The real contents of the packs; those that are not intact are left out.

        Raises:
            TooLargeError: One of them needs more memory than restic's own packs do.
        """
        self.restic.succeed(["repair", "index", "--no-cache"], memory=SOME_OBJECTS)
        names = os.listdir(self.folder / "index")
        found: dict[str, PackContents] = {}
        for name in names:
            found.update(self.index(name))
        broken = self._broken() if found else set()
        self.remove(f"index/{name}" for name in names)
        return {name: contents for name, contents in found.items() if name not in broken}

    def _broken(self) -> set[str]:
        command = ["check", "--read-data", "--json", "--no-lock", "--no-cache"]
        completed = self.restic.run(command, memory=SOME_OBJECTS)
        if completed.exit_code == 0:
            return set()
        lines = completed.stdout.splitlines()
        summary = self.restic.parse("check", lines[-1]) if lines else {}
        broken = summary.get("broken_packs") if isinstance(summary, dict) else None
        if not broken:
            # no answer about packs is no answer that they are whole
            raise self.restic.error("check", completed)
        return set(broken)
