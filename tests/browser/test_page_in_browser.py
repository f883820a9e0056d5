# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page in a real browser, on a desk and on a phone, light and dark, on paper, without scripts, and when it is old.

Screenshots are in .results/page.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.evidence_files import write_evidence
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.dates import parse_date
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.journal import RunJournal
from playwright.sync_api import Browser, Page

from tests.support import march, page_fleets
from tests.support.page_fleets import NOW

ROOT = Path(__file__).resolve().parents[2]
SHOTS, DEMO = ROOT / ".results" / "page", ROOT / ".demo"
DESK, PHONE = {"width": 1320, "height": 900}, {"width": 390, "height": 844}
Folder = Callable[[str], Path]
PAGES = ("index.html", "hosts/web1.html")


@contextmanager
def opened(browser: Browser, path: Path, hours: float = 1, **options: Any) -> Iterator[Page]:
    """A page that was opened so many hours after it was made; fails on whatever the browser complains of or asks others for."""
    context = browser.new_context(**{"viewport": DESK, **options})
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on("request", lambda request: request.url.startswith("file://") or wrong.append(request.url))
    try:
        page.clock.set_fixed_time(NOW + timedelta(hours=hours))
        page.goto(path.as_uri())
        yield page
        assert wrong == []
    finally:
        context.close()


def problems(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]


def shoot(page: Page, name: str, whole: bool = True) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=whole)


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desk", "phone"])
@pytest.mark.parametrize("address", PAGES)
def test_everybody_can_use_the_page(
    browser: Browser, folder_of: Folder, axe: str, address: str, size: str, scheme: str
) -> None:
    viewport = DESK if size == "desk" else PHONE
    with opened(browser, folder_of("sick") / address, viewport=viewport, color_scheme=scheme) as page:
        assert fits(page)
        assert problems(page, axe) == []
        shoot(page, f"sick-{Path(address).stem}-{size}-{scheme}")


def test_the_first_line_and_the_first_host_say_what_matters_most(browser: Browser, folder_of: Folder) -> None:
    with opened(browser, folder_of("sick") / "index.html") as page:
        assert page.get_by_role("heading", level=1).inner_text() == "3 of 12 hosts are protected"
        assert "Known since 27 Nov 2026, 07:34 UTC" in page.locator(".lede").first.inner_text()
        first = page.locator(".fleet tbody:not(.group)").first
        assert first.get_by_role("link", name="web1", exact=True).is_visible()
        told = first.inner_text()
        assert "In danger" in told and "looks encrypted" in told
        assert "The last snapshot before it was stored on 26 Nov 2026, 03:04:00 UTC" in told
        assert "1 window open now" in page.locator(".tiles").inner_text()


def test_states_differ_by_words_and_shapes_not_by_colours_alone(browser: Browser, folder_of: Folder) -> None:
    with opened(browser, folder_of("sick") / "index.html") as page:
        badges = page.locator(".fleet .badge").evaluate_all(
            "all => all.map(one => [one.innerText.trim(), one.querySelector('use').getAttribute('href')])"
        )
        pairs = {tuple(badge) for badge in badges}
        assert len(pairs) == len({word for word, _shape in pairs}) == len({shape for _word, shape in pairs}) == 4
        shapes = page.locator("symbol").evaluate_all("all => all.map(one => one.innerHTML)")
        assert len(set(shapes)) == 4


def test_a_host_has_a_page_and_a_way_back(browser: Browser, folder_of: Folder) -> None:
    with opened(browser, folder_of("sick") / "index.html") as page:
        page.get_by_role("link", name="web1", exact=True).click()
        assert page.get_by_role("heading", level=1).inner_text() == "web1"
        assert page.get_by_role("heading", name="When it was last safe").is_visible()
        assert page.locator(".lanes path").first.bounding_box()["width"] > 300  # type: ignore[index]
        assert page.get_by_role("row").filter(has_text="snapshots/, index/, data/").count() == 5
        page.get_by_role("link", name="All hosts").click()
        assert page.get_by_role("heading", name="Hosts and jobs").is_visible()


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_what_hosts_chose_is_shown_and_does_nothing(browser: Browser, folder_of: Folder, viewport: Any) -> None:
    folder = folder_of("hostile")
    for path in [folder / "index.html", *sorted((folder / "hosts").iterdir())]:
        with opened(browser, path, viewport=viewport) as page:
            assert "owned" not in page.title() or "script" in page.title() or "onerror" in page.title()
            assert page.locator("script").count() == 1 and page.locator("img").count() == 0
            assert fits(page), path.name
            if path.name == "index.html":
                assert page.get_by_text("<script>document.title='owned'</script>").first.is_visible()
                shoot(page, f"hostile-{viewport['width']}")


def test_without_scripts_nothing_is_missing(browser: Browser, folder_of: Folder) -> None:
    path = folder_of("sick") / "index.html"
    with opened(browser, path) as page:
        told = page.locator("body").inner_text()
    with opened(browser, path, java_script_enabled=False) as page:
        assert page.locator("body").inner_text() == told


def test_a_page_that_is_old_says_that_nothing_is_known_any_more(browser: Browser, folder_of: Folder) -> None:
    path = folder_of("healthy") / "index.html"
    with opened(browser, path, hours=47) as page:
        assert not page.locator("#old").is_visible()
    with opened(browser, path, hours=100) as page:
        assert page.get_by_role("alert").inner_text().startswith("This page is 4 days old.")


def test_on_paper_it_is_black_on_white(browser: Browser, folder_of: Folder) -> None:
    with opened(browser, folder_of("sick") / "index.html", color_scheme="dark") as page:
        page.emulate_media(media="print")
        colours = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        assert colours == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
        SHOTS.mkdir(parents=True, exist_ok=True)
        assert page.pdf(path=SHOTS / "sick.pdf", prefer_css_page_size=True)[:5] == b"%PDF-"


def test_the_picture_of_the_readme(browser: Browser, folder_of: Folder) -> None:
    with opened(browser, folder_of("attacked") / "index.html", viewport={"width": 1320, "height": 800}) as page:
        assert page.get_by_role("heading", level=1).inner_text() == "3 of 4 hosts are protected"
        shoot(page, "attacked", whole=False)


def test_the_page_of_the_demo(browser: Browser, axe: str, tmp_path: Path) -> None:
    if not (DEMO / "summary.json").exists():
        pytest.skip("SKIPPED: there is no page of a demo that has ended; run `make demo`.")
    shutil.copytree(DEMO / "report", tmp_path / "report")
    made = parse_date(json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))["made"])
    assert made is not None
    for address in PAGES:
        with opened(browser, tmp_path / "report" / address, hours=(made - NOW).total_seconds() / 3600) as page:
            assert "In danger" in page.locator("body").inner_text()
            assert problems(page, axe) == []
            shoot(page, f"demo-{Path(address).stem}")


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_everybody_can_use_the_evidence(browser: Browser, axe: str, tmp_path: Path, viewport: Any) -> None:
    records = RunJournal(str(tmp_path / "records"))
    for number, line in enumerate(march.entries()):
        records.append([line], march.MARCH + timedelta(days=number))
    proof = write_evidence(records.folder, str(tmp_path), "2026-03", page_fleets.templates(), now=march.NOW)
    with opened(browser, Path(proof.html), viewport=viewport) as page:
        assert page.get_by_role("heading", level=1).inner_text() == "Evidence for 2026-03"
        assert page.get_by_role("row").filter(has_text="data/ open").count() == 1
        assert fits(page)
        assert problems(page, axe) == []
        shoot(page, f"evidence-{viewport['width']}")


def test_a_thousand_hosts(browser: Browser, folder_of: Folder) -> None:
    with opened(browser, folder_of("large") / "index.html") as page:
        assert page.get_by_role("heading", level=1).inner_text() == "997 of 1,000 hosts are protected"
        assert page.locator(".fleet th.host").count() == 1000
        assert fits(page)
        shoot(page, "large", whole=False)
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        assert fits(page)
