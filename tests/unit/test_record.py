# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of a repository."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.removal_lists import keys_in
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.private_file import NotPrivateError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.record import (
    Record,
    RecordError,
    folder,
    load,
    save,
    stored,
)

ID = "ab" * 32
RECORD = Record("backup", "web1/", "cd" * 32, ID, "2026-11-23T05:38:27Z", [ID], {"baseline": 1})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = folder(str(tmp_path), "backup", "web1/")
    assert path == str(tmp_path / "backup" / "web1")
    assert folder(str(tmp_path), "backup", "") == str(tmp_path / "backup")
    assert load(path) is None and stored(path, "config") is None
    save(path, RECORD, {"config": b"c", f"keys/{ID}": b"k"})
    assert load(path) == RECORD
    assert (stored(path, "config"), stored(path, f"keys/{ID}")) == (b"c", b"k")


def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        save(str(tmp_path / "a" / "b"), RECORD, {f"keys/{ID}": b"k"})
    finally:
        os.umask(previous)
    for path in (tmp_path / "a").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_failed_write_leaves_the_old_record_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "r")
    save(path, RECORD, {})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RecordError, match="cannot be written: No space left on device"):
        save(path, Record("other", "", ID, ID, "", []), {})
    assert os.listdir(path) == ["record.json"]
    assert load(path) == RECORD


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not valid JSON"),
        ("[]", "does not hold all of"),
        ("{}", "does not hold all of"),
        (json.dumps({**RECORD.__dict__, "key_id": "short"}), "is not 64 hexadecimal digits"),
    ],
)
def test_a_damaged_record_is_an_error(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(RecordError, match=sentence):
        load(str(tmp_path))


def give_away(path: Path) -> None:
    os.chown(path, 12345, -1)


def share(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


@pytest.mark.parametrize(
    "change",
    [
        share,
        pytest.param(
            give_away, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
        ),
    ],
)
@pytest.mark.parametrize("what", ["record.json", "."])
def test_what_others_could_have_written_is_not_read(tmp_path: Path, what: str, change: Callable[[Path], None]) -> None:
    path = tmp_path / "r"
    save(str(path), RECORD, {"config": b"c"})
    change(path / what)
    with pytest.raises(NotPrivateError, match="who could have changed it: maintenance relies upon"):
        load(str(path))
    for name in (path, *path.iterdir()):
        os.chown(name, os.geteuid(), -1)
        name.chmod(0o700)
    # As in /tmp, others may add files of their own.
    path.chmod(0o1777)
    assert load(str(path)) == RECORD


def test_a_list_of_what_is_to_be_removed_is_not_read_when_others_could_have_written_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('["index/x"]', encoding="utf-8")
    path.chmod(0o644)
    assert keys_in(str(path)) == ["index/x"]
    share(path)
    with pytest.raises(NotPrivateError, match="can be written by other users"):
        keys_in(str(path))
