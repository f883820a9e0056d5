# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a maintenance writes down before it does it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit import pending
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.record import RecordError


def test_what_is_written_down_is_there_until_all_is_done(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert not pending.load(folder)
    pending.adds(folder, "data/1", 5, "abc")
    pending.adds(folder, "index/1", 6, "def")
    pending.deletes(folder, {"index/0", "data/0"})
    found = pending.load(folder)
    assert found and found.added == {"data/1": (5, "abc"), "index/1": (6, "def")}
    assert found.deletes == {"index/0", "data/0"}
    assert (tmp_path / pending.NAME).stat().st_mode & 0o777 == 0o600
    pending.clear(folder)
    pending.clear(folder)
    assert not pending.load(folder)


@pytest.mark.parametrize("rest", [b'{"added": "data/2", "si', b"null", b'{"deletes": 3}', b"[1]", b"\xff\n"])
def test_a_line_that_was_cut_tells_nothing_and_hides_nothing(tmp_path: Path, rest: bytes) -> None:
    folder = str(tmp_path)
    pending.adds(folder, "data/1", 5, "abc")
    with open(tmp_path / pending.NAME, "ab") as stream:
        stream.write(rest)
    pending.deletes(folder, ["data/0"])
    assert pending.load(folder) == pending.Pending({"data/1": (5, "abc")}, {"data/0"})


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / pending.NAME).mkdir()
    with pytest.raises(RecordError, match="cannot be written"):
        pending.adds(str(tmp_path), "data/1", 1, "")
    with pytest.raises(RecordError, match="cannot be removed"):
        pending.clear(str(tmp_path))
