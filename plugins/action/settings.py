# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads settings from the inventory's side alone; see the documentation of the module of the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.holdfast.restic_r2.plugins.module_utils._untrusted import shown
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._without_facts import (
    facts_of,
    host_of,
    pretenders,
    without_facts,
)

SPEC = {
    "entry_point": {"type": "str"},
    "variables": {"type": "list", "elements": "str", "default": []},
    "options": {"type": "dict", "default": {}},
    "facts": {"type": "str", "choices": ["refuse", "tell"], "default": "refuse"},
}
# Values of these types are used as the argument spec understands them, not as a template happened to write them.
SCALARS = ("str", "int", "float", "bool")


class ActionModule(ActionBase):
    """Evaluates variables as if no host had returned a fact, and returns their values for `register`."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, wanted = self.validate_argument_spec(argument_spec=SPEC)
        problem = self._pretence(task_vars)
        if problem and wanted["facts"] == "refuse":
            raise AnsibleActionFail(problem)
        result["pretence"] = problem
        if problem:
            result["warnings"] = [problem]
        role = self._task._role
        specs = _role_options(role._role_path) if role else {}
        names = list(specs.get(wanted["entry_point"], {})) + wanted["variables"] + list(wanted["options"])
        if wanted["entry_point"] and wanted["entry_point"] not in specs:
            raise AnsibleActionFail(f"The role has no entry point {wanted['entry_point']}.")
        options = {name: option for spec in specs.values() for name, option in spec.items()}
        variables = without_facts(self._task, task_vars, self._loader)
        values = self._read(names, variables)
        values = _checked(values, {**options, **wanted["options"]})
        prefix = f"{role.get_name(include_role_fqcn=False)}_" if role else ""
        result.update({name.removeprefix("__").removeprefix(prefix): value for name, value in values.items()})
        result["inventory_hostname"] = host_of(task_vars)
        addresses = self._read(["inventory_hostname", "ansible_host", "ansible_ssh_host"], variables)
        result["address"] = list(addresses.values())[-1]
        # Passwords and tokens are among them; a failure says what is wrong and shows none.
        result.update(changed=False, _ansible_no_log=True)
        return result

    def _pretence(self, task_vars: dict[str, Any]) -> str:
        names = pretenders(facts_of(task_vars))
        if not names:
            return ""
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        return (
            f"The facts of {host_of(task_vars)} hold {', '.join(shown(name, 60) for name in names[:5])}{more}, "
            "which are names of settings that no honest host returns: take the host for compromised (docs/recovery.md), and "
            "remove its facts from the fact cache where you use one. No setting was taken from them."
        )

    def _read(self, names: list[str], variables: dict[str, Any]) -> dict[str, Any]:
        templar = self._templar.copy_with_new_env(available_variables=variables)
        values = {}
        omitted = variables.get("omit")
        for name in names:
            if name not in variables:
                continue
            try:
                value = templar.template(variables[name])
            except AnsibleError as error:
                if type(error).__name__ == "AnsibleValueOmittedError":
                    continue
                raise AnsibleActionFail(
                    f"{name} cannot be evaluated from inventory, play and extra variables alone (facts are left out, because "
                    f"the host could forge them): {error}"
                ) from error
            if not (isinstance(value, str) and value == omitted):
                values[name] = value
        return values


def _role_options(path: str) -> dict[str, dict[str, Any]]:
    """The options of each entry point of a role."""
    for name in ("argument_specs.yml", "argument_specs.yaml"):
        file = Path(path) / "meta" / name
        if file.exists():
            specs = yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"]
            return {entry: spec.get("options") or {} for entry, spec in specs.items()}
    return {}


def _checked(values: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The values, those of simple types converted; the validation that Ansible does itself has seen facts."""
    known = {name: options[name] for name in values if name in options}
    outcome = ArgumentSpecValidator(known).validate({name: values[name] for name in known})
    if outcome.error_messages:
        raise AnsibleActionFail("Settings are not as documented: " + "; ".join(outcome.error_messages))
    simple = {
        name for name, option in known.items() if option.get("type", "str") in SCALARS and values[name] is not None
    }
    return {name: outcome.validated_parameters[name] if name in simple else value for name, value in values.items()}
