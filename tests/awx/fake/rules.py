# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX refuses beyond wrong fields, where this project could get it wrong. Each function raises Refusal."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dateutil.rrule import rrulestr
from jinja2 import StrictUndefined, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tests.awx.fake.kinds import EDGES

if TYPE_CHECKING:
    from tests.awx.fake.store import Store

ENCRYPTED = "$encrypted$"
# awx/main/constants.py: besides everything that begins with ANSIBLE_.
FORBIDDEN_VARIABLES = {
    "VIRTUAL_ENV", "PATH", "PYTHONPATH", "JOB_ID", "INVENTORY_ID", "INVENTORY_SOURCE_ID", "AD_HOC_COMMAND_ID",
    "REST_API_URL", "REST_API_TOKEN", "MAX_EVENT_RES", "CALLBACK_QUEUE", "CALLBACK_CONNECTION", "CACHE", "PROJECT_REVISION",
}  # fmt: skip


class Refusal(Exception):
    """A request that AWX answers with 400."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.answer = {name: [why]}


def playbooks(project: Path) -> list[str]:
    """The files that AWX offers to job templates: those with a line that begins so (awx/main/utils/ansible.py)."""
    found = []
    for folder, folders, names in os.walk(project):
        folders[:] = [
            name for name in folders if name not in ("roles", "tasks", "group_vars", "host_vars") and name[0] != "."
        ]
        found += [Path(folder) / name for name in names if name.endswith((".yml", ".yaml"))]
    begins = re.compile(r"^\s*-?\s*(hosts|include|import_playbook):", re.MULTILINE)
    return sorted(str(path.relative_to(project)) for path in found if begins.search(path.read_text(encoding="utf-8")))


def render(injectors: dict[str, Any], inputs: dict[str, Any], folder: str) -> tuple[dict[str, str], dict[str, str]]:
    """What AWX makes of a credential for a job: variables of the environment, and files (path to content).

    Secrets are put in whole; the templates only place them (awx/main/models/credential: inject_credential).
    """
    jinja = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    files, names = {}, {}
    for label, template in injectors.get("file", {}).items():
        path = f"{folder}/{label.partition('.')[2] or 'file'}"
        files[path] = jinja.from_string(template).render(**inputs) + "\n"
        names[label.partition(".")[2]] = path
    tower = {"filename": names.get("", names)}
    variables = {
        name: jinja.from_string(template).render(**inputs, tower=tower)
        for name, template in injectors.get("env", {}).items()
    }
    return variables, files


def credential_type(store: Store, item: dict[str, Any]) -> None:
    fields = {entry["id"]: entry for entry in item["inputs"].get("fields", [])}
    for entry in fields.values():
        if {"id", "label"} - entry.keys() or entry.keys() - {
            "id",
            "label",
            "type",
            "secret",
            "multiline",
            "help_text",
            "format",
        }:
            raise Refusal("inputs", f"wrong keys in {entry}")
    if set(item["inputs"].get("required", [])) - fields.keys():
        raise Refusal("inputs", "a required field is not defined")
    injectors = item["injectors"]
    for name in injectors.get("env", {}):
        if (
            not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)
            or name.startswith("ANSIBLE_")
            or name in FORBIDDEN_VARIABLES
        ):
            raise Refusal("injectors", f"Environment variable {name} is not allowed to be used in credentials.")
    for name in injectors.get("file", {}):
        if not re.fullmatch(r"template(\.[A-Za-z_][A-Za-z0-9_]*)?", name):
            raise Refusal("injectors", f"{name} is no file")
    try:
        render(injectors, dict.fromkeys(fields, "EXAMPLE"), "/tmp")
    except UndefinedError as error:
        raise Refusal("injectors", str(error)) from error


def credential(store: Store, item: dict[str, Any]) -> None:
    known = {
        entry["id"] for entry in store.objects["credential_types"][item["credential_type"]]["inputs"].get("fields", [])
    }
    if item["inputs"].keys() - known:
        raise Refusal("inputs", f"unknown: {sorted(item['inputs'].keys() - known)}")


def job_template(store: Store, item: dict[str, Any]) -> None:
    if item["playbook"] not in playbooks(store.project):
        raise Refusal("playbook", "Playbook not found for project.")
    if item["inventory"] is None and not item["ask_inventory_on_launch"]:
        raise Refusal("inventory", "Must either set a default value or ask to prompt on launch.")


def inventory_source(store: Store, item: dict[str, Any]) -> None:
    if not (store.project / item["source_path"]).is_file():
        raise Refusal("source_path", "no such inventory in the project")


def schedule(store: Store, item: dict[str, Any]) -> None:
    """awx/api/serializers.py: validate_rrule."""
    text = item["rrule"]
    starts = re.findall(r"DTSTART(;[^:]+)?:([0-9]+T[0-9]+Z?)", text)
    rules = re.findall(r"RULE:(\S*)", text)
    if len(starts) != 1 or not (starts[0][0].startswith(";TZID=") or starts[0][1].endswith("Z")):
        raise Refusal("rrule", "exactly one DTSTART, with TZID or in UTC")
    if not rules or re.search(r"(EX|R)DATE:", text):
        raise Refusal("rrule", "at least one RRULE, no EXDATE, no RDATE")
    for rule in rules:
        if "INTERVAL" not in rule or "SECONDLY" in rule or re.search(r"BYDAY=\d", rule):
            raise Refusal("rrule", f"INTERVAL required, SECONDLY and BYDAY with a number not supported: {rule}")
    try:
        rrulestr(text.replace(" ", "\n"))
    except ValueError as error:
        raise Refusal("rrule", f"rrule parsing failed validation: {error}") from error


def survey(spec: dict[str, Any]) -> None:
    """awx/api/views: JobTemplateSurveySpec."""
    if {"name", "description", "spec"} - spec.keys() or not spec["spec"]:
        raise Refusal("error", "'name', 'description' and a non-empty 'spec' are required in a survey spec.")
    for entry in spec["spec"]:
        if {"type", "question_name", "variable", "required"} - entry.keys():
            raise Refusal("error", f"missing in survey question: {entry}")
        if entry["type"] not in ("text", "textarea", "password", "integer", "float", "multiplechoice", "multiselect"):
            raise Refusal("error", f"'{entry['type']}' is not an allowed survey question type")
    if len({entry["variable"] for entry in spec["spec"]}) != len(spec["spec"]):
        raise Refusal("error", "a 'variable' is used twice")


def association(store: Store, kind: str, number: int, name: str, other: int) -> None:
    """One credential of each type for a job template; a workflow has no second way between two nodes, and no circles."""
    if name == "credentials":
        credentials = store.objects["credentials"]
        types = [credentials[found]["credential_type"] for found in store.associated(kind, number, name)]
        if credentials[other]["credential_type"] in types:
            raise Refusal("detail", "Cannot assign multiple credentials of the same type.")
    if name in EDGES:
        nodes = store.objects[kind]
        if nodes[number]["workflow_job_template"] != nodes[other]["workflow_job_template"]:
            raise Refusal("detail", "Nodes of different workflows.")
        if other in store.children(number) or number in store.descendants(other) or number == other:
            raise Refusal("detail", "Relationship not allowed.")


RULES = {
    "credential_types": credential_type,
    "credentials": credential,
    "inventory_sources": inventory_source,
    "job_templates": job_template,
    "schedules": schedule,
}
