# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A browser, and pages of fleets that it opens from files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.judge import judged
from ansible_collections.holdfast.restic_r2.plugins.module_utils._page.render import pages
from playwright.sync_api import Browser, sync_playwright

from tests.support import page_fleets

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / ".cache" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session", name="browser")
def _browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("SKIPPED: the page is not tested in a browser, for there is no Chromium on this machine.")
    # Chromium's sandbox is not for root, whose page this is.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session", name="axe")
def _axe() -> str:
    if not AXE.exists():
        pytest.skip("SKIPPED: nothing looks whether everybody can use the page, for want of axe-core (npm).")
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(scope="session", name="folder_of")
def _folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where the pages of a fleet of tests/support/page_fleets.py are; made when they are asked for."""
    made: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            (made[name] / "hosts").mkdir()
            for address, text in pages(judged(getattr(page_fleets, name)()), page_fleets.templates()):
                (made[name] / address).write_text(text, encoding="utf-8")
        return made[name]

    return folder_of
