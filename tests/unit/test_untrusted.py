# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts of hosts, made visible."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
import unicodedata

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.checks import BLOCK, Finding
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.untrusted import shown, shown_all
from hypothesis import given
from hypothesis import strategies as st

HOSTILE = "{{ lookup('pipe', 'x') }}{% x %}{# y #}\x1b[2J\x07\r\nok  web1\u202egnp.exe\u200b\x85\u2028"


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("plain text, ümläut, 日本語 {a}", "plain text, ümläut, 日本語 {a}"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\r\tc", r"a\x0ab\x0d\x09c"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("\U000e0001", r"\U000e0001"),
        ("{{ x }} {% y %} {# z #}", r"\x7b{ x }} \x7b% y %} \x7b# z #}"),
        ("{{{ x", r"\x7b\x7b{ x"),
        (None, "None"),
    ],
)
def test_what_steers_or_hides_is_written_as_an_escape(text: object, visible: str) -> None:
    assert shown(text) == visible


@given(st.text(max_size=300), st.integers(min_value=30, max_value=250))
def test_the_result_is_one_bounded_visible_line_and_no_template(text: str, limit: int) -> None:
    visible = shown(text, limit)
    assert len(visible) <= limit
    assert all(unicodedata.category(character)[0] != "C" and character not in "\u2028\u2029" for character in visible)
    assert not any(begin in visible for begin in ("{{", "{%", "{#"))
    assert shown(visible, limit) == visible


def test_a_long_text_says_how_long_it_was() -> None:
    assert shown("x" * 1000, 30) == "x" * 11 + "… (1000 characters)"
    assert len(shown("\x00" * 50, 60)) <= 60


def test_data_keeps_its_form() -> None:
    assert shown_all({"a\n": [1, None, True, "\x1b", {"b": ("{{",)}]}) == {
        r"a\x0a": [1, None, True, r"\x1b", {"b": [r"\x7b{"]}]
    }  # fmt: skip


def test_errors_and_findings_are_harmless_by_themselves() -> None:
    finding = Finding("misplaced_object", BLOCK, HOSTILE, "Look.", (HOSTILE,))
    for text in (str(HoldfastError(HOSTILE)), finding.evidence, *finding.as_dict()["objects"]):
        assert text == shown(HOSTILE, 4096)
    assert finding.objects == (HOSTILE,), "what removes it needs the exact key"
    assert (
        finding.id
        == Finding("misplaced_object", BLOCK, "other words", "", (HOSTILE,)).id
        != Finding("x", BLOCK, "", "").id
    )


@given(st.text(), st.lists(st.text(), max_size=5))
def test_the_id_of_a_finding_is_that_of_its_code_and_keys(code: str, keys: list[str]) -> None:
    expected = hashlib.sha256(json.dumps([code, sorted(keys)]).encode()).hexdigest()[:12]
    assert Finding(code, BLOCK, "", "", tuple(keys)).id == expected


def test_the_id_of_a_finding_takes_no_memory_for_all_of_its_keys() -> None:
    finding = Finding("unexpected_object", BLOCK, "", "", tuple(f"{number:01000}" for number in range(5000)))
    tracemalloc.start()
    try:
        assert len(finding.id) == 12
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
