# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the variables of a host as if no host had ever returned a fact, and finds facts that pass for settings.

Ansible makes variables of the `ansible_facts` in any module's result, and they outrank inventory and role defaults. Nothing
in a playbook can ask for the value below a fact. So the variables are made once more by Ansible's own code, from a copy of
its variable manager that has no facts. Where Ansible has changed so much that this cannot be done, nothing is read at all.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.vars.hostvars import HostVars

# What begins like this is ours.
OURS = ("holdfast_", "repository_", "restic_", "backup_", "credentials_", "guard_", "report_", "preflight_", "__")
# How Ansible reaches a host and what it runs there; keys of SSH servers are honest facts.
CONNECTION = re.compile(
    r"ansible_(connection|host|port|user|password|pass|private_key_file|remote_(addr|user|tmp)|shell_\w+|become|become_\w+"
    r"|ssh_(?!host_key_)\w+|(?!discovered_)\w+_interpreter|playbook_python|facts|check_mode|limit|delegated_vars|run_tags"
    r"|skip_tags|collection_name|failed_result|failed_task|play_\w+)"
    r"|group_names|hostvars|play_hosts|role_path"
)

# Names of Ansible's own, which a fact can take from it: what a template leaves out, whose turn it is, functions. Tasks cannot do
# without them, so a host with such facts is refused before each part of the work on the node; none of these contacts a host.
TAKEN = {
    "cycler", "dict", "inventory_hostname", "inventory_hostname_short", "joiner", "lipsum", "lookup", "namespace", "now", "omit",
    "q", "query", "range", "undef",
}  # fmt: skip


class NoFacts(dict[str, Any]):
    """A fact cache in which nothing is known of any host."""

    def get(self, key: str, default: Any = None) -> Any:
        return {}

    def __getitem__(self, key: str) -> Any:
        return {}


def is_pretender(name: str) -> bool:
    """Whether no honest host returns a fact of this name."""
    return name in TAKEN or name.startswith(OURS) or CONNECTION.fullmatch(name) is not None


def pretenders(names: Iterable[str]) -> list[str]:
    """Those names of facts that are names of settings, and that no honest host returns."""
    return sorted(name for name in map(str, names) if is_pretender(name))


def _manager(task_vars: dict[str, Any]) -> Any:
    manager = getattr(task_vars.get("hostvars"), "_variable_manager", None)
    if not {"_fact_cache", "_inventory"} <= getattr(manager, "__dict__", {}).keys():
        raise AnsibleActionFail(
            "This ansible-core is not known to holdfast.restic_r2: settings cannot be told from facts, which a host can forge. "
            "Use a version that the collection supports."
        )
    return manager


def _facts(manager: Any, name: str) -> dict[str, Any]:
    try:
        return manager._fact_cache.get(name) or {}
    except KeyError:
        return {}


def host_of(task_vars: dict[str, Any]) -> str:
    """Whose task it is. A fact can take even this name, so that it is only believed where no fact bears it."""
    named = str(task_vars["inventory_hostname"])
    if "inventory_hostname" not in (task_vars.get("ansible_facts") or {}):
        return named
    manager = _manager(task_vars)
    names = ("inventory_hostname", "ansible_inventory_hostname")
    hosts = [
        host
        for host in task_vars.get("ansible_play_hosts_all") or ()
        for facts in [_facts(manager, host)]
        if any(name in facts for name in names) and str(facts.get(names[0], host)) == named
    ]
    if len(hosts) != 1:
        raise AnsibleActionFail(
            "Facts of more than one host claim to be the name of the host, so that the host of this task is unknown. Take these "
            "hosts for compromised, and remove their facts from the fact cache."
        )
    return str(hosts[0])


def facts_of(task_vars: dict[str, Any], host: str | None = None) -> dict[str, Any]:
    """The facts of a host, else of the task's, under the names that it returned."""
    return _facts(_manager(task_vars), host or host_of(task_vars))


def without_facts(task: Any, task_vars: dict[str, Any], loader: Any, host: str = "") -> dict[str, Any]:
    """The variables of the task and its host (or of another one), and of all hosts in `hostvars`, without any facts."""
    known = _manager(task_vars)
    manager = object.__new__(type(known))
    manager.__dict__.update(known.__dict__, _fact_cache=NoFacts())
    HostVars(inventory=manager._inventory, variable_manager=manager, loader=loader)
    variables = manager.get_vars(
        play=task.get_play(),
        host=manager._inventory.get_host(host or host_of(task_vars)),
        task=task,
        _hosts=list(task_vars.get("ansible_play_hosts") or ()),
        _hosts_all=list(task_vars.get("ansible_play_hosts_all") or ()),
    )
    if variables.get("ansible_facts") or getattr(variables.get("hostvars"), "_variable_manager", None) is not manager:
        raise AnsibleActionFail(
            "This ansible-core mixes facts into settings where that cannot be undone; nothing was read."
        )
    return variables
