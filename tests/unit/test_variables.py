# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No task reads a variable that a host could set by a fact.

Facts outrank inventory and role defaults. Registered results, the vars of plays, roles and tasks, and Ansible's own variables
outrank facts. So tasks may read only those, and settings reach them as a registered result of the module `settings`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import pytest
import yaml
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils import _without_facts

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
# Set by Ansible above everything else, in every task.
MAGIC = {
    "ansible_check_mode", "ansible_play_batch", "ansible_play_hosts_all", "ansible_playbook_python", "ansible_run_tags",
    "ansible_skip_tags", "groups", "hostvars", "role_path",
}  # fmt: skip
# What a host is refused for, loops, what `template` adds to the variables, and what Ansible registers in a rescue.
GIVEN = {"item", "ansible_managed", "ansible_failed_result"} | (_without_facts.TAKEN - {"inventory_hostname"})
EXPRESSIONS = ("when", "until", "changed_when", "failed_when", "that")
# What a host says of itself, and where: through a filter with a closed list of answers.
SAID = {("upstream.yml", "ansible_facts")}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


class Known(dict[str, Any]):
    """Filters and tests, of which there are all."""

    def get(self, key: str, default: Any = None) -> Any:
        return str


def names_of(template: str) -> set[str]:
    environment = jinja2.Environment()
    environment.filters, environment.tests = Known(), Known()
    return jinja2.meta.find_undeclared_variables(environment.parse(template))


def texts(value: Any, expression: bool = False) -> Iterator[str]:
    """All templates below a value; conditions are expressions without braces."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, expression or key in EXPRESSIONS)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, expression)
    elif isinstance(value, str):
        yield "{{ " + value + " }}" if expression and "{{" not in value else value


def read_names(value: Any) -> set[str]:
    return {name for text in texts(value) for name in names_of(text)}


def tasks_of(tasks: Any) -> Iterator[dict[str, Any]]:
    for task in tasks or ():
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks_of(task.get(part))


def registered(tasks: Any) -> set[str]:
    return {task["register"] for task in tasks_of(tasks) if "register" in task}


def noted(tasks: Any) -> set[str]:
    """What set_fact sets from what it may read; it outranks facts, too."""
    return {name for task in tasks_of(tasks) for name in task.get("ansible.builtin.set_fact", {})}


def wrong_in(tasks: Any, allowed: set[str]) -> dict[str, set[str]]:
    """Task by task, the names that a fact could set. What a block defines holds for its tasks."""
    wrong: dict[str, set[str]] = {}
    for task in tasks or ():
        inside = allowed | set(task.get("vars", {}))
        parts = {part: task[part] for part in ("block", "rescue", "always") if part in task}
        rest = {key: value for key, value in task.items() if key not in parts}
        if "holdfast.restic_r2.settings" in task:
            rest.pop("vars", None)  # evaluated without facts
        found = read_names(rest) - inside
        if found:
            wrong[task["name"]] = found
        for part in parts.values():
            wrong.update(wrong_in(part, inside))
    return wrong


def settled(variables: dict[str, Any], allowed: set[str]) -> set[str]:
    """Those role variables that hang on nothing that a fact could set."""
    good: set[str] = set()
    while True:
        more = {name for name, value in variables.items() if read_names(value) <= allowed | good | {name}}
        if more == good:
            return good
        good = more


def role_tasks(role: Path) -> list[tuple[str, Any]]:
    return [(path.name, load(path)) for part in ("tasks", "handlers") for path in sorted((role / part).glob("*.yml"))]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_tasks_of_a_role_read_nothing_that_a_fact_could_set(role: Path) -> None:
    variables = load(role / "vars" / "main.yml") or {}
    everything = [task for _name, tasks in role_tasks(role) for task in tasks]
    placed = (registered(everything) | noted(everything)) & set(variables)
    allowed = MAGIC | GIVEN | placed | settled(variables, MAGIC | GIVEN | placed | {"job", "credentials_written"})
    for name, tasks in role_tasks(role):
        said = {word for file, word in SAID if file == name}
        assert wrong_in(tasks, allowed | said) == {}, name
    for template in sorted((role / "templates").glob("*.j2")):
        found = names_of(template.read_text(encoding="utf-8")) - allowed - {"job", "credentials_written"}
        assert found == set(), template.name


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda playbook: playbook.stem)
def test_plays_read_nothing_that_a_fact_could_set(playbook: Path) -> None:
    for play in load(playbook):
        tasks = [task for part in ("pre_tasks", "tasks", "post_tasks") for task in play.get(part, ())]
        # Handed to a role, which reads its settings without facts.
        for task in tasks_of(tasks):
            if "ansible.builtin.include_role" in task or "ansible.builtin.import_role" in task:
                task.pop("vars", None)
        assert wrong_in(tasks, MAGIC | GIVEN | set(play.get("vars", {}))) == {}, play["name"]


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda playbook: playbook.stem)
def test_what_one_host_does_to_the_others_is_not_left_to_a_configuration(playbook: Path) -> None:
    plays = [play for play in load(playbook) if "hosts" in play]
    assert [play["any_errors_fatal"] for play in plays] == [False] * len(plays) != []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_no_variable_of_a_group_makes_another_user_of_the_nodes(role: Path) -> None:
    """A variable outranks the keyword `become`, and one of the group `all` reaches the node, too."""
    for name, tasks in role_tasks(role):
        for task in tasks_of(tasks):
            if task.get("become") is False:
                assert task["vars"]["ansible_become"] is False, (name, task["name"])


def role_task(task: dict[str, Any]) -> tuple[str, str]:
    """Which tasks of the role `repository` it imports, and for which run."""
    imported = task.get("ansible.builtin.import_role", {})
    return imported.get("tasks_from", ""), str(task.get("vars", {}).get("__repository_run", ""))


# Those that people read at once, and what has a play of its own kind.
@pytest.mark.parametrize(
    "playbook",
    [path for path in PLAYBOOKS if path.stem not in ("preflight", "relock", "report", "list")],
    ids=lambda playbook: playbook.stem,
)
def test_every_playbook_tells_its_begin_and_its_end_however_that_comes(playbook: Path) -> None:
    """Whatever fails for a host, for all of them, too: the table, the journal and the messages come after it."""
    play = load(playbook)[-1]
    *_before, begin, block, end = play["tasks"]
    assert (role_task(begin), role_task(end)) == (("begin", playbook.stem), ("end", playbook.stem))
    assert play["strategy"] == "linear" and not {"roles", "pre_tasks", "post_tasks"} & play.keys()
    assert "holdfast.restic_r2.settings" in block["block"][0], "a setting that is refused is told as all else is"
    noted = [
        task["ansible.builtin.set_fact"]["repository_report"]
        for task in tasks_of(block["rescue"])
        if "repository_report" in task.get("ansible.builtin.set_fact", {})
    ]
    # The task that failed has told why.
    assert noted and all(report["told"] is True and report["done"] is False for report in noted)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_no_task_that_goes_to_a_host_waits_for_it_without_an_end(role: Path) -> None:
    """What a role does on a host is imported with the address of the host, and with the time that it may take."""
    for name, tasks in role_tasks(role):
        going = [task for task in tasks_of(tasks) if "ansible_host" in task.get("vars", {})]
        assert [task["name"] for task in going if "contact_timeout" not in str(task.get("timeout"))] == [], name


def loops_on_hosts(tasks: Any) -> list[str]:
    """The loops that contact a host more than once.

    From the second item on, a fact that the host gave for the first one outranks all else, and may name another host.
    """
    return [
        task["name"]
        for task in tasks_of(tasks)
        if "ansible.builtin.include_tasks" not in task and any(key == "loop" or key.startswith("with_") for key in task)
    ]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_no_task_of_a_role_is_a_loop(role: Path) -> None:
    for name, tasks in role_tasks(role):
        assert loops_on_hosts(tasks) == [], name


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda playbook: playbook.stem)
def test_no_task_of_a_playbook_is_a_loop(playbook: Path) -> None:
    for play in load(playbook):
        for part in ("pre_tasks", "tasks", "post_tasks"):
            assert loops_on_hosts(play.get(part)) == [], play["name"]


def test_a_loop_on_a_host_is_found() -> None:
    tasks = [{"name": "Here", "loop": [1], "file": {}}, {"block": [{"name": "There", "with_items": [1], "file": {}}]}]
    included = {"name": "By tasks of their own", "loop": [1], "ansible.builtin.include_tasks": "x.yml"}
    assert loops_on_hosts([*tasks, included]) == ["Here", "There"]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_what_is_registered_has_a_place_that_no_fact_can_take_before(role: Path) -> None:
    variables = load(role / "vars" / "main.yml") or {}
    everything = [task for _name, tasks in role_tasks(role) for task in tasks]
    assert sorted(registered(everything) - set(variables)) == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_entry_point_begins_with_its_settings(role: Path) -> None:
    for entry in load(role / "meta" / "argument_specs.yml")["argument_specs"]:
        path = role / "tasks" / f"{entry}.yml"
        first = load(path)[0]
        if "ansible.builtin.import_tasks" in first:
            first = load(role / "tasks" / first["ansible.builtin.import_tasks"])[0]
        assert first["holdfast.restic_r2.settings"]["entry_point"] == entry


def files_of(role: Path, name: str) -> list[Path]:
    """A file of tasks, and all that it imports or includes."""
    path = role / "tasks" / name
    found = [path]
    for task in tasks_of(load(path)):
        for key in ("ansible.builtin.import_tasks", "ansible.builtin.include_tasks"):
            if key in task:
                found += files_of(role, task[key])
    return found


@pytest.mark.parametrize(
    ("role", "entry"),
    [(role, entry) for role in ROLES for entry in load(role / "meta" / "argument_specs.yml")["argument_specs"]],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_every_setting_that_a_task_uses_is_read(role: Path, entry: str) -> None:
    specs = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    text = "".join(path.read_text(encoding="utf-8") for path in files_of(role, f"{entry}.yml"))
    if entry == "main":
        text += "".join(path.read_text(encoding="utf-8") for path in (role / "templates").glob("*"))
    read: dict[str, set[str]] = {}
    for path in files_of(role, f"{entry}.yml"):
        for task in tasks_of(load(path)):
            wanted = task.get("holdfast.restic_r2.settings")
            if wanted:
                names = [*specs.get(wanted.get("entry_point"), {}).get("options", {}), *wanted.get("variables", [])]
                short = {name.removeprefix("__").removeprefix(f"{role.name}_") for name in names}
                read.setdefault(
                    task["register"], {"inventory_hostname", "address", "pretence", "misspelt", "fleet"}
                ).update(short)
    used = {(register, name) for register in read for name in re.findall(rf"\b{register}\.(\w+)", text)}
    assert sorted((register, name) for register, name in used if name not in read[register]) == []


def test_a_task_that_reads_a_setting_is_found() -> None:
    tasks = [{"name": "Here", "debug": {"msg": "{{ holdfast_api_url }}"}, "when": "repository_manage_token"}]
    assert wrong_in(tasks, MAGIC) == {"Here": {"holdfast_api_url", "repository_manage_token"}}
    assert settled({"a": "{{ b }}", "b": 1, "c": "{{ holdfast_x }}", "d": "{{ c }}"}, MAGIC) == {"a", "b"}
