#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: settings
short_description: Read settings in a way that no host can change
version_added: 0.1.0
description:
  - Evaluates variables from inventory, group and play variables, role defaults, registered results and extra variables, as if
    no host had ever returned a fact, and returns their values. Register them, and use the registered values only.
  - Ansible makes variables of the C(ansible_facts) in any module's result, and they outrank the inventory. So the owner of a
    host, who can replace its Python, could choose where the maintenance node sends its API token. Values that are registered
    here outrank facts, and are not evaluated again.
  - The values are converted as their argument specs say. A text in the place of a list is the one entry of that list; it is
    split at commas only where no entry can hold one. An unusable value is refused in one sentence that names host, job and
    option, and gives the right form. So is a variable that begins with C(holdfast_) and is almost the name of a setting.
  - Also fails when the facts of the host hold the name of a setting. No honest host returns such facts.
  - The roles and playbooks of this collection begin with this task. You need it only in playbooks of your own that hand
    settings to the modules of this collection directly.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.attributes
options:
  entry_point:
    description:
      - The entry point of the role that the task is part of. All options in its argument spec are read and validated.
    type: str
  playbook:
    description:
      - The name of a playbook of this collection. The variables that are its own are read and validated, as
        C(meta/variables.yml) describes them. Those that are not defined are left out.
    type: str
  variables:
    description:
      - The names of further variables to read. Those that are not defined are left out.
    type: list
    elements: str
    default: []
  options:
    description:
      - Further variables to read, with their argument specs. Those that are not defined are left out.
    type: dict
    default: {}
  apart:
    description:
      - Hosts of the inventory. Fails when one of them that the play is about has the repository of another one, whether that
        is in the play or not. The same account, jurisdiction, bucket and prefix are the same repository.
    type: list
    elements: str
    default: []
  fleet:
    description:
      - Hosts of the inventory of which RV(fleet) is to tell, also those that the play is not about.
    type: list
    elements: str
    default: []
  instead:
    description:
      - Hosts of the play, whose settings are read in this order where those of the task's own host cannot be used, until those
        of one of them can. For what is done once for all hosts, which the mistake of one of them is not to hold up.
    type: list
    elements: str
    default: []
  reaches:
    description:
      - Those of the settings that name another host, which is contacted later on. Its facts are looked at as those of the
        play's host are, and it is refused in the same way.
    type: list
    elements: str
    default: []
  backed_up:
    description:
      - The name of the variable with the hosts of the inventory that are backed up. Fails when a setting of O(reaches) names
        one of them.
    type: str
  whole_play:
    description:
      - Also checks the settings of all roles of this collection in the play, as far as they are known yet. For the
        C(pre_tasks), so that a wrong setting of the last role is refused before the first role changes anything.
      - Warns of variables that are almost settings of these roles.
    type: bool
    default: false
  facts:
    description:
      - How to treat facts of the host that have names of settings. Either way, no setting is taken from them.
      - V(refuse) fails. V(tell) warns and goes on, also when the name of a setting is mistyped, for work that makes a
        compromised host less dangerous.
    type: str
    choices: [refuse, tell]
    default: refuse
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: It changes nothing.
  idempotent:
    support: full
  action:
    description: Indicates that this has a corresponding action plugin, so that some parts run on the controller.
    support: full
"""

EXAMPLES = r"""
- name: Read the settings
  holdfast.restic_r2.settings:
    options:
      holdfast_account_id: {type: str, required: true}
      holdfast_api_token: {type: str, required: true}
  register: settings

- name: Refuse wrong settings before the first role begins, in pre_tasks
  holdfast.restic_r2.settings:
    whole_play: true

- name: Use them
  holdfast.restic_r2.r2_bucket_info:
    account_id: "{{ settings.holdfast_account_id }}"
    api_token: "{{ settings.holdfast_api_token }}"
  delegate_to: localhost
"""

RETURN = r"""
inventory_hostname:
  description: The host, by its name in the inventory. The variable of this name could be a fact.
  returned: success
  type: str
address:
  description: Where the host is reached, from the inventory. For the variable C(ansible_host) of tasks that contact it.
  returned: success
  type: str
pretence:
  description: Which facts pass for settings, in a sentence. Empty when none does. Always empty with O(facts=refuse).
  returned: success
  type: str
misspelt:
  description:
    - Which variables begin with C(holdfast_) and are no settings, with the names that were probably meant, in sentences. Empty
      when there are none. Always empty with O(facts=refuse), which refuses them.
  returned: success
  type: str
fleet:
  description:
    - For each host of O(fleet) its C(name), the C(bucket) and C(prefix) of its repository, the names of its C(jobs), and
      C(max_age), after how many hours its newest snapshot is too old.
  returned: success
  type: list
  elements: dict
NAME:
  description:
    - The value of each variable, under its name; in a role, without leading underscores and without the role's name.
    - Nothing of it is shown, because passwords and tokens are among the settings.
  returned: success
  type: raw
"""
