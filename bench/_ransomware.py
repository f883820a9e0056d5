# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ransomware does to files; each stops where a backup is made. The first backup is of what was there before."""

from __future__ import annotations

from collections.abc import Callable

from bench._histories import Steps, Tree, _disk, documents

NOTE = b"Your files are encrypted. Send one coin to the address below, and the key is sent to you.\n"


def in_place(tree: Tree) -> Steps:
    documents(tree)
    yield
    for path in tree.some(0.9):
        tree.encrypt(path)


def renamed_with_notes(tree: Tree) -> Steps:
    documents(tree)
    yield
    for path in tree.files():
        tree.encrypt(path, ".locked")
    for folder in {path.parent for path in tree.files()}:
        (folder / "HOW_TO_GET_THEM_BACK.txt").write_bytes(NOTE)


def under_random_names(tree: Tree) -> Steps:
    documents(tree)
    yield
    for path in tree.files():
        tree.encrypt(path, name=f"{tree.random.getrandbits(64):x}")


def a_fifth(tree: Tree) -> Steps:
    documents(tree)
    yield
    for path in tree.some(0.2, "docs"):
        tree.encrypt(path)


def a_fifteenth(tree: Tree) -> Steps:
    documents(tree)
    yield
    for path in tree.some(0.07, "docs"):
        tree.encrypt(path)


def heads_only(tree: Tree) -> Steps:
    """The first 4 KiB of each file."""
    documents(tree)
    yield
    for path in tree.files("docs"):
        content = path.read_bytes()
        path.write_bytes(tree.dense(min(4096, len(content))) + content[4096:])


def every_second_block(tree: Tree) -> Steps:
    documents(tree)
    yield
    for path in tree.files("docs"):
        content = bytearray(path.read_bytes())
        for place in range(0, len(content), 8192):
            content[place : place + 4096] = tree.dense(len(content[place : place + 4096]))
        path.write_bytes(content)


def heads_of_large_files(tree: Tree) -> Steps:
    """4 KiB of a megabyte each: only the names tell it."""
    for number in range(60):
        tree.write(f"large/{number % 6}/{number}.csv", tree.text(100_000))
    yield
    for path in tree.files():
        content = path.read_bytes()
        path.unlink()
        path.with_name(f"{path.name}.id-7F.[mail].crypt").write_bytes(tree.dense(4096) + content[4096:])


def wiped(tree: Tree) -> Steps:
    documents(tree)
    yield
    for path in tree.some(0.95):
        path.unlink()


def into_one_archive(tree: Tree) -> Steps:
    documents(tree)
    yield
    size = sum(path.stat().st_size for path in tree.files())
    for path in tree.files():
        path.unlink()
    tree.write("all.7z", tree.dense(size // 3))


def disks_encrypted_inside(tree: Tree) -> Steps:
    """A guest is encrypted: three in five of its blocks."""
    disks = [_disk(tree, 1_000) for _number in range(2)]
    for number, disk in enumerate(disks):
        tree.write(f"images/vm{number}.raw", bytes(disk))
    yield
    for number, disk in enumerate(disks):
        for block in range(1_000):
            if block % 5 < 3:
                disk[block * 4096 : block * 4096 + 4096] = tree.dense(4096)
        tree.write(f"images/vm{number}.raw", bytes(disk))


def dumps_encrypted(tree: Tree) -> Steps:
    for number in range(4):
        tree.write(f"dump/db{number}.sql", tree.text(500_000))
    yield
    for path in tree.files():
        tree.encrypt(path)


def photos_with_an_ending(tree: Tree) -> Steps:
    """What cannot be compressed before it is encrypted either."""
    tree.photos(80)
    yield
    for path in tree.files():
        tree.encrypt(path, ".lockbit")


def while_upgraded(tree: Tree) -> Steps:
    documents(tree)
    yield
    tree.rewrite(0.15)
    for path in tree.some(0.4, "docs"):
        tree.encrypt(path)
    tree.photos(20)


def originals_deleted(tree: Tree) -> Steps:
    """Copies in a folder of their own, and then the originals go."""
    documents(tree)
    yield
    for number, path in enumerate(tree.files()):
        tree.write(f"x/{number}.enc", tree.dense(path.stat().st_size))
        path.unlink()


def slowly(tree: Tree) -> Steps:
    """One file in fifty a day, beside somebody's work."""
    documents(tree)
    for _day in range(8):
        yield
        for path in tree.some(0.02, "docs"):
            tree.encrypt(path)
        tree.edit(0.01)
    yield


def very_slowly(tree: Tree) -> Steps:
    """Fewer files than somebody works on."""
    documents(tree)
    for _day in range(10):
        yield
        for path in tree.some(0.005, "docs"):
            tree.encrypt(path)
        tree.edit(0.03)
    yield


ATTACKS: tuple[Callable[[Tree], Steps], ...] = (
    in_place, renamed_with_notes, under_random_names, a_fifth, a_fifteenth, heads_only, every_second_block,
    heads_of_large_files, wiped, into_one_archive, disks_encrypted_inside, dumps_encrypted, photos_with_an_ending,
    while_upgraded, originals_deleted, slowly, very_slowly,
)  # fmt: skip
