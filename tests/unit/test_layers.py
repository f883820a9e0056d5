# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packages of plugins/module_utils import each other in one direction only, and the map of the code names what is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UTILS = ROOT / "plugins" / "module_utils"
# Each may import what stands before it.
ORDER = (
    "_common",
    "_r2",
    "_locks",
    "_tokens",
    "_restic",
    "_clients",
    "_windows",
    "_audit",
    "_reports",
    "_page",
    "_actions",
)
# What runs on backed-up hosts has this to itself.
APART = {"_hosts": {"_common"}}
PACKAGES = sorted(path.parent.name for path in UTILS.glob("*/__init__.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Level and name of each import of the collection's own code in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("ansible_collections.")):
            yield node.level, node.module or ""


def package_of(path: Path) -> str:
    relative = path.relative_to(UTILS)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported(path: Path) -> set[str]:
    """The packages that a file of a package imports, its own left out."""
    above = 2 if path.parent != UTILS else 1
    return {name.partition(".")[0] for level, name in imports(path) if level == above} - {package_of(path)}


def files() -> list[Path]:
    return sorted(path for path in UTILS.rglob("*.py") if path != UTILS / "__init__.py")


def test_every_package_has_its_place() -> None:
    loose = {path.stem for path in UTILS.glob("*.py") if path.stem != "__init__"}
    assert {*PACKAGES, *loose} == {*ORDER, *APART}


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(UTILS)))
def test_imports_go_down(path: Path) -> None:
    package = package_of(path)
    allowed = APART.get(package) or set(ORDER[: ORDER.index(package)])
    assert imported(path) <= allowed


def defined(package: str) -> set[str]:
    """The functions and classes of a package."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (UTILS / package).glob("*.py")]
    return {node.name for tree in trees for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_lives_there(package: str) -> None:
    told = ast.get_docstring(ast.parse((UTILS / package / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert "May import: " in told and "Callers use " in told
    callers = told.partition("Callers use ")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", callers)) <= defined(package)


def test_imports_inside_the_collection_are_relative() -> None:
    absolute = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "plugins").rglob("*.py")
        for level, name in imports(path)
        if not level and name.startswith("ansible_collections.holdfast.")
    }
    assert absolute == set()


def places() -> set[str]:
    """The files and folders that the map of the code names."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(
        r"`((?:_\w+|playbooks|plugins|roles|meta|monitoring|examples|docs|tests)/[^`:]+)(?:::\w+)?`", page
    )
    return {place for place in named if "ROLE" not in place and "*" not in place}


@pytest.mark.parametrize("place", sorted(places()))
def test_the_map_of_the_code_names_what_is_there(place: str) -> None:
    base = UTILS if place.startswith("_") else ROOT
    assert (base / place).exists() or (base / f"{place}.py").exists()
