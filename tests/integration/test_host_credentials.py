# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module host_credentials where nothing can be encrypted; encrypted files are tested on booted hosts."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._hosts.credentials import Credential, CredentialsError

from tests.support.running import Ansible

SECRETS = {"password": "it's $HOME", "key_id": ""}


@pytest.fixture
def keep(ansible: Ansible, tmp_path: Path) -> Any:
    """Runs the module on one folder, without encryption."""

    def run(**arguments: Any) -> dict[str, Any]:
        settings = {"directory": str(tmp_path / "kept"), "credentials": SECRETS, "encrypt": "never"}
        return ansible.module("host_credentials", **{**settings, **arguments})

    return run


def test_secrets_are_written_once_and_shown_nowhere(keep: Any, tmp_path: Path) -> None:
    predicted = keep(check_mode=True)
    assert predicted["changed"] and not (tmp_path / "kept").exists()
    written = keep()
    assert written["written"] == predicted["written"] == ["password", "key_id"]
    assert not written["encrypted"]
    assert SECRETS["password"] not in str(written)
    for name, secret in SECRETS.items():
        path = tmp_path / "kept" / name
        assert path.read_text(encoding="utf-8") == secret
        assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
    assert not keep()["changed"]


def test_one_new_secret_changes_one_file(keep: Any, tmp_path: Path) -> None:
    keep()
    before = (tmp_path / "kept" / "key_id").stat()
    changed = {"credentials": {**SECRETS, "password": "new"}}
    assert keep(check_mode=True, **changed)["written"] == ["password"]
    assert (tmp_path / "kept" / "password").read_text(encoding="utf-8") == SECRETS["password"]
    assert keep(**changed)["written"] == ["password"]
    assert (tmp_path / "kept" / "password").read_text(encoding="utf-8") == "new"
    assert (tmp_path / "kept" / "key_id").stat().st_ino == before.st_ino


def test_readable_by_others_is_put_right(keep: Any, tmp_path: Path) -> None:
    keep()
    (tmp_path / "kept" / "password").chmod(0o644)
    assert keep(check_mode=True)["changed"]
    assert keep()["changed"]
    assert (tmp_path / "kept" / "password").stat().st_mode & 0o777 == 0o600


def test_the_other_form_does_not_stay(keep: Any, tmp_path: Path) -> None:
    keep()
    (tmp_path / "kept" / "password.cred").write_text("encrypted once", encoding="utf-8")
    assert keep()["written"] == ["password"]
    assert not (tmp_path / "kept" / "password.cred").exists()


def test_absent_removes_its_own_files_only(keep: Any, tmp_path: Path) -> None:
    keep()
    other = tmp_path / "kept" / "other"
    other.touch()
    assert keep(state="absent", check_mode=True)["changed"]
    assert (tmp_path / "kept" / "password").exists()
    assert keep(state="absent")["changed"]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["other"]
    assert not keep(state="absent")["changed"]
    other.unlink()
    assert keep(state="absent")["changed"]
    assert not (tmp_path / "kept").exists()


def test_what_an_unfinished_write_has_left_goes(keep: Any, tmp_path: Path) -> None:
    keep()
    partial = tmp_path / "kept" / ".password.partial"
    partial.write_text("half a sec", encoding="utf-8")
    assert not keep()["changed"] and not partial.exists()
    partial.touch()
    assert keep(state="absent")["changed"]
    assert not (tmp_path / "kept").exists()


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CredentialsError, match="cannot be written"):
        Credential(str(tmp_path), "password", encrypted=False).write(b"secret")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(keep: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = keep(directory=str(tmp_path / "file" / "kept"))
    assert told["failed"]
    assert "cannot be" in told["msg"] and str(tmp_path / "file") in told["msg"]
