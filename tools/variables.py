# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All variables that begin with holdfast_: type, default, meaning, and which playbooks and roles use them; then the names of
the others.

Read from meta/variables.yml and from the argument specs, defaults and tasks of the roles, so that each is described once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tools.markdown import cell, code, kind, plain

ROOT = Path(__file__).resolve().parents[1]
# The first of these that has an option for a variable describes it.
ROLES = ("repository", "backup", "credentials", "restic", "guard", "report")
NAME = re.compile(r"\bholdfast_[a-z0-9_]+\b(?!\.)")
INTRODUCTION = """\
# Variables

All variables of playbooks and roles that begin with `holdfast_`. Set them in the inventory, for all hosts or for one, or with
`-e` for one run. The roles have [more](#of-single-roles), without that beginning, which their READMEs explain. What a host says
of itself is never taken for a setting.

*Used by* names playbooks, and the roles that use a variable without a playbook. *All but* means all playbooks but those that
follow.

This page is generated from `meta/variables.yml` and `roles/*/meta/argument_specs.yml` by `make format`.

| Variable | Type | Default | Used by | Meaning |
| --- | --- | --- | --- | --- |
"""


OF_ROLES = """
## Of single roles

What concerns one role only is a variable of that role, set in the inventory in the same way. Type, default and meaning are in the
role's README.

| Role | Variables |
| --- | --- |
"""


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def source(expression: str) -> str:
    """The variable that the default of a role's option begins with; empty when it is another expression."""
    found = re.match(r"\s*\{\{\s*(holdfast_\w+)", expression)
    return found[1] if found else ""


class Role:
    """A role: its options and what they hang on.

    Args:
        name: Its name.
    """

    def __init__(self, name: str) -> None:
        self.folder = ROOT / "roles" / name
        self.specs: dict[str, Any] = load(self.folder / "meta" / "argument_specs.yml")["argument_specs"]
        self.options: dict[str, Any] = {}
        for spec in self.specs.values():
            self.options = {**(spec.get("options") or {}), **self.options}
        self.expressions: dict[str, str] = {}
        for part in ("defaults", "vars"):
            for variable, value in (load(self.folder / part / "main.yml") or {}).items():
                self.expressions[variable] = str(value)

    def reads(self, tasks: str) -> Iterator[str]:
        """The variables that a file of tasks reads, and all files that it includes."""
        for task in flat(load(self.folder / "tasks" / f"{tasks}.yml")):
            settings = task.get("holdfast.restic_r2.settings")
            if settings is not None:
                yield from (self.specs.get(settings.get("entry_point"), {}).get("options") or {})
                yield from settings.get("variables", ())
            for key in ("ansible.builtin.import_tasks", "ansible.builtin.include_tasks"):
                if key in task:
                    yield from self.reads(task[key].removesuffix(".yml"))


def flat(tasks: Any) -> Iterator[dict[str, Any]]:
    """All tasks, also those in blocks."""
    for task in tasks or ():
        yield task
        for part in ("block", "rescue", "always"):
            yield from flat(task.get(part))


class Collection:
    """What the collection says of its variables."""

    def __init__(self) -> None:
        self.roles = {name: Role(name) for name in ROLES}
        self.expressions = {name: value for role in self.roles.values() for name, value in role.expressions.items()}
        self.specs: dict[str, Any] = load(ROOT / "meta" / "variables.yml")
        self.playbooks = [path for path in sorted((ROOT / "playbooks").glob("*.yml")) if path.stem != "preflight"]

    def used(self) -> dict[str, list[str]]:
        """Each variable, with the playbooks and roles that use it."""
        places = {path.stem: self.of_playbook(path) for path in self.playbooks}
        in_playbooks = set().union(*places.values())
        for name, role in self.roles.items():
            # The guard is in no playbook; of others, what only their own plays would use.
            names = self.closure(role.reads("main"))
            places[f"role `{name}`"] = names if name == "guard" else names - in_playbooks
        found: dict[str, list[str]] = {}
        for place, names in places.items():
            for name in names:
                found.setdefault(name, []).append(place)
        return found

    def of_playbook(self, path: Path) -> set[str]:
        names = set(NAME.findall(re.sub(r"(?m)^\s*#.*$", "", path.read_text(encoding="utf-8"))))
        names |= set(self.specs.get(path.stem) or ())
        reads: set[str] = set()
        for play in load(path):
            for role in play.get("roles", ()):
                reads |= set(self.roles[role.rpartition(".")[2]].reads("main"))
            tasks = [task for part in ("pre_tasks", "tasks", "post_tasks") for task in flat(play.get(part))]
            for task in tasks:
                reads |= set((task.get("holdfast.restic_r2.settings") or {}).get("variables", ()))
                for key in ("ansible.builtin.import_role", "ansible.builtin.include_role"):
                    if key in task:
                        role = self.roles[task[key]["name"].rpartition(".")[2]]
                        reads |= set(role.reads(task[key].get("tasks_from", "main")))
        return names | self.closure(reads)

    def closure(self, names: Any) -> set[str]:
        """The variables of ours that these hang on."""
        seen, left = set(), list(names)
        while left:
            name = left.pop()
            if name not in seen:
                seen.add(name)
                # What stands in quotes is a text or a key.
                left += re.findall(r"\b\w+\b", re.sub(r"'[^']*'", "", self.expressions.get(name, "")))
        return {name for name in seen if NAME.fullmatch(name)}

    def option(self, variable: str) -> dict[str, Any]:
        """What describes a variable: its own spec, or the option of a role that takes its value from it."""
        own: dict[str, Any] = next((spec[variable] for spec in self.specs.values() if variable in spec), {})
        if "like" not in own and own:
            return dict(own)
        name = own.get("like") or self._taker(variable)
        role = self.roles[name.partition("_")[0]]
        described = {"default": self._literal(name), **role.options[name]}
        described["description"] = self._of_this(plain(described["description"]))
        return {key: value for key, value in described.items() if value is not None}

    def _taker(self, variable: str) -> str:
        """The option that takes its value from a variable: best one that begins with it."""
        for fits in (lambda text: source(text) == variable, lambda text: variable in NAME.findall(text)):
            for role in self.roles.values():
                for name in role.options:
                    if fits(role.expressions.get(name, "")):
                        return name
        handed = [name for path in self.playbooks for name, value in self._handed(path).items() if value == variable]
        if handed:
            return handed[0]
        raise LookupError(f"No spec describes {variable}: write one into meta/variables.yml.")

    def _literal(self, name: str) -> Any:
        """The default of an option that takes its value from elsewhere, where it is a plain value."""
        found = re.search(r"default\((\d+|'[^']+'|\{[^}]+\}|\[[^\[\]]+\])\)\s*\}\}", self.expressions.get(name, ""))
        return yaml.safe_load(found[1]) if found else None

    def _of_this(self, text: str) -> str:
        """A description of an option as one of the variable; where it comes from goes without saying."""
        text = re.sub(r"(?:Taken f|F)rom C\(holdfast_\w+\)(?: when not set)?\.\s*", "", text + " ").strip()
        text = re.sub(r"From C\(holdfast_\w+\), else ", "Default: ", text)
        text = re.sub(r"From C\(holdfast_\w+\), which (\w)", lambda match: f"It {match[1]}", text)
        return re.sub(r"O\((\w+)\)", lambda match: f"C({self._variable_of(match[1])})", text)

    def _variable_of(self, name: str) -> str:
        """The variable from which an option of a role takes its value, or its own name."""
        taken = source(self.expressions.get(name, ""))
        handed = [self._handed(path)[name] for path in self.playbooks if name in self._handed(path)]
        return taken or next(iter(handed), name)

    def _handed(self, path: Path) -> dict[str, str]:
        """The options of roles to which a playbook hands a variable."""
        return dict(re.findall(r"(\w+): \"\{\{ (holdfast_\w+)", path.read_text(encoding="utf-8")))

    def of_roles(self) -> dict[str, list[str]]:
        """The variables of each role that take their value from none of those that begin with holdfast_."""
        texts = [path.read_text(encoding="utf-8") for path in self.playbooks]
        handed = {name for text in texts for name in re.findall(r"^ +(\w+): ", text, re.MULTILINE)}
        return {
            name: [one for one in role.options if one not in handed and not self.closure([one])]
            for name, role in self.roles.items()
        }


def cell_of_places(places: list[str], playbooks: list[str]) -> str:
    """Where a variable is used, by what is missing where that is shorter; nothing comes after what is missing."""
    missing = [name for name in playbooks if name not in places]
    others = [name for name in places if name not in playbooks]
    if len(missing) > 3:
        return ", ".join([*(f"`{name}`" for name in places if name in playbooks), *others])
    told = "all but " + ", ".join(f"`{name}`" for name in missing) if missing else "all"
    return "; ".join([*([", ".join(others)] if others else []), told])


def page() -> str:
    """docs/variables.md"""
    collection = Collection()
    playbooks = [path.stem for path in collection.playbooks]
    lines = []
    for variable, places in sorted(collection.used().items()):
        option = collection.option(variable)
        default = "**required**" if option.get("required") else code(option["default"]) if "default" in option else ""
        cells = [f"`{variable}`", kind(option), default, cell_of_places(places, playbooks), cell(option)]
        lines.append(f"| {' | '.join(cells)} |\n")
    roles = [
        f"| [{name}](../roles/{name}/README.md) | {', '.join(f'`{one}`' for one in sorted(own))} |\n"
        for name, own in collection.of_roles().items()
    ]
    return INTRODUCTION + "".join(lines) + OF_ROLES + "".join(roles)
