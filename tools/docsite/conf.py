# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sphinx's settings for the site that `make docs` builds."""

from __future__ import annotations

from typing import Any

from pygments.lexers.special import TextLexer

project = "holdfast.restic_r2"
copyright = "the holdfast.restic_r2 contributors"
extensions = ["sphinx_antsibull_ext", "myst_parser"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
html_theme = "alabaster"
html_theme_options = {"page_width": "1200px", "description": "Backups on Cloudflare R2 that ransomware cannot destroy"}
# Links to headings, as GitHub makes them.
myst_heading_anchors = 6
highlight_language = "yaml"


def setup(app: Any) -> None:
    # Pictures are drawn where the project is; here they are shown as they are written.
    for name in ("mermaid", "cron"):
        app.add_lexer(name, TextLexer)
