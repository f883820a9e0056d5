# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads settings from the inventory's side alone; see the documentation of the module of the same name."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils._common.untrusted import shown
from ..plugin_utils import _page_hosts
from ..plugin_utils._near_names import NEAR, OURS, misspelt, slips, strangers
from ..plugin_utils._place_rules import MACHINES, machine, remote_folder
from ..plugin_utils._setting_names import NAMES
from ..plugin_utils._settings import contradictions, converted, halves, in_own_words
from ..plugin_utils._shared_repositories import PLACE, place_of, shared
from ..plugin_utils._specs import all_options, defaults, options_of, playbook_options, role_options, sources
from ..plugin_utils._without_facts import facts_of, host_of, pretenders, without_facts

SPEC = {
    "entry_point": {"type": "str"},
    "playbook": {"type": "str"},
    "variables": {"type": "list", "elements": "str", "default": []},
    "options": {"type": "dict", "default": {}},
    "apart": {"type": "list", "elements": "str", "default": []},
    "fleet": {"type": "list", "elements": "str", "default": []},
    "instead": {"type": "list", "elements": "str", "default": []},
    "reaches": {"type": "list", "elements": "str", "default": []},
    "backed_up": {"type": "str"},
    "whole_play": {"type": "bool", "default": False},
    "facts": {"type": "str", "choices": ["refuse", "tell"], "default": "refuse"},
}
COLLECTION = "holdfast.restic_r2"
# What a role does later on with settings that are looked at together with those of its first entry point.
LATER = {"repository": ("maintenance", "verify")}


class CannotBeRead(AnsibleActionFail):
    """A setting could not be evaluated; one that was evaluated before it may be the cause."""

    def __init__(self, message: str, before: dict[str, Any]) -> None:
        super().__init__(message)
        self.before = before


class ActionModule(ActionBase):
    """Evaluates variables as if no host had returned a fact, and returns their values for `register`."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=SPEC)
        problem = _pretence(host_of(task_vars), facts_of(task_vars))
        self._refuse_remote_tmp(host_of(task_vars))
        if problem and arguments["facts"] == "refuse":
            raise AnsibleActionFail(problem)
        result["pretence"] = problem
        if problem:
            result["warnings"] = [problem]
        role = self._task._role
        specs = role_options(role._role_path) if role else {}
        if arguments["entry_point"] and arguments["entry_point"] not in specs:
            raise AnsibleActionFail(f"The role has no entry point {arguments['entry_point']}.")
        variables = without_facts(self._task, task_vars, self._loader)
        self._refuse_shared(arguments["apart"], task_vars, variables)
        # What is not held up by them says so in the end.
        result["misspelt"] = "\n".join(_misspelt(variables, host_of(task_vars)))
        if arguments["facts"] == "refuse":
            result["warnings"] = self._refuse_early(variables, host_of(task_vars), bool(role), arguments["whole_play"])
        values = self._values_of_first(arguments, specs, task_vars, variables)
        prefix = f"{role.get_name(include_role_fqcn=False)}_" if role else ""
        result.update({name.removeprefix("__").removeprefix(prefix): value for name, value in values.items()})
        addresses = self._read(["inventory_hostname", "ansible_host", "ansible_ssh_host"], variables)
        result.update(inventory_hostname=host_of(task_vars), address=list(addresses.values())[-1])
        # Passwords and tokens are among them; a failure says what is wrong and shows none.
        fleet = [self._member(host, variables) for host in arguments["fleet"]]
        result.update(fleet=fleet, changed=False, _ansible_no_log=True)
        return result

    def _values_of_first(
        self, arguments: dict[str, Any], specs: dict[str, Any], task_vars: dict[str, Any], variables: dict[str, Any]
    ) -> dict[str, Any]:
        """The values of the task's host; where they cannot be used, of the first of the hosts that stand in for it."""
        own = host_of(task_vars)
        try:
            return self._values(arguments, specs, task_vars, variables, own)
        except AnsibleActionFail:
            for host in arguments["instead"]:
                with suppress(AnsibleActionFail):
                    other = without_facts(self._task, task_vars, self._loader, host)
                    return self._values(arguments, specs, task_vars, other, host)
            raise

    def _values(
        self,
        arguments: dict[str, Any],
        specs: dict[str, Any],
        task_vars: dict[str, Any],
        variables: dict[str, Any],
        host: str,
    ) -> dict[str, Any]:
        named = {**playbook_options(arguments["playbook"] or ""), **arguments["options"]}
        options = _flat(specs)
        # First what can be told well, then what hangs on it.
        names = [*specs.get(arguments["entry_point"], {}), *named]
        own, values = self._read_checked(names, variables, {**options, **named}, host)
        backed_up = self._read([arguments["backed_up"] or ""], variables).get(arguments["backed_up"], [])
        for name in arguments["reaches"]:
            _refuse_other(name, str(own.get(name) or ""), backed_up, task_vars)
        more = self._read([name for name in arguments["variables"] if name not in values], variables)
        # A variable that belongs to another role of the collection is what that role would make of it.
        for other_role in {name.partition("_")[0] for name in more if name not in options}:
            options = {**options_of(other_role), **options}
        values.update(_checked(more, options, host, variables))
        _refuse(in_own_words(contradictions(values), variables), host)
        return values

    def _refuse_remote_tmp(self, host: str) -> None:
        try:
            remote_folder(str(self.get_shell_option("remote_tmp", default="")))
        except ValueError as error:
            _refuse([f"remote_tmp (ansible_remote_tmp, ANSIBLE_REMOTE_TEMP) {error}."], host)

    def _refuse_shared(self, hosts: list[str], task_vars: dict[str, Any], variables: dict[str, Any]) -> None:
        """Refuse a run in which a host has the repository of another host, in the run or outside of it."""
        chosen = set(hosts) & set(task_vars.get("ansible_play_hosts_all") or ())
        places = {}
        for host in hosts:
            own = {**variables["hostvars"].raw_get(host), "hostvars": variables["hostvars"]}
            try:
                places[host] = place_of(host, self._read(list(PLACE), own))
            except AnsibleActionFail:
                # Of those that are chosen, the same is told where their own work begins.
                continue
        problems = shared(places, chosen)
        if problems:
            raise AnsibleActionFail("\n".join(problems))

    def _member(self, host: str, variables: dict[str, Any]) -> dict[str, Any]:
        """What a page has to know of a host; a value that cannot be evaluated is told where the host's own work begins."""
        own = {**variables["hostvars"].raw_get(host), "hostvars": variables["hostvars"]}
        values: dict[str, Any] = {}
        for name in _page_hosts.NAMES:
            with suppress(AnsibleActionFail):
                values.update(self._read([name], own))
        return _page_hosts.member(host, values)

    def _refuse_written(self, variables: dict[str, Any], host: str) -> None:
        """Refuse what cannot be used of all that a person has written, before the first role of a playbook begins.

        Secrets are looked at where they are needed: a playbook may be given some of them only. What else cannot be evaluated is
        refused, because where it is needed, it would count as not set, and a default would come in its place.
        """
        options = all_options()
        options |= {name: {**options[option], "like": option} for name, option in sources().items()}
        values: dict[str, Any] = {}
        own = defaults()
        for name in options.keys() & variables.keys():
            if options[name].get("no_log") or variables[name] == own.get(name):
                continue
            try:
                values.update(self._read([name], variables))
            except CannotBeRead as error:
                if name.startswith(OURS):
                    _refuse([_one_sentence(str(error.message))], host)
            except AnsibleActionFail:
                # It is told below, with what it names.
                continue
        for name, value in values.items():
            if options[name].get("like") in MACHINES:
                _refuse_no_host(name, value, variables)
        _checked(dict(sorted(values.items())), options, host, variables)

    def _refuse_early(self, variables: dict[str, Any], host: str, role: bool, whole_play: bool) -> list[str]:
        """Refuse what can be seen before a single setting is read; returns the warnings of a look at the whole play."""
        _refuse_names(_misspelt(variables, host))
        _refuse(halves(variables), host)
        if not role:
            self._refuse_written(variables, host)
        return self._look_ahead(variables, host) if whole_play else []

    def _look_ahead(self, variables: dict[str, Any], host: str) -> list[str]:
        """Check the settings of all roles of the play before the first of them begins; return what to warn of."""
        roles = [role for role in self._task.get_play().get_roles() if role.get_name().startswith(f"{COLLECTION}.")]
        specs = {role.get_name(include_role_fqcn=False): role_options(role._role_path) for role in roles}
        options = {
            name: option for entries in specs.values() for spec in entries.values() for name, option in spec.items()
        }
        values: dict[str, Any] = {}
        for role in roles:
            known = {**variables, "role_path": role._role_path}
            own = role.get_name(include_role_fqcn=False)
            for name in dict.fromkeys(
                name for entry in ("main", *LATER.get(own, ())) for name in specs[own].get(entry, {})
            ):
                try:
                    values.update(self._read([name], known))
                except CannotBeRead:
                    _checked(values, options, host, variables)
                    # Keys that the role repository has not made yet.
                    if not name.startswith("credentials_"):
                        raise
        _checked(values, options, host, variables)
        near = misspelt(variables, options, tuple(f"{role}_" for role in specs), NEAR)
        refused = slips(near)
        _refuse_names(_told(refused, host, ", or give a variable of your own another name"))
        return [
            f"{host}: {name} is no setting of {COLLECTION}; {meant} is."
            for name, meant in near.items()
            if name not in refused
        ]

    def _read_checked(
        self, names: list[str], variables: dict[str, Any], options: dict[str, Any], host: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Values as they are written, and as their options describe them."""
        try:
            own = self._read(names, variables)
        except CannotBeRead as error:
            _checked(error.before, options, host, variables)
            raise
        return own, _checked(own, options, host, variables)

    def _read(self, names: list[str], variables: dict[str, Any]) -> dict[str, Any]:
        templar = self._templar.copy_with_new_env(available_variables=variables)
        values: dict[str, Any] = {}
        omitted = variables.get("omit")
        for name in names:
            if name not in variables:
                continue
            try:
                value = templar.template(variables[name])
            except AnsibleError as error:
                if type(error).__name__ == "AnsibleValueOmittedError":
                    continue
                problem = (
                    f"{name} cannot be evaluated from inventory, play and extra variables alone (facts are left out, because "
                    f"the host could forge them): {error}"
                )
                raise CannotBeRead(in_own_words([problem], variables)[0], values) from error
            if not (isinstance(value, str) and value == omitted):
                values[name] = value
            # At once, for others are read from the variables of that machine.
            if name in MACHINES:
                _refuse_no_host(name, value, variables)
        return values


def _pretence(host: str, facts: dict[str, Any]) -> str:
    """Why a host is to be taken for compromised, or nothing."""
    names = pretenders(facts)
    if not names:
        return ""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (
        f"The facts of {host} hold {', '.join(shown(name, 60) for name in names[:5])}{more}, "
        "which are names of settings that no honest host returns: take the host for compromised (docs/recovery.md), and "
        "remove its facts from the fact cache where you use one. No setting was taken from them."
    )


def _refuse_other(name: str, other: str, backed_up: list[str], task_vars: dict[str, Any]) -> None:
    """Refuse a setting that names a host whose facts pass for settings, or one that is backed up where none may be."""
    pretence = _pretence(other, facts_of(task_vars, other)) if other else ""
    if pretence:
        raise AnsibleActionFail(pretence)
    if other in backed_up:
        setting = name.replace("repository_", "holdfast_", 1)
        raise AnsibleActionFail(
            f"{host_of(task_vars)}: {setting} is {shown(other, 60)}, a host that is backed up: it must not be trusted with the "
            "backups of others, nor with the proof of its own. Name a machine that is not, or leave it out for the node."
        )


def _one_sentence(text: str) -> str:
    return " ".join(text.split())


def _flat(specs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: option for spec in specs.values() for name, option in spec.items()}


def _refuse(problems: list[str], host: str) -> None:
    if problems:
        raise AnsibleActionFail("\n".join(f"{host}: {problem}" for problem in problems))


def _refuse_no_host(name: str, value: Any, variables: dict[str, Any]) -> None:
    try:
        machine(str(value), variables["groups"]["all"])
    except ValueError as error:
        _refuse(in_own_words([f"{name} {error}."], variables), str(variables["inventory_hostname"]))


def _misspelt(variables: dict[str, Any], host: str) -> list[str]:
    """What is wrong with names that begin like ours, in sentences."""
    unknown = [name for name in variables if name.startswith(OURS) and name not in NAMES]
    return _told(strangers(unknown, NAMES, all_options()) if unknown else {}, host)


def _told(near: dict[str, str], host: str, own: str = "") -> list[str]:
    return [
        f"{host}: {shown(name, 80)} is no setting of {COLLECTION}: write {meant}{own}." for name, meant in near.items()
    ]


def _refuse_names(told: list[str]) -> None:
    if told:
        raise AnsibleActionFail("\n".join(told))


def _checked(values: dict[str, Any], options: dict[str, Any], host: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The values as their options describe them; the validation that Ansible does itself has seen facts, and converts nothing."""
    found, problems = converted(values, options)
    _refuse(in_own_words(problems, variables), host)
    return found
