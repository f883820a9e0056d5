# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds what is in a repository more than once, as its index tells.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable

from .._restic.cli import Completed, Restic, ResticError, stop
from .index_claims import short_id


def duplicates(restic: Restic) -> int:
    """How many blobs the index names more than once."""
    process = restic.start(["list", "blobs", "--no-lock", "-q"])
    try:
        count = repeated(line.split()[-1] for line in process.stdout or ())
        errors = process.communicate()[1]
    except (ValueError, IndexError) as error:
        raise ResticError(f"restic list blobs on {restic.repository.name} was not understood.") from error
    finally:
        stop(process)
    if process.returncode:
        raise restic.error("list blobs", Completed(process.returncode, "", errors))
    return count


def repeated(names: Iterable[str]) -> int:
    """How many of these ids came before; there may be millions, so that only a part of each is kept."""
    total, seen = 0, set()
    for name in names:
        total += 1
        seen.add(short_id(name))
    return total - len(seen)
