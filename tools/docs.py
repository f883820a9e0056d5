# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build a site of the plugins' documentation and of the Markdown pages, in FOLDER/html: docs.py FOLDER

Nothing is written twice: antsibull-docs reads the collection, and the pages are copied as they are. A warning is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.stage import ROOT, project_files

COLLECTION = "holdfast.restic_r2"
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.rst", "docs/*.md", "roles/*/README.md")
# What a page leads to, or shows.
LINK = re.compile(r"\]\(([^)\s#:]+)")


def linked(page: Path) -> set[Path]:
    """The files of the project that a page links to, relative to its root."""
    if page.suffix != ".md":
        return set()
    places = {(ROOT / page).parent / link for link in LINK.findall((ROOT / page).read_text(encoding="utf-8"))}
    return {Path(os.path.relpath(place, ROOT)) for place in places if place.is_file()}


def build(folder: Path) -> None:
    """Build the site below a folder, which is made anew."""
    source, site = folder / "source", folder / "html"
    shutil.rmtree(folder, ignore_errors=True)
    pages = {
        name
        for name in project_files()
        if any(name.match(page) and len(name.parts) == page.count("/") + 1 for page in PAGES)
    }
    for name in sorted(pages.union(*map(linked, pages))):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    for part in (ROOT / "tools" / "docsite").iterdir():
        if part.is_file():
            shutil.copy2(part, source / part.name)
    plugins = source / "collection"
    plugins.mkdir()
    run("antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", plugins)
    run("sphinx-build", "--quiet", "--fail-on-warning", "--keep-going", "--jobs=2", source, site)
    print(f"{site}/index.html")


def run(program: str, *arguments: str | Path) -> None:
    more = [COLLECTION] if program == "antsibull-docs" else []
    if subprocess.run([program, *map(str, arguments), *more], check=False).returncode:
        sys.exit(1)


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve())
