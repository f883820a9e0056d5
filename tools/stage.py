# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copy the project's files to FOLDER/ansible_collections/holdfast/restic_r2.

ansible-test wants the collection in a folder of that name and resolves links, so a link to the checkout does not do.
The project's files are what git knows plus what it would take in: caches and results stay out.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def project_files() -> list[Path]:
    """The files of the project, relative to its root; deleted ones that git still lists are left out."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    names = sorted({Path(name) for name in os.fsdecode(listing).split("\0") if name})
    return [name for name in names if os.path.lexists(ROOT / name)]


def stage(folder: Path) -> Path:
    """Bring the copy below `folder` up to date and return it; what is unchanged keeps its time stamp."""
    target = folder / "ansible_collections" / "holdfast" / "restic_r2"
    wanted = project_files()
    for name in wanted:
        source, copy = ROOT / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink() or not copy.exists() or source.stat().st_mtime_ns != copy.stat().st_mtime_ns:
            copy.unlink(missing_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
    keep = {target / name for name in wanted}
    # What the checks wrote there goes too, except ansible-test's own results.
    spared = {target / ".git", target / "tests" / "output"}
    for path in sorted(target.rglob("*"), reverse=True):
        if path in keep or not spared.isdisjoint((path, *path.parents)):
            continue
        if not path.is_dir() or path.is_symlink():
            path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()
    if not (target / ".git").exists():
        # Else ansible-test asks the checkout's git, which ignores this folder: it would test nothing, and pass.
        subprocess.run(["git", "init", "--quiet", str(target)], check=True)
    return target


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Several parts of a run want it at the same time.
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        print(stage(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
