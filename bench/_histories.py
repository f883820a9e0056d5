# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that look real, and what is done to them; each history stops where a backup is made."""

from __future__ import annotations

import gzip
import random
import sysconfig
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

Steps = Iterator[None]


@cache
def sources() -> list[bytes]:
    """Text of real compressibility: Python's own library."""
    library = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in library.rglob("*.py") if "site-packages" not in path.parts)
    found = [path.read_bytes() for path in paths if 2_000 < path.stat().st_size < 80_000]
    assert len(found) > 200, f"There are few sources in {library}."
    return found


class Tree:
    """The files of one job."""

    def __init__(self, root: Path, seed: str) -> None:
        self.root = root
        self.random = random.Random(seed)
        root.mkdir(parents=True)

    def write(self, name: str, content: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def files(self, below: str = "") -> list[Path]:
        return sorted(path for path in (self.root / below).rglob("*") if path.is_file())

    def some(self, share: float, below: str = "") -> list[Path]:
        files = self.files(below)
        return self.random.sample(files, max(1, round(share * len(files))))

    def text(self, size: int = 0) -> bytes:
        """A file of text; with a size, that much of several."""
        found = self.random.choice(sources())
        while len(found) < size:
            found += self.random.choice(sources())
        # No two files are the same.
        return b"# %d\n" % self.random.getrandbits(64) + (found[:size] if size else found)

    def dense(self, size: int) -> bytes:
        """What cannot be compressed."""
        return self.random.randbytes(size)

    def documents(self, count: int = 200, folders: int = 20, below: str = "docs") -> None:
        for number in range(count):
            self.write(f"{below}/{number % folders:02}/file{number:03}.txt", self.text())

    def photos(self, count: int, below: str = "photos") -> None:
        start = len(self.files(below)) if (self.root / below).exists() else 0
        for number in range(start, start + count):
            self.write(f"{below}/{number % 5}/img{number:04}.jpg", self.dense(40_000))

    def edit(self, share: float, below: str = "docs") -> None:
        for path in self.some(share, below):
            path.write_bytes(path.read_bytes() + self.text(400))

    def rewrite(self, share: float, below: str = "docs") -> None:
        for path in self.some(share, below):
            path.write_bytes(self.text())

    def encrypt(self, path: Path, ending: str = "", *, name: str = "") -> None:
        content = self.dense(path.stat().st_size)
        path.unlink()
        path.with_name(name or path.name + ending).write_bytes(content)


def documents(tree: Tree) -> None:
    """Mostly text, and some photos."""
    tree.documents()
    tree.photos(20)


# Honest histories ----------------------------------------------------------------------------------------------------


def edits(tree: Tree) -> Steps:
    documents(tree)
    for _day in range(6):
        yield
        tree.edit(0.03)


def upgrade(tree: Tree) -> Steps:
    documents(tree)
    yield
    tree.rewrite(0.3)
    for path in tree.some(0.05, "docs"):
        path.unlink()
    tree.documents(30, 5, "docs/new")


def photo_import(tree: Tree) -> Steps:
    documents(tree)
    yield
    tree.photos(60)


def photo_edits(tree: Tree) -> Steps:
    documents(tree)
    tree.photos(100)
    yield
    for path in tree.some(0.6, "photos"):
        tree.encrypt(path)


def upgrade_and_photos(tree: Tree) -> Steps:
    documents(tree)
    yield
    tree.rewrite(0.3)
    tree.photos(100)


def cleaned_up(tree: Tree) -> Steps:
    documents(tree)
    yield
    for path in tree.some(0.6, "docs"):
        path.unlink()
    tree.photos(60)


def moved_and_renamed(tree: Tree) -> Steps:
    documents(tree)
    yield
    for path in tree.some(0.5, "docs"):
        path.rename(path.with_name(f"{path.name}.2025"))
    (tree.root / "docs/00").rename(tree.root / "archive")


def _log_names(numbers: range) -> list[str]:
    return [f"log/service{number}.log" for number in numbers]


def logs_rotated(tree: Tree) -> Steps:
    """As logrotate does with delaycompress: yesterday's is text, those before are compressed."""
    names = _log_names(range(30))
    for day in range(9):
        for name in names:
            for number in range(min(day, 6), 0, -1):
                old = tree.root / (f"{name}.{number}" + (".gz" if number > 1 else ""))
                if old.exists() and number == 1:
                    tree.write(f"{name}.2.gz", gzip.compress(old.read_bytes(), mtime=0))
                    old.unlink()
                elif old.exists():
                    old.rename(tree.root / f"{name}.{number + 1}.gz")
            if (tree.root / name).exists():
                (tree.root / name).rename(tree.root / f"{name}.1")
            tree.write(name, tree.text(15_000))
        yield


def logs_with_dates(tree: Tree) -> Steps:
    """As logrotate does with dateext: what was the current log is compressed at once."""
    for day in range(8):
        for name in _log_names(range(30)):
            if (tree.root / name).exists():
                tree.write(f"{name}-2026110{day}.gz", gzip.compress((tree.root / name).read_bytes(), mtime=0))
                old = tree.root / f"{name}-2026110{day - 5}.gz"
                old.unlink(missing_ok=True)
            tree.write(name, tree.text(15_000))
        yield


def _dump(tree: Tree, rows: list[bytes]) -> bytes:
    for _change in range(len(rows) // 10):
        rows[tree.random.randrange(len(rows))] = tree.text(200)
    return b"\n".join(rows)


def dumps(tree: Tree) -> Steps:
    """Databases dumped as text each night, some kept."""
    tables = [[tree.text(200) for _row in range(2_000)] for _table in range(3)]
    for day in range(7):
        for number, rows in enumerate(tables):
            tree.write(f"dump/db{number}-{day}.sql", _dump(tree, rows))
            (tree.root / f"dump/db{number}-{day - 3}.sql").unlink(missing_ok=True)
        yield


def compressed_dumps(tree: Tree) -> Steps:
    rows = [tree.text(200) for _row in range(3_000)]
    for day in range(7):
        for number in range(3):
            tree.write(f"dump/db{number}.sql.gz", gzip.compress(_dump(tree, rows), mtime=day))
        yield


def _disk(tree: Tree, blocks: int) -> bytearray:
    """Programs, text, and what was deleted long ago."""
    return bytearray(b"".join(tree.text(4096)[:4096] if number % 4 else bytes(4096) for number in range(blocks)))


def disks_of_machines(tree: Tree) -> Steps:
    """Blocks change each day; on one of them a guest stores photos where deleted files were."""
    disks = [_disk(tree, 1_000) for _disk_number in range(3)]
    for day in range(5):
        for number, disk in enumerate(disks):
            for _block in range(30):
                place = tree.random.randrange(1_000) * 4096
                disk[place : place + 4096] = tree.text(4096)[:4096]
            if day == 3:
                disk[1_000_000:1_400_000] = tree.dense(400_000)
            tree.write(f"images/vm{number}.raw", bytes(disk))
        yield


def git_repository(tree: Tree) -> Steps:
    """Commits, and then git packs its objects."""
    tree.documents(60, 6, "project")
    objects: list[Path] = []
    for _day in range(4):
        tree.edit(0.15, "project")
        for _object in range(80):
            name = f"{tree.random.getrandbits(160):040x}"
            tree.write(f"project/.git/objects/{name[:2]}/{name[2:]}", zlib.compress(tree.text(3_000)))
            objects.append(tree.root / f"project/.git/objects/{name[:2]}/{name[2:]}")
        yield
    pack = b"".join(path.read_bytes() for path in objects)
    for path in objects:
        path.unlink()
    tree.write("project/.git/objects/pack/pack-1.pack", pack[: len(pack) // 2])
    yield


def mail_folders(tree: Tree) -> Steps:
    """Mail comes into `new`, is read in `cur`, gets flags, and some is deleted."""
    number = 0
    for _day in range(6):
        cur = tree.files("mail/cur") if (tree.root / "mail/cur").exists() else []
        for path in tree.random.sample(cur, len(cur) // 3):
            path.rename(path.with_name(path.name + "S"))
        for path in tree.files("mail/cur")[::5] if cur else []:
            path.unlink()
        for path in tree.files("mail/new") if (tree.root / "mail/new").exists() else []:
            (tree.root / "mail/cur").mkdir(exist_ok=True)
            path.rename(tree.root / f"mail/cur/{path.name}:2,")
        for _mail in range(60):
            number += 1
            body = tree.dense(20_000) if number % 6 == 0 else tree.text(3_000)
            tree.write(f"mail/new/{number:06}.host", body)
        yield


def programs_built(tree: Tree) -> Steps:
    """Sources change a little, and all that is made of them is made anew."""
    tree.documents(100, 10, "src")
    for _day in range(4):
        tree.edit(0.05, "src")
        for path in tree.files("src"):
            tree.write(f"build/{path.stem}.o", path.read_bytes()[::-1] + tree.text(1_000))
        yield


def files_of_databases(tree: Tree) -> Steps:
    """Pages change in each; into one, photos are stored."""
    pages = {f"db/table{number}.ibd": _disk(tree, 150) for number in range(10)}
    for _day in range(4):
        for name, content in pages.items():
            place = tree.random.randrange(100) * 4096
            content[place : place + 8192] = tree.text(8192)[:8192]
            if name.endswith("9.ibd"):
                content.extend(tree.dense(300_000))
            tree.write(name, bytes(content))
        yield


def package_cache(tree: Tree) -> Steps:
    """Compressed archives make room for newer ones."""
    tree.documents(40, 4)
    for day in range(4):
        for number in range(40):
            (tree.root / f"cache/package{number}_{day - 1}.deb").unlink(missing_ok=True)
            tree.write(f"cache/package{number}_{day}.deb", tree.dense(30_000))
        yield


def few_compressed_by_hand(tree: Tree) -> Steps:
    documents(tree)
    yield
    for path in tree.files("docs/07"):
        tree.write(f"{path.relative_to(tree.root)}.gz", gzip.compress(path.read_bytes()))
        path.unlink()


HONEST: tuple[Callable[[Tree], Steps], ...] = (
    edits, upgrade, photo_import, photo_edits, upgrade_and_photos, cleaned_up, moved_and_renamed, logs_rotated,
    logs_with_dates, dumps, compressed_dumps, disks_of_machines, git_repository, mail_folders, programs_built,
    files_of_databases, package_cache, few_compressed_by_hand,
)  # fmt: skip
