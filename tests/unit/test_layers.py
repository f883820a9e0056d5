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


PAGE = "".join(
    (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8") for page in ("architecture", "where-to-change")
)
CODE = ("plugins", "roles", "playbooks", "meta", "monitoring", "examples", "tests", "tools", "demo", "bench", "docs")


def path_of(place: str) -> Path:
    base = UTILS if place.startswith("_") else ROOT
    return base / place if (base / place).exists() else base / f"{place}.py"


def places() -> set[str]:
    """The files and folders that the map of the code names; in the picture, they stand in no backticks."""
    named = re.findall(rf"`((?:_\w+|{'|'.join(CODE)})/[^`:]+)(?:::\w+)?`", PAGE)
    named += re.findall(r"\b(_[a-z]+/[a-z_]+)\b", PAGE.partition("```mermaid")[2].partition("```")[0])
    return {place for place in named if "ROLE" not in place and "*" not in place}


@pytest.mark.parametrize("place", sorted(places()))
def test_the_map_of_the_code_names_what_is_there(place: str) -> None:
    assert path_of(place).exists()


def names_in_files() -> set[tuple[str, str]]:
    """What the map says is in a file: names in parentheses behind its path, and tests."""
    found = set(re.findall(r"`(tests/[^`:]+)::(\w+)`", PAGE))
    for path, names in re.findall(r"`([^`]+\.(?:py|yml|j2))` \(((?:`[\w.]+`(?:, )?)+)\)", PAGE):
        # A name alone is of the folder that the cell named before.
        folder = (
            re.findall(r"`([^`]+/)[^`/]+`", PAGE.partition(f"`{path}` ({names})")[0])[-1] if "/" not in path else ""
        )
        found |= {(folder + path, name) for name in re.findall(r"`([\w.]+)`", names)}
    return found


def holds(path: Path, name: str) -> bool:
    """Whether a file defines this function, class, method or constant."""
    if path.suffix != ".py":
        return bool(re.search(rf"\b{name}\b", path.read_text(encoding="utf-8")))
    body: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
    for part in name.split("."):
        named = {one.name: one.body for one in body if isinstance(one, (ast.FunctionDef, ast.ClassDef))}
        targets = [
            one.targets if isinstance(one, ast.Assign) else [one.target]
            for one in body
            if isinstance(one, (ast.Assign, ast.AnnAssign))
        ]
        constants = {
            word.id for one in targets for target in one for word in ast.walk(target) if isinstance(word, ast.Name)
        }
        methods = {one.name for group in named.values() for one in group if isinstance(one, ast.FunctionDef)}
        if part not in {*named, *constants, *methods}:
            return False
        body = named.get(part, [])
    return True


@pytest.mark.parametrize(("path", "name"), sorted(names_in_files()))
def test_what_the_map_says_is_in_a_file_is_in_it(path: str, name: str) -> None:
    assert holds(path_of(path), name)


def test_every_other_name_on_the_map_is_somewhere_in_the_code() -> None:
    paths = [
        path for part in CODE for path in (ROOT / part).rglob("*") if path.suffix in (".py", ".yml", ".j2", ".json")
    ]
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file())
    words = {*re.findall(r"\w+", text), *(path.name for path in [*paths, *ROOT.iterdir()])}
    named = set(re.findall(r"`([A-Za-z_][\w.]*)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)))
    variables = {"ROLE_NAME", "holdfast_NAME", "status.json"}
    assert {name for name in named - variables if not {name, *name.split(".")} & words} == set()


def test_every_file_of_code_is_on_the_map() -> None:
    """By its path, or, behind another one of its folder, by its name alone."""
    utils = [str(path.relative_to(UTILS)) for path in UTILS.rglob("*.py") if path.name != "__init__.py"]
    names = [path.name for path in (ROOT / "plugins" / "plugin_utils").glob("_*.py") if path.name != "__init__.py"]
    alone = set(re.findall(r"`(\w+\.py)`", PAGE))
    left = {one for one in utils if one not in PAGE and Path(one).name not in alone}
    left |= {name for name in names if name not in alone and f"plugins/plugin_utils/{name}" not in PAGE}
    assert left == set()
