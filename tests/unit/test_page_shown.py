# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the page shows: nothing of a host's becomes anything but text, and figures are as a person reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page import charts, figures, render
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.as_data import as_data
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.judge import judged
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.model import Fleet

from tests.support import page_fleets
from tests.support.page_fleets import NOW, ago

ROOT = Path(__file__).resolve().parents[2]

# What a host chose ---------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """The elements and attributes of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()
        self.addresses: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {(tag, name) for name, _value in attrs} | {(tag, "")}
        self.addresses |= {str(value) for name, value in attrs if name in ("href", "src", "action", "data", "srcset")}


def written(made: Fleet) -> Iterator[tuple[str, str]]:
    return render.pages(judged(made), page_fleets.templates())


def test_what_a_host_chose_becomes_no_element_no_attribute_and_no_address() -> None:
    allowed: set[tuple[str, str]] = set()
    for made in (page_fleets.sick(), page_fleets.healthy()):
        for _name, text in written(made):
            allowed |= Elements(text).found
    for name, text in written(page_fleets.hostile()):
        found = Elements(text)
        assert found.found <= allowed, name
        assert all(re.fullmatch(r"#\w+|(\.\./)?(hosts/)?[A-Za-z0-9_-]+\.html", one) for one in found.addresses), name
        assert "\u202e" not in text and "{{" not in text.partition("</style>")[2]


def test_a_page_of_hostile_names_is_not_longer_than_texts_may_be() -> None:
    assert all(len(text) < 200_000 for _name, text in written(page_fleets.hostile()))


def test_no_page_asks_another_host_for_anything() -> None:
    for _name, text in written(page_fleets.sick()):
        assert not re.search(r"https?://|//[a-z]|@import|url\(", text)
        assert "default-src 'none'" in text.replace("&#39;", "'")


def test_a_thousand_hosts_are_a_page_of_two_megabytes_at_most() -> None:
    name, text = next(written(page_fleets.large()))
    assert name == "index.html" and len(text.encode()) < 2_000_000


# Figures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.04, "under 0.1 s"),
        (0.25, "0.2 s"),
        (9.96, "10.0 s"),
        (59, "59 s"),
        (125, "2 min"),
        (7200, "2 h"),
        (172800, "2 d"),
        (86400, "24 h"),
    ],
)
def test_a_length_of_time_has_one_unit(seconds: float, text: str) -> None:
    assert figures.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "\u2013"), (0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (4.2e11, "420 GB"), (2e15, "2000 TB")],
)
def test_sizes_are_those_that_are_billed(count: float | None, text: str) -> None:
    assert figures.size(count) == text


def test_a_cost_of_nearly_nothing_is_not_nothing() -> None:
    costs = [figures.money(figures.cost(count, 0.015), "$") for count in (None, 0, 1000, 1e12)]
    assert costs == ["\u2013", "$0.00", "< $0.01", "$15.00"]


def test_a_curve_of_sizes_is_made_of_few_points_and_ends_today() -> None:
    path = charts.line(page_fleets.sizes(1e10, 0.01, 1), ago(days=90), NOW, 96, 22, 24)
    points = path[1:].split("L")
    assert len(points) == 24 and float(points[-1].split()[0]) > 95
    assert all(0 <= float(number) <= 96 for point in points for number in point.split())
    assert charts.line((), ago(days=90), NOW, 96, 22) == ""


@pytest.mark.parametrize("days", [0.01, 0.5, 3, 20, 90, 400, 4000])
def test_an_axis_has_a_few_marks_within_it(days: float) -> None:
    marks = charts.axis(ago(days=days), NOW)
    assert 1 <= len(marks) <= 9 and all(0 <= at <= 100 for at, _text in marks)


# Data ----------------------------------------------------------------------------------------------------------------


def names_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {name for one in value.values() for name in names_in(one)}
    return {name for one in value for name in names_in(one)} if isinstance(value, list) else set()


def test_the_documentation_names_every_field_of_the_data() -> None:
    documented = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "report.md").read_text(encoding="utf-8")))
    assert names_in(as_data(judged(page_fleets.sick()))) - documented == set()
