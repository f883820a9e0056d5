# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that would share one repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._shared_repositories import place_of, shared

DEFAULTS = Path(__file__).resolve().parents[2] / "roles" / "repository" / "defaults" / "main.yml"
ONE = {"holdfast_account_id": "a" * 32}


def told(chosen: set[str], **hosts: dict[str, Any]) -> list[str]:
    return shared({name: place_of(name, {**ONE, **values}) for name, values in hosts.items()}, chosen)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"holdfast_bucket": "b"}, {"holdfast_bucket": "b"}),
        ({"holdfast_bucket": "b"}, {"repository_bucket": "b", "holdfast_bucket": "c"}),
        ({"holdfast_bucket": "b", "holdfast_prefix": "x"}, {"holdfast_bucket": "b", "holdfast_prefix": "x/"}),
        ({"holdfast_bucket": "b", "holdfast_jurisdiction": "default"}, {"holdfast_bucket": "b", "holdfast_prefix": ""}),
        ({"holdfast_bucket": "b"}, {"holdfast_bucket": "b", "holdfast_account_id": "A" * 32}),
        ({}, {"holdfast_bucket": "backup-one"}),
    ],
)
def test_the_same_repository_is_found_however_it_is_written(first: dict[str, Any], second: dict[str, Any]) -> None:
    (problem,) = told({"one"}, one=first, two=second, three={})
    assert (
        problem.startswith("one, two would share one repository (bucket b") and ": write a holdfast_bucket" in problem
    )
    assert told({"three"}, one=first, two=second, three={}) == []
    assert len(told({"two", "three"}, one=first, two=second, three={})) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"holdfast_bucket": "c"},
        {"holdfast_bucket": "b", "holdfast_prefix": "x"},
        {"holdfast_bucket": "b", "holdfast_jurisdiction": "eu"},
        {"holdfast_bucket": "b", "holdfast_account_id": "b" * 32},
    ],
)
def test_what_differs_in_one_part_is_not_the_same(other: dict[str, Any]) -> None:
    assert told({"one", "two"}, one={"holdfast_bucket": "b"}, two=other) == []


@pytest.mark.parametrize(("first", "second"), [("web-1", "web_1"), ("DB.2", "db-2")])
def test_names_of_hosts_that_become_one_name_of_a_bucket(first: str, second: str) -> None:
    assert len(told({first}, **{first: {}, second: {}})) == 1
    # The same filter makes the role's default.
    assert "default(inventory_hostname | holdfast.restic_r2.bucket_name)" in DEFAULTS.read_text("utf-8")
