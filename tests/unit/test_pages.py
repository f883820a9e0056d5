# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pages name what exists, and READMEs of roles show how each role is used."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.running import ROOT

PLUGINS = ROOT / "plugins"
MODULES = {path.stem: path for path in (PLUGINS / "modules").glob("[a-z]*.py")}
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


@cache
def defined(file: Path) -> set[str]:
    """The names of the functions, classes and constants of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names = [name for target in targets for name in ast.walk(target)]
        found |= {name.id for name in names if isinstance(name, ast.Name)}
    return found


def missing(cell: str) -> list[str]:
    """What a cell with places of the code names, and does not exist: `file`, then names in it."""
    wrong, file, role = [], None, ""
    for before, word in re.findall(r"([^`]*)`([^`]+)`", cell):
        if before.rstrip().endswith("role"):
            role = word
            known = word in ROLES
        elif word.endswith(".py"):
            file = PLUGINS / "module_utils" / word
            known = file.is_file()
        elif word.endswith(".yml"):
            known = any((ROOT / "roles" / role / part / word).is_file() for part in ("tasks", "templates"))
        else:
            known = file is not None and file.is_file() and word in defined(file)
        if not known:
            wrong.append(word)
    return wrong


def rows() -> list[list[str]]:
    """The rows of docs/live-r2.md: number, question, assumption, place, way to settle it."""
    lines = (ROOT / "docs" / "live-r2.md").read_text(encoding="utf-8").splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if re.match(r"\| [0-9]+ \|", line)
    ]


def test_what_could_not_be_verified_is_where_the_page_says() -> None:
    found = rows()
    assert len(found) > 20 and {len(row) for row in found} == {5}
    assert {row[0].strip(): missing(row[3]) for row in found if row[3] != "none" and missing(row[3])} == {}


def test_the_modules_and_options_with_which_it_can_be_settled_exist() -> None:
    wrong = []
    for number, *_cells, way in rows():
        options: set[str] = set()
        for word in re.findall(r"`([a-z][a-z0-9_]+)(?:: [^`]*)?`", way):
            if re.match(r"(r2|restic)_", word):
                text = MODULES[word].read_text(encoding="utf-8") if word in MODULES else ""
                options = set(re.findall(r"^ *([a-z0-9_]+):", text, re.MULTILINE))
                options |= set(re.findall(r"^ *- (?:holdfast\.restic_r2\.)?([a-z0-9_.]+)$", text, re.MULTILINE))
            if word not in MODULES if re.match(r"(r2|restic)_", word) else word not in options:
                wrong.append((number.strip(), word))
    assert wrong == []


def test_what_is_missing_is_found() -> None:
    assert missing("`_r2/s3.py`, `probe` with `COPY`") == []
    assert missing("`_r2/s3.py`, `gone`; `_r2/gone.py`, `probe`") == ["gone", "_r2/gone.py", "probe"]
    assert missing("role `backup`, `prove.yml`") == [] and missing("role `backups`, `x.yml`") == ["backups", "x.yml"]


def plays(role: str) -> list[dict[str, Any]]:
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    return [play for block in blocks for play in block if "hosts" in play]


@pytest.mark.parametrize("role", ROLES)
def test_the_readme_of_a_role_has_an_example_with_it(role: str) -> None:
    used = [one for play in plays(role) for one in play.get("roles", ())]
    assert f"holdfast.restic_r2.{role}" in used
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    assert "\n## Example\n" in text


def test_the_readme_names_every_module() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    modules = [path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py")]
    assert [name for name in modules if f"`{name}`" not in text] == []
