# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a view of a repository holds, without a bucket behind it: everything that is added stays in a folder."""

from __future__ import annotations

import hashlib
import io
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3, S3Object
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import view as _view
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.view import LOCK_BYTES, View, ViewError, key_of
from hypothesis import given
from hypothesis import strategies as st

NAME = "ab" + "0" * 62
NOBODY = cast(S3, None)
WHEN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def judged(*keys: str, size: int = 3, etag: str = "e") -> dict[str, S3Object]:
    return {key: S3Object(key, size, WHEN, etag) for key in keys}


def view(tmp_path: Path, objects: dict[str, S3Object] | None = None, **settings: Any) -> View:
    return View(NOBODY, "web1/", objects or {}, **{"additions": tmp_path / "added", **settings})


def add(there: View, kind: str, content: bytes) -> str:
    key = key_of(kind, hashlib.sha256(content).hexdigest())
    assert key
    there.add(key, io.BytesIO(content), len(content))
    return key


def status(caught: pytest.ExceptionInfo[ViewError]) -> int:
    return caught.value.status


def test_only_exact_names_below_the_prefix_are_there(tmp_path: Path) -> None:
    genuine = ["config", f"data/ab/{NAME}", f"index/{NAME}", f"keys/{NAME}", f"snapshots/{NAME}"]
    twins = [
        f"data/ab/{NAME.upper()}", f"data/AB/{NAME}", f"data/00/{NAME}", f"data/{NAME}", f"data//{NAME}", f"data/ab//{NAME}",
        f"data/ab\\{NAME}", f"data/ab/{NAME}/", f"data/ab/{NAME}\n", f"index/{NAME.upper()}", f"index/{NAME} ", "snapshots/x",
        f"index/ab/{NAME}", f"snapshots/{NAME[:-1]}", f"snapshots/{NAME}0", f"snapshots/{NAME[:-1]}\uff10", f"locks/{NAME}",
        "Config", "config/", f"other/{NAME}", "", f"./index/{NAME}",
    ]  # fmt: skip
    objects = judged(
        *(f"web1/{key}" for key in [*genuine, *twins]), *genuine, f"web10/index/{NAME}", f"xweb1/index/{NAME}"
    )
    there = view(tmp_path, objects)
    for kind in ("data", "index", "keys", "snapshots"):
        assert there.listed(kind) == [(NAME, 3)]
    assert there.listed("locks") == []
    assert [there.size(key) for key in genuine] == [3] * 5
    for key in twins:
        with pytest.raises(ViewError) as caught:
            there.size(key)
        assert status(caught) == 404


def test_a_key_of_our_own_is_the_only_one(tmp_path: Path) -> None:
    other = f"keys/{'cd' * 32}"
    there = view(tmp_path, judged(f"web1/keys/{NAME}"), key={other: b"key file"})
    assert there.listed("keys") == [("cd" * 32, 8)] and there.size(other) == 8
    assert b"".join(there.read(other, 4, 6).chunks) == b"fil"
    with pytest.raises(ViewError) as caught:
        there.read(f"keys/{NAME}")
    assert status(caught) == 404
    with pytest.raises(ViewError):
        there.delete(other)
    assert there.differences({}) == {f"keys/{NAME}": "missing"}


NAMES = st.text(alphabet="0123456789abcdef", min_size=63, max_size=65) | st.text(
    alphabet="0123456789abcdefA/ .\n\uff10", min_size=64, max_size=65
)


@given(NAMES, st.sampled_from(["data", "index", "locks", "../index"]))
def test_a_key_is_made_of_restics_names_only(name: str, kind: str) -> None:
    key = key_of(kind, name)
    plain = len(name) == 64 and not set(name) - set("0123456789abcdef") and kind != "../index"
    assert (key is not None) == plain


@given(st.binary(min_size=1, max_size=300), st.integers(0, 400), st.none() | st.integers(0, 400))
def test_a_range_is_what_a_slice_is(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, first: int, last: int | None
) -> None:
    there = view(tmp_path_factory.mktemp("range"))
    for kind in ("index", "locks"):
        key = add(there, kind, content)
        if first >= len(content):
            with pytest.raises(ViewError) as caught:
                there.read(key, first, last)
            assert status(caught) == 416
            continue
        if last is not None and last < first:
            continue
        reading = there.read(key, first, last)
        got = b"".join(reading.chunks)
        assert got == content[first : None if last is None else last + 1]
        assert (reading.size, reading.total) == (len(got), len(content))
        assert b"".join(there.read(key).chunks) == content


def test_what_is_deleted_is_gone_and_written_down_in_order(tmp_path: Path) -> None:
    keys = [f"snapshots/{NAME}", f"index/{NAME}", f"data/ab/{NAME}"]
    there = view(tmp_path, judged(*(f"web1/{key}" for key in keys)))
    for key in keys:
        there.delete(key)
        for call in (there.size, there.read, there.delete):
            with pytest.raises(ViewError) as caught:
                call(key)
            assert status(caught) == 404
    assert there.deleted == keys
    assert there.listed("data") == there.listed("index") == []
    assert there.extend(judged(*(f"web1/{key}" for key in keys))) == []
    assert there.listed("data") == []


@pytest.mark.parametrize("key", ["config", f"keys/{NAME}"])
def test_what_is_never_deleted_stays(tmp_path: Path, key: str) -> None:
    there = view(tmp_path, judged(f"web1/{key}"))
    with pytest.raises(ViewError) as caught:
        there.delete(key)
    assert status(caught) == 403
    assert there.deleted == [] and len(there.problems) == 1
    assert there.size(key) == 3


@pytest.mark.parametrize("kind", ["config", "keys"])
def test_neither_a_repository_nor_a_key_is_made(tmp_path: Path, kind: str) -> None:
    there, content = view(tmp_path), b"content"
    key = kind if kind == "config" else f"keys/{hashlib.sha256(content).hexdigest()}"
    with pytest.raises(ViewError, match=f"restic tried to write web1/{key}") as caught:
        there.add(key, io.BytesIO(content), len(content))
    assert status(caught) == 403
    assert there.added == {} and len(there.problems) == 1


def test_nothing_is_put_over_what_is_or_was_there(tmp_path: Path) -> None:
    content = b"index"
    key = f"index/{hashlib.sha256(content).hexdigest()}"
    there = view(tmp_path, judged(f"web1/{key}"))
    for _time in range(2):
        with pytest.raises(ViewError) as caught:
            there.add(key, io.BytesIO(content), len(content))
        assert status(caught) == 403
        there.delete(key) if not there.deleted else None
    assert there.problems == [f"restic tried to replace web1/{key}."]
    assert there.added == {}


def test_an_addition_once_more_is_none(tmp_path: Path) -> None:
    there = view(tmp_path)
    assert add(there, "data", b"pack") == add(there, "data", b"pack")
    assert [one.size for one in there.added.values()] == [4]
    assert there.listed("data") == [(hashlib.sha256(b"pack").hexdigest(), 4)]


def test_an_addition_holds_what_its_name_says_and_all_of_it(tmp_path: Path) -> None:
    there = view(tmp_path)
    with pytest.raises(ViewError, match="not hold what its name says") as caught:
        there.add(f"index/{NAME}", io.BytesIO(b"something"), 9)
    assert status(caught) == 403
    with pytest.raises(ViewError) as caught:
        there.add(f"index/{NAME}", io.BytesIO(b"half"), 9)
    assert status(caught) == 502
    with pytest.raises(ViewError) as caught:
        there.add(f"data/ab/{NAME}", io.BytesIO(b""), 1 << 40)
    assert status(caught) == 413
    assert there.added == {} and there.listed("index") == [] and not list(tmp_path.rglob("*"))


def test_what_stays_on_the_node_is_bounded(tmp_path: Path) -> None:
    there = view(tmp_path, most=10)
    add(there, "data", b"1234567")
    with pytest.raises(ViewError, match="do not fit") as caught:
        add(there, "data", b"12345678")
    assert status(caught) == 403
    assert there.problems
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) == 7


def test_a_folder_that_cannot_be_written_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ViewError, match="cannot be stored on this machine: No such file or directory"):
        add(view(tmp_path, scratch=str(tmp_path / "none")), "data", b"pack")


def test_locks_are_in_the_view_only_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = view(tmp_path, judged(f"web1/locks/{NAME}"))
    key = add(there, "locks", b"lock")
    assert there.listed("locks") == [(key[6:], 4)]
    assert b"".join(there.read(key).chunks) == b"lock"
    there.delete(key)
    assert there.listed("locks") == []
    with pytest.raises(ViewError):
        there.read(key)
    with pytest.raises(ViewError):
        there.delete(key)
    assert there.lock_bodies == {key: b"lock"}
    assert there.added == {} and there.deleted == []
    with pytest.raises(ViewError) as caught:
        add(there, "locks", bytes(LOCK_BYTES + 1))
    assert status(caught) == 413
    monkeypatch.setattr(_view, "LOCK_COUNT", 2)
    second, third = add(there, "locks", b"second"), add(there, "locks", b"third")
    assert list(there.lock_bodies) == [second, third]
    with pytest.raises(ViewError, match="too many locks"):
        add(there, "locks", b"fourth")


def test_what_was_judged_later_is_added_and_a_change_is_not(tmp_path: Path) -> None:
    there = view(tmp_path, judged("web1/config"))
    more = judged("web1/config", f"web1/index/{NAME}")
    assert there.differences(more) == {}
    assert there.extend(more) == [f"index/{NAME}"]
    assert there.listed("index") == [(NAME, 3)]
    assert there.differences(judged("web1/config")) == {f"index/{NAME}": "missing"}
    # what is deleted in the view is still to be there as it was
    there.delete(f"index/{NAME}")
    for changed in (
        judged("web1/config", f"web1/index/{NAME}", size=4),
        judged("web1/config", f"web1/index/{NAME}", etag="f"),
    ):
        assert there.differences(changed) == {"config": "changed", f"index/{NAME}": "changed"}
        with pytest.raises(ViewError, match="web1/config is not as it was judged"):
            there.extend(changed)


def test_an_object_that_cannot_be_told_from_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ViewError, match="has no ETag"):
        view(tmp_path, judged("web1/config", etag=""))
