# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The key of one run, in a repository of the real restic."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import quick_key as _quick_key
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Repository, Restic, ResticError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.quick_key import quick_key


@pytest.fixture
def restic(tmp_path: Path, restic_path: str) -> Restic:
    found = Restic(Repository("", "", "", "", "", None, "a person's password", view=str(tmp_path)), path=restic_path)
    found.succeed(["init"])
    return found


def test_it_opens_the_same_repository_alone(restic: Restic, tmp_path: Path) -> None:
    quick = quick_key(restic)
    assert quick is not None and quick.password not in repr(quick)
    [old] = (tmp_path / "keys").iterdir()
    old.unlink()
    for name, content in quick.objects.items():
        (tmp_path / name).write_bytes(content)
    assert quick.opens(restic).config()["id"]
    with pytest.raises(ResticError, match="password"):
        restic.config()


def test_where_this_python_cannot_encrypt_there_is_none(restic: Restic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_quick_key, "HAS_CRYPTOGRAPHY", False)
    assert quick_key(restic) is None


def test_restics_cache_is_there_before_processes_run_side_by_side(restic: Restic, tmp_path: Path) -> None:
    """Of two that make it at a time, one may read the version of the other's before that is written, and fails."""
    quick_key(Restic(restic.repository, path=restic.path, cache_dir=str(tmp_path / "cache")))
    assert [path.read_text(encoding="utf-8") for path in (tmp_path / "cache").glob("*/version")] == ["1"]
