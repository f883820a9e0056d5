# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The baseline's file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.baseline import (
    NAME,
    Baseline,
    BaselineError,
    Pack,
    digest,
    load,
    save,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.index_claims import PackContents, PackWeight
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.record import RecordError

ID = "ab" * 32
BASELINE = Baseline(
    ID,
    "cd" * 32,
    {"1" * 64: 1_790_000_000},
    frozenset(["2" * 64]),
    {"3" * 64: Pack(1234, 1_790_000_001, PackContents("4" * 64, b"\x00\xff" * 8))},
    frozenset([("web1 é", ("/etc", "/srv"))]),
    watched=True,
)


def test_what_is_saved_is_loaded_and_private(tmp_path: Path) -> None:
    folder = str(tmp_path / "a")
    assert load(folder, ID) is None and digest(folder) == ""
    save(folder, BASELINE)
    assert load(folder, ID) == BASELINE
    assert (tmp_path / "a" / NAME).stat().st_mode & 0o777 == 0o600
    before = digest(folder)
    save(folder, Baseline(ID, ID))
    assert load(folder, ID) == Baseline(ID, ID) and digest(folder) != before
    assert os.listdir(folder) == [NAME]


@pytest.mark.parametrize("cut", [0, 1, 40, 130, 300, -1])
def test_a_part_of_it_is_damage(tmp_path: Path, cut: int) -> None:
    save(str(tmp_path), BASELINE)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BaselineError, match="is damaged"):
        load(str(tmp_path), ID)


def test_of_a_pack_it_may_not_know_how_much_content_it_holds(tmp_path: Path) -> None:
    """As it is written by a version that did not ask."""
    packs = {
        "5" * 64: Pack(9, 9, PackContents("4" * 64, b"", PackWeight(2000, 10))),
        "6" * 64: Pack(9, 9, PackContents("4" * 64, b"")),
    }
    save(str(tmp_path), Baseline(ID, ID, packs=packs))
    loaded = load(str(tmp_path), ID)
    assert loaded is not None
    weights = [pack.contents.weight for _name, pack in sorted(loaded.packs.items())]
    assert weights == [PackWeight(2000, 10), None]


def test_every_changed_byte_is_damage(tmp_path: Path) -> None:
    save(str(tmp_path), BASELINE)
    path = tmp_path / NAME
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            assert load(str(tmp_path), ID) == BASELINE
        except BaselineError:
            pass


def test_another_version_and_another_repository(tmp_path: Path) -> None:
    save(str(tmp_path), BASELINE)
    with pytest.raises(BaselineError, match="of another repository"):
        load(str(tmp_path), "0" * 64)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 2'))
    with pytest.raises(BaselineError, match="version 2"):
        load(str(tmp_path), ID)


def test_what_cannot_be_read_or_written_is_told(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(RecordError, match="cannot be read"):
        load(str(tmp_path), ID)
    with pytest.raises(RecordError, match="cannot be written"):
        save(str(tmp_path), BASELINE)


def test_only_what_is_there() -> None:
    assert BASELINE.only([], [], []) == Baseline(
        ID,
        BASELINE.key_id,
        groups=BASELINE.groups,
        watched=True,
    )
    assert BASELINE.only(["1" * 64], ["2" * 64], ["3" * 64]) == BASELINE
