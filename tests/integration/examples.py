# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the EXAMPLES of a module's documentation as a playbook, with the stand-in in place of Cloudflare."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import yaml

from tests.stand_in.client import StandIn
from tests.support.running import COLLECTION, ROOT, Ansible, Run

# Options that say where and as whom; in the examples they name the reader's own account.
CONNECTION = ("account_id", "api_token", "api_url", "s3_endpoint", "access_key_id", "secret_access_key")


def documentation(module: str, name: str) -> Any:
    """DOCUMENTATION, EXAMPLES or RETURN of a module, as data."""
    tree = ast.parse((ROOT / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == [name]:
            return yaml.safe_load(ast.literal_eval(node.value))
    raise AssertionError(f"{module} has no {name}")


def tasks(module: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The examples of a module, without the options of CONNECTION, and with `options` in every call of the module."""
    found = documentation(module, "EXAMPLES")
    for task in found:
        for action, arguments in task.items():
            if action.startswith(f"{COLLECTION}.") and isinstance(arguments, dict):
                for name in CONNECTION:
                    arguments.pop(name, None)
                arguments.update(options if action == f"{COLLECTION}.{module}" else {})
    return list(found)


def module_defaults(stand_in: StandIn) -> dict[str, dict[str, str]]:
    """Account, token and addresses of a stand-in for the action group, and for the modules that talk S3."""
    account = {"account_id": stand_in.account_id, "api_token": stand_in.api_token, "api_url": stand_in.api_url}
    defaults = {f"group/{COLLECTION}.r2": account}
    for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py"):
        if f"{COLLECTION}.s3" in documentation(path.stem, "DOCUMENTATION").get("extends_documentation_fragment", []):
            defaults[f"{COLLECTION}.{path.stem}"] = {"s3_endpoint": stand_in.s3_endpoint}
    return defaults


def run_examples(
    ansible: Ansible,
    stand_in: StandIn,
    module: str,
    *arguments: str,
    options: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Run:
    """Run all examples of a module, in order, on localhost; the caller prepares what they start from.

    Args:
        module: The name of the module, without the collection.
        arguments: More arguments of ansible-playbook.
        options: Options for every call of the module instead of the examples' own, for example restic_path.
        variables: What the examples' templates need.
    """
    play = {
        "name": f"Examples of {module}",
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": module_defaults(stand_in),
        "tasks": tasks(module, options or {}),
    }
    inventory = {"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}
    return ansible.playbook([play], inventory, *arguments, variables=dict(variables or {}))
