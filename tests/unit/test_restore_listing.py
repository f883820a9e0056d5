# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is left out of what a snapshot lists. What restic makes of it is tried in the integration tests."""

from __future__ import annotations

import tracemalloc

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit import restore_listing as _listing
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.restore_listing import (
    Listing,
    ListingError,
    pattern,
)


def listing(*entries: str, devices: bool = False) -> Listing:
    """Entries like `dir /a` in the order of a listing."""
    found = Listing(devices=devices, room=1000)
    for entry in entries:
        kind, path = entry.split(" ", 1)
        found.add({"type": kind, "path": path, "name": path.rpartition("/")[2]})
    return found


def told(*entries: str, devices: bool = False) -> dict[str, str]:
    return {item.path: item.why for item in listing(*entries, devices=devices).left_out}


def test_an_honest_snapshot_is_restored_whole() -> None:
    entries = ["dir /a", "dir /a/a", "symlink /a/a/a", "file /a/b", "fifo /a/c", "socket /b", "file /it's a [*]?\\\n"]
    assert told(*entries) == {}


def test_what_is_below_an_entry_that_is_left_out_is_not_told_again() -> None:
    assert told("dir /a", "dir /b", "dir /b/x", "dir /a", "dev /a/x", "dev /b") == {"/a": "twice", "/b": "twice"}


def test_names_that_cannot_be_told_apart() -> None:
    assert told("file /\ufffd", "file /\ufffd", "dir /x\ufffd", "dir /x\ufffd") == {}
    assert told("dir /\ufffd", "symlink /\ufffd") == {"/\ufffd": "twice"}
    assert told("symlink /\ufffd", "symlink /a\ufffd") == {}


def test_what_is_out_of_place_takes_its_folder_along() -> None:
    found = listing("dir /a", "file /b", "file /a/x")
    assert [item.path for item in found.left_out] == ["/a"]
    assert found.patterns == ["/a"]


def test_devices_are_restored_when_asked_for() -> None:
    assert told("dev /a", "chardev /b", devices=True) == {}
    assert told("dev /a", "chardev /b", "weird /c") == {"/a": "device", "/b": "device", "/c": "type"}


def test_patterns_fit_nothing_else() -> None:
    assert pattern("/a*/[b]?\\/c") == "/a\\*/\\[b]\\?\\\\/c"
    assert pattern("/a", "n" * 255) == "/a/" + "n" * 255
    assert pattern("/", "n" * 256) == "/" + "n" * 255 + "?*"
    assert pattern("/", "ä" * 70_000) == "/" + "ä" * 128 + "?*"


def test_too_many_entries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ListingError, match="more than 1000 entries that must not be restored, the first '/0'"):
        listing(*(f"dev /{number}" for number in range(1001)))
    with pytest.raises(ListingError, match="choose another snapshot"):
        listing("dir /" + "a" * 200, *(f"dev /{'a' * 200}/{'[' * 250}{number}" for number in range(999)))
    monkeypatch.setattr(_listing, "MOST_ENTRIES", 2)
    with pytest.raises(ListingError, match="more than 2 entries"):
        listing("file /a", "file /b", "file /c")


MEBIBYTE = 1 << 20
MANY = 30_000


@pytest.mark.parametrize("unclear", ["", "\ufffd"], ids=["clear", "unclear"])
def test_memory_does_not_grow_with_the_names_in_a_folder(unclear: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many in one folder, each of a name of its own, as of mail or of sessions."""
    monkeypatch.setattr(_listing, "MOST_REMEMBERED", 1000)
    found = Listing(room=1000)
    found.add({"type": "dir", "path": "/new", "name": "new"})
    tracemalloc.start()
    try:
        for number in range(MANY):
            name = f"{number:07}.M{unclear}"
            found.add({"type": "file", "path": f"/new/{name}", "name": name})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.left_out == []
    assert peak < MEBIBYTE


def test_beyond_what_is_remembered_only_what_could_harm_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_listing, "MOST_REMEMBERED", 2)
    assert told("file /b", "file /a", "file /c", "dir /d") == {}
    # Whether it came before is not known any more; nothing that restic wrote comes in this order.
    assert told("file /a", "file /b", "symlink /c", "file /d", "dir /c") == {"/c": "twice"}
    assert told("file /a", "file /b", "file /d", "dir /c") == {"/c": "twice"}
    assert told("file /a", "file /b", "file /\ufffd", "dir /\ufffd") == {}
    assert told("file /a", "file /b", "dir /\ufffd", "symlink /\ufffd") == {"/\ufffd": "twice"}
    assert told("symlink /\ufffd", "file /b", "file /c", "dir /\ufffd") == {"/\ufffd": "twice"}
    # A folder that is done makes room for the next.
    assert told("dir /a", "file /a/b", "dir /c", "file /c/b", "file /c/a", "dir /d") == {"/c/a": "twice"}
    assert told("dir /a", "file /a/b", "file /c") == {}
