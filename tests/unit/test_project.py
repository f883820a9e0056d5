# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for the project as a whole: that its parts agree with each other and keep to its own rules."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common import arguments as _arguments

from tools.stage import project_files

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "ansible_collections.holdfast.restic_r2.plugins"
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py"))
FRAGMENTS = {
    "cloudflare": _arguments.CLOUDFLARE,
    "s3": _arguments.S3,
    "restic": _arguments.RESTIC,
    "fence": _arguments.FENCE,
}

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40


def python_files() -> list[Path]:
    return [name for name in project_files() if name.suffix == ".py"]


def text_files() -> Iterator[tuple[Path, str]]:
    for name in project_files():
        try:
            yield name, (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def documentation(module: str, part: str = "DOCUMENTATION") -> Any:
    """A part of a module's documentation, read from its source without importing it."""
    tree = ast.parse((ROOT / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == part:
            return yaml.safe_load(ast.literal_eval(node.value))
    pytest.fail(f"{module} has no {part}.")


def fragment_options(name: str) -> dict[str, Any]:
    fragment = importlib.import_module(f"{PACKAGE}.doc_fragments.{name}").ModuleDocFragment
    # What extends a fragment extends its place, too.
    parts = [part for part in ("PLACE", "DOCUMENTATION") if hasattr(fragment, part)]
    return {
        option: docs for part in parts for option, docs in yaml.safe_load(getattr(fragment, part))["options"].items()
    }


def code_lines(function: ast.AST) -> int:
    """How many lines a function has, without its docstring and without functions inside it."""
    assert isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    lines: set[int] = set()
    for statement in body:
        lines.update(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
    return len(lines)


def test_the_action_group_is_the_modules_that_say_they_belong_to_it() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    fragment = "holdfast.restic_r2.attributes.actiongroup_r2"
    members = [module for module in MODULES if fragment in documentation(module)["extends_documentation_fragment"]]
    assert runtime["action_groups"]["r2"] == members


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_documented_whole(module: str) -> None:
    docs = documentation(module)
    assert docs["module"] == module
    assert docs["short_description"] and not docs["short_description"].endswith(".")
    assert docs["description"]
    assert str(docs["version_added"]) == "0.1.0"
    assert documentation(module, "EXAMPLES"), "at least one example"
    returns = documentation(module, "RETURN")
    assert returns, "at least one returned value"
    for name, value in returns.items():
        assert {"description", "returned", "type"} <= value.keys(), name
    for task in documentation(module, "EXAMPLES"):
        names = [key for key in task if key.startswith("holdfast.restic_r2.")]
        assert names or any("." in key for key in task), f"a task of the examples without a full name: {task}"


@pytest.mark.parametrize("name", FRAGMENTS)
def test_a_fragment_documents_exactly_the_options_that_modules_take(name: str) -> None:
    options, spec = fragment_options(name), FRAGMENTS[name]
    assert options.keys() == spec.keys()
    for option, documented in options.items():
        for key in ("type", "default", "required", "choices", "elements"):
            assert documented.get(key) == spec[option].get(key), f"{option}: {key}"
        fallback = spec[option].get("fallback")
        for variable in fallback[1] if fallback else ():
            assert f"E({variable})" in " ".join(documented["description"]), option


@pytest.mark.parametrize("name", FRAGMENTS)
def test_a_fragment_is_written_out(name: str) -> None:
    """ansible-test reads the code, not what it evaluates to, and stumbles over a sum of two texts."""
    tree = ast.parse((ROOT / "plugins" / "doc_fragments" / f"{name}.py").read_text(encoding="utf-8"))
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    assert values and all(isinstance(value, ast.Constant) for value in values)


class OncePerKey(yaml.SafeLoader):
    """Refuses a mapping that has a key twice, of which YAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _value in node.value]
        assert len(keys) == len(set(keys)), f"twice in line {node.start_mark.line}: {sorted(keys)}"
        return super().construct_mapping(node, deep)  # type: ignore[no-any-return]


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_documented_twice_in_one_module(module: str) -> None:
    tree = ast.parse((ROOT / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("DOCUMENTATION", "RETURN"):
            yaml.load(ast.literal_eval(node.value), Loader=OncePerKey)


def test_no_two_modules_describe_an_option_in_the_same_words() -> None:
    """What several modules have stands in plugins/doc_fragments, once."""
    described: dict[tuple[str, str], list[str]] = {}
    for module in MODULES:
        for name, option in (documentation(module).get("options") or {}).items():
            told = option["description"]
            text = " ".join(told) if isinstance(told, list) else told
            if len(text) > 40:
                described.setdefault((name, text), []).append(module)
    assert {key: modules for key, modules in described.items() if len(modules) > 1} == {}


def test_every_secret_is_kept_out_of_logs() -> None:
    for spec in FRAGMENTS.values():
        for name, option in spec.items():
            if re.search(r"token|secret|password", name):
                assert option.get("no_log") is True, name


def test_no_file_is_too_long() -> None:
    lengths = {str(name): len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in python_files()}
    assert {name: length for name, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    long = {}
    for name in python_files():
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and code_lines(node) > MAX_FUNCTION_LINES:
                long[f"{name}:{node.name}"] = code_lines(node)
    assert long == {}


def test_no_file_names_this_machine_or_where_packages_come_from() -> None:
    # Package clients know their registries, and a mirror may be set up for them. (Joined, or this file would be one.)
    hosts = [
        ".".join(parts)
        for parts in (("pypi", "org"), ("pythonhosted", "org"), ("deb", "debian", "org"), ("npmjs", "org"))
    ]
    # The folder around the checkout, unless every machine has one of that name.
    everywhere = {Path(name) for name in ("/", "/home", "/opt", "/root", "/srv", "/tmp", "/var/tmp")}
    around = [f"{ROOT}/"] + ([f"{ROOT.parent}/"] if ROOT.parent not in everywhere else [])
    found = [
        f"{name}: {word}"
        for name, text in text_files()
        for word in hosts + around
        if re.search(rf"(?<![\w/.-]){re.escape(word)}" if word in around else re.escape(word), text)
    ]
    assert found == []


def test_every_python_file_names_its_licence() -> None:
    bare = [
        str(name)
        for name in python_files()
        if (ROOT / name).stat().st_size
        and "SPDX-License-Identifier: GPL-3.0-or-later" not in (ROOT / name).read_text()[:600]
    ]
    assert bare == []


def test_sentences_say_who_acts() -> None:
    """A subject such as whoever makes a riddle of a sentence."""
    riddle = re.compile(r"\b(whoever|whomever|somebody|anybody|what is wanted)\b", re.IGNORECASE)
    places = [ROOT / name for name in ("plugins", "roles", "playbooks", "docs", "monitoring", "examples")]
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(path for place in places for path in place.rglob("*.*"))]
    texts = {path: path.read_text("utf-8") for path in files if path.suffix in {".py", ".yml", ".md", ".j2"}}
    found = {str(path.relative_to(ROOT)): match[0] for path, text in texts.items() if (match := riddle.search(text))}
    assert found == {}


def test_there_are_no_lists_of_ignored_findings() -> None:
    assert list((ROOT / "tests").glob("sanity/ignore*")) == []
    assert not (ROOT / ".ansible-lint-ignore").exists()


def test_what_an_execution_environment_needs_is_named_by_files_that_exist() -> None:
    definition = yaml.safe_load((ROOT / "meta" / "execution-environment.yml").read_text(encoding="utf-8"))
    for path in definition["dependencies"].values():
        assert (ROOT / path).is_file()


def test_the_changelog_lists_every_module_and_role() -> None:
    changelog = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))
    releases = changelog["releases"].values()
    listed = sorted(module["name"] for release in releases for module in release.get("modules", []))
    assert listed == MODULES, "run `make changelog`"
    roles = [role["name"] for release in releases for role in release.get("objects", {}).get("role", [])]
    assert sorted(roles) == sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


@pytest.mark.parametrize("role", sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir()))
def test_the_defaults_of_a_role_are_the_documented_ones(role: str) -> None:
    folder = ROOT / "roles" / role
    specs = yaml.safe_load((folder / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    defaults = yaml.safe_load((folder / "defaults" / "main.yml").read_text(encoding="utf-8")) or {}
    documented = {name: option for spec in specs.values() for name, option in (spec.get("options") or {}).items()}
    assert sorted(defaults.keys() - documented.keys()) == [], "variables that no argument spec documents"
    for name, option in documented.items():
        assert name.startswith((f"{role}_", "holdfast_")), f"{name} does not carry the role's name"
        if "default" in option and "{{" not in str(defaults.get(name, "{{")):
            assert defaults[name] == option["default"], name
