# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much of a bucket is listed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit import baseline as _baseline
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.baseline import Baseline, Pack, PackContents
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.survey import TooManyObjectsError, survey
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3, S3Object

STORED = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Filled:
    """A bucket in which somebody has stored any number of objects below data/."""

    bucket = "backup"

    def __init__(self, count: int, beside: int = 1) -> None:
        self.count, self.beside = count, beside
        self.told = self.named = 0

    def few(self, prefix: str = "") -> None:
        return None

    def folders(self, prefix: str) -> Iterator[str]:
        for number in range(self.beside):
            self.named += 1
            yield str(number)

    def iterate(self, prefix: str = "") -> Iterator[S3Object]:
        if not prefix.endswith("data/"):
            return
        for number in range(self.count):
            self.told += 1
            yield S3Object(f"{prefix}{number:064x}", 1, STORED, "")


def look(bucket: Filled, **settings: Any) -> int:
    return len(survey(cast(S3, bucket), "web1/", **settings).objects)


def test_a_bucket_with_far_more_is_left() -> None:
    bucket = Filled(100_000)
    with pytest.raises(TooManyObjectsError, match="backup holds more than 50 objects below web1/data/"):
        look(bucket, most=50)
    assert bucket.told == 51


def test_names_beside_its_folders_are_no_more() -> None:
    bucket = Filled(0, beside=100_000)
    with pytest.raises(TooManyObjectsError, match="backup holds more than 50 objects below web1/,"):
        look(bucket, most=50)
    assert bucket.named == 51
    assert look(Filled(0, beside=60), most=None) == 0


def test_what_may_be_listed_is() -> None:
    assert look(Filled(50), most=50) == 50
    assert look(Filled(60), most=None) == 60


def test_the_file_of_a_baseline_tells_how_many_may_be_known(tmp_path: Path) -> None:
    assert _baseline.most_known(str(tmp_path)) == 0 == _baseline.most_known("")
    packs = {
        f"{number:064x}": Pack(1 << 24, 1_700_000_000, PackContents("f" * 64, b"12345678")) for number in range(1000)
    }
    _baseline.save(str(tmp_path), Baseline("id", "key", packs=packs))
    assert 1000 <= _baseline.most_known(str(tmp_path)) <= 2000


def test_nothing_of_a_bucket_is_listed_without_a_bound() -> None:
    """What removes planted objects has to find them all, and a person has asked for it."""
    may = {"_r2/s3.py", "_audit/survey.py", "_restic/view.py", "_actions/remove_objects.py"}
    utils = Path(_baseline.__file__).parents[1]
    lists = {
        str(path.relative_to(utils))
        for path in utils.rglob("*.py")
        if re.search(r"s3\.(iterate|list)\(", path.read_text(encoding="utf-8"))
    }
    assert lists - may == set()
