# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of buckets and the addresses at which they are reached."""

from __future__ import annotations

import re

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.places import (
    checked_bucket,
    default_bucket,
    is_bucket,
    s3_address,
)

from tests.support.running import ROOT

ACCOUNT = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("host", ["web1.example.com", "WEB_1", "db1", "2001:db8::1"])
def test_the_bucket_of_a_host_is_one_that_r2_takes(host: str) -> None:
    assert is_bucket(default_bucket(host))


@pytest.mark.parametrize("name", ["", "ab", "-abc", "abc-", "Abc", "a_bc", "a/b", "a..b", "abc\n", "x" * 64])
def test_no_other_name_becomes_a_part_of_an_address(name: str) -> None:
    assert not is_bucket(name)
    with pytest.raises(HoldfastError, match="is not a bucket name"):
        checked_bucket(name)


def test_addresses() -> None:
    assert s3_address(ACCOUNT) == s3_address(ACCOUNT, "") == f"https://{ACCOUNT}.r2.cloudflarestorage.com"
    assert s3_address(ACCOUNT, "eu") == f"https://{ACCOUNT}.eu.r2.cloudflarestorage.com"
    assert s3_address("") == ""


def test_nothing_else_makes_them() -> None:
    """The address and the default bucket are written in one place; roles ask the filters."""
    files = [path for part in ("plugins", "roles", "playbooks") for path in (ROOT / part).rglob("*")]
    texts = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for path in files
        if path.suffix in (".py", ".yml", ".j2") and not path.name.startswith("argument_specs")
    }
    pattern = re.compile(r"r2\.cloudflarestorage\.com['\"]|['\"]backup-['\"]|\{1,61\}")
    found = {name for name, text in texts.items() if pattern.search(text)}
    assert found == {"plugins/module_utils/_r2/places.py"}
