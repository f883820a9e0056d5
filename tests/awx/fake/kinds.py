# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What kinds of objects there are, with the fields that AWX knows and the values that they have when nobody says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One kind of objects.

    Args:
        type: What AWX calls it in the field "type".
        fields: The fields that may be set, with their defaults.
        required: Which of them have none.
        foreign: Which fields hold the id of an object of another kind.
        unique: The natural key.
        lists: Lists of associated objects, and of which kind these are.
        unified: Whether it can be run, and so be found among unified_job_templates.
    """

    type: str
    fields: dict[str, Any]
    required: tuple[str, ...] = ()
    foreign: dict[str, str] = field(default_factory=dict)
    unique: tuple[str, ...] = ("name", "organization")
    lists: dict[str, str] = field(default_factory=dict)
    unified: bool = False


NOTIFICATIONS = {f"notification_templates_{when}": "notification_templates" for when in ("started", "success", "error")}
PROMPTS = {
    f"ask_{what}_on_launch": False
    for what in (
        "credential", "diff_mode", "execution_environment", "forks", "instance_groups", "inventory", "job_slice_count",
        "job_type", "labels", "limit", "scm_branch", "skip_tags", "tags", "timeout", "variables", "verbosity",
    )
}  # fmt: skip
WORKFLOW_PROMPTS = ("inventory", "labels", "limit", "scm_branch", "skip_tags", "tags", "variables")
EDGES = ("always_nodes", "failure_nodes", "success_nodes")
NAMED: dict[str, Any] = {"name": None, "description": "", "organization": None}
RUN = {"extra_data": {}, "inventory": None, "job_type": None, "limit": None, "job_tags": None, "skip_tags": None}

# fmt: off
KINDS = {
    "organizations": Kind("organization", {"name": None, "description": ""}, ("name",), unique=("name",)),
    "instance_groups": Kind("instance_group", {"name": None}, ("name",), unique=("name",)),
    "notification_templates": Kind("notification_template", NAMED, ("name",), {"organization": "organizations"}),
    "credential_types": Kind(
        "credential_type",
        {"name": None, "description": "", "kind": None, "managed": False, "inputs": {}, "injectors": {}},
        ("name", "kind"),
        unique=("name", "kind"),
    ),
    "credentials": Kind(
        "credential",
        {**NAMED, "credential_type": None, "inputs": {}},
        ("name", "credential_type"),
        {"organization": "organizations", "credential_type": "credential_types"},
        ("name", "organization", "credential_type"),
    ),
    "execution_environments": Kind(
        "execution_environment",
        {**NAMED, "image": None, "credential": None, "pull": ""},
        ("name", "image"),
        {"organization": "organizations", "credential": "credentials"},
        ("name",),
    ),
    "projects": Kind(
        "project",
        {
            **NAMED, "scm_type": "", "scm_url": "", "scm_branch": "", "scm_update_on_launch": False, "allow_override": False,
            "credential": None, "timeout": 0, "default_environment": None, "scm_revision": "",
        },
        ("name",),
        {"organization": "organizations", "credential": "credentials", "default_environment": "execution_environments"},
        lists=NOTIFICATIONS,
        unified=True,
    ),
    "inventories": Kind(
        "inventory",
        {**NAMED, "kind": "", "host_filter": None, "variables": ""},
        ("name", "organization"),
        {"organization": "organizations"},
        lists={"instance_groups": "instance_groups"},
    ),
    "inventory_sources": Kind(
        "inventory_source",
        {
            "name": None, "description": "", "inventory": None, "source": None, "source_project": None, "source_path": "",
            "execution_environment": None, "overwrite": False, "overwrite_vars": False, "update_on_launch": False,
            "update_cache_timeout": 0, "timeout": 0, "verbosity": 1,
        },
        ("name", "inventory", "source"),
        {"inventory": "inventories", "source_project": "projects", "execution_environment": "execution_environments"},
        ("name", "inventory"),
        NOTIFICATIONS,
        unified=True,
    ),
    "job_templates": Kind(
        "job_template",
        {
            **NAMED, **PROMPTS, "job_type": "run", "project": None, "playbook": "", "inventory": None, "limit": "",
            "forks": 0, "verbosity": 0, "timeout": 0, "extra_vars": "", "job_tags": "", "skip_tags": "",
            "execution_environment": None, "job_slice_count": 1, "allow_simultaneous": False, "survey_enabled": False,
        },
        ("name", "project", "playbook"),
        {
            "organization": "organizations", "project": "projects", "inventory": "inventories",
            "execution_environment": "execution_environments",
        },
        lists={"credentials": "credentials", "instance_groups": "instance_groups", **NOTIFICATIONS},
        unified=True,
    ),
    "workflow_job_templates": Kind(
        "workflow_job_template",
        {
            **NAMED, **{f"ask_{what}_on_launch": False for what in WORKFLOW_PROMPTS}, "inventory": None, "limit": None,
            "extra_vars": "", "allow_simultaneous": False, "survey_enabled": False, "job_tags": None, "skip_tags": None,
        },
        ("name",),
        {"organization": "organizations", "inventory": "inventories"},
        lists=NOTIFICATIONS,
        unified=True,
    ),
    "workflow_job_template_nodes": Kind(
        "workflow_job_template_node",
        {
            **RUN, "identifier": None, "workflow_job_template": None, "unified_job_template": None,
            "all_parents_must_converge": False,
        },
        ("identifier", "workflow_job_template", "unified_job_template"),
        {"workflow_job_template": "workflow_job_templates", "unified_job_template": "unified_job_templates"},
        ("identifier", "workflow_job_template"),
        dict.fromkeys(EDGES, "workflow_job_template_nodes"),
    ),
    "schedules": Kind(
        "schedule",
        {**RUN, "name": None, "description": "", "rrule": None, "unified_job_template": None, "enabled": True},
        ("name", "rrule", "unified_job_template"),
        {"unified_job_template": "unified_job_templates"},
        ("name", "unified_job_template"),
    ),
}
# fmt: on
UNIFIED = "unified_job_templates"
