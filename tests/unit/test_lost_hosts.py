# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that is lost in the middle fails its block, which notes it for the table, and nothing takes it for one that is well.

Ansible rescues no host that it calls unreachable, and where it calls all of them so, the play ends without table, journal and
message. So such a task is let go on, and a task after it fails for it. One that was forgotten would be a failure that ends
with exit status 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import ROOT
from tests.unit.test_variables import load, tasks_of, texts

FILES = sorted([*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")])
BUILTIN, OURS = "ansible.builtin.", "holdfast.restic_r2."
INCLUDES = (f"{BUILTIN}import_tasks", f"{BUILTIN}include_tasks")
# What Ansible does by itself, on the machine where it runs.
HERE = {*INCLUDES, f"{OURS}settings", *(f"{BUILTIN}{name}" for name in ("assert", "set_fact", "debug", "meta"))}
# The node's work of one task that is judged by a filter, which knows a result of a node that was lost.
JUDGED = {
    "repository_pruned": "maintenance_report", "repository_verified": "verify_report", "repository_read": "check_report",
    "repository_drilled": "drill_report",
}  # fmt: skip
# No run fails for these: they say in the table what they could not do.
TOLD = {
    "__repository_started", "__repository_sent", "__repository_journal_checked", "__repository_journal_written",
    "__report_written", "__repository_asked", "__repository_token", "__repository_listed", "__repository_tokens",
    "__repository_known", "repository_audited", "__repository_elsewhere",
}  # fmt: skip


def goes(task: dict[str, Any]) -> bool:
    """Whether it is run on another machine."""
    action = next(key for key in task if "." in key) if "block" not in task else ""
    return bool(action) and action not in HERE and task.get("delegate_to") != "localhost"


def inside(task: dict[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    """The tasks that have what is said of this one: of its block, or of its file and those that are included there."""
    for one in tasks_of([task]):
        yield one
        for name in INCLUDES:
            if name in one and "{" not in one[name]:
                for inner in load(folder / one[name]):
                    yield from inside(inner, folder)


def let_go_on() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in FILES:
        found = load(path)
        plays = [play for play in found if "hosts" in play]
        tasks = [task for play in plays for task in play.get("tasks", ())] if "playbooks" in path.parts else found
        for task in tasks_of(tasks):
            if task.get("ignore_unreachable"):
                yield path, task


def refused(path: Path) -> str:
    """All conditions of the asserts of this file and those that it includes, with the role's variables in their places."""
    folder = path.parent
    tasks = load(path) if folder.name == "tasks" else [one for play in load(path) for one in play.get("tasks", ())]
    asserted = [
        one[f"{BUILTIN}assert"]["that"]
        for task in tasks
        for one in inside(task, folder)
        if f"{BUILTIN}assert" in one and "delegate_to" not in one
    ]
    said = " ".join(text for that in asserted for text in texts(that, True))
    variables = load(folder.parent / "vars" / "main.yml") or {} if folder.name == "tasks" else {}
    return said + " ".join(str(value) for name, value in variables.items() if name.endswith("_lost") and name in said)


CASES = list(let_go_on())


@pytest.mark.parametrize(("path", "task"), CASES, ids=[f"{path.stem}-{task['name']}" for path, task in CASES])
def test_a_task_that_is_let_go_on_is_refused_afterwards(path: Path, task: dict[str, Any]) -> None:
    judged = " ".join(" ".join(texts(load(path))).split())
    said = refused(path)
    for one in inside(task, path.parent):
        if not goes(one):
            continue
        assert "register" in one, f"{one['name']}: no one could know that it was lost"
        name = one["register"]
        known = f"{name} is not unreachable" in said or ("unreachable" in said and f"{name}," in said.replace("]", ","))
        assert known or name in TOLD or f"{name} | holdfast.restic_r2.{JUDGED.get(name)}" in judged, one["name"]


def test_what_is_done_on_a_host_is_let_go_on() -> None:
    """All of it, but for the guard, which is no play with a table."""
    for path in ROOT.glob("roles/*/tasks/*.yml"):
        for task in tasks_of(load(path)):
            if "ansible_host" in task.get("vars", {}) and path.parts[-3] != "guard":
                assert task.get("ignore_unreachable") is True, f"{path}: {task['name']}"


def at_once(tasks: list[dict[str, Any]], given: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The tasks that another machine does once for all hosts, with what is said of them or of the blocks that they are in."""
    for task in tasks:
        said = {**given, **{key: value for key, value in task.items() if key in ("delegate_to", "ignore_errors")}}
        for part in ("block", "rescue", "always"):
            yield from at_once(task.get(part, []), said)
        if task.get("run_once") and "delegate_to" in said and goes({**task, "delegate_to": said["delegate_to"]}):
            yield task, said


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("roles/*/tasks/*.yml")), ids=lambda path: f"{path.parts[-3]}-{path.stem}"
)
def test_a_node_that_is_lost_by_what_runs_once_ends_nothing_for_the_hosts_of_others(path: Path) -> None:
    """Ansible takes such a task for fatal to all hosts unless it ignores errors, also where it ignores that it is lost."""
    for task, said in at_once(load(path), {}):
        assert said.get("ignore_errors") is True, task["name"]
