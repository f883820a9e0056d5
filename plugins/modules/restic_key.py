#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restic_key
short_description: Give a locked repository a new password
version_added: 0.1.0
description:
  - A password opens a I(key), an object below C(keys/), and every key opens the same data. A new password is therefore a new
    key, which is added under the lock (O(state=present)), and the removal of the key of before, which needs a window over
    C(keys/) (O(state=only)). Between the two, bring the new password to the host and let it prove there that it works. The
    C(password) playbook does all of it.
  - The new key has opened the repository, and its copy is in the record, before the module ends. When it is interrupted, the
    keys of before go on working, and the next run goes on.
  - Before a key is removed, the same checks as in M(holdfast.restic_r2.restic_prune) are made. The repository must be the
    recorded one, C(keys/) must hold exactly the recorded objects, and its locks must be in force. Hosts are kept out meanwhile,
    the window is owned by a process of its own, and everything is looked at again after it. With O(fence=never), a host may
    delete all keys of its repository in the moment in which they are unlocked; the record has copies of those that are needed.
  - The data stays encrypted with the same master key. A thief who has the old password and a copy of its key, or has read the
    repository with it, can go on reading every object that he can reach. After a theft, begin a new repository.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.host_keys
  - holdfast.restic_r2.restic
  - holdfast.restic_r2.restic.place
  - holdfast.restic_r2.fence
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.full
  - holdfast.restic_r2.attributes.actiongroup_r2
requirements:
  - boto3 >= 1.36.0
  - restic >= 0.19.0
  - Python >= 3.11 on Linux
options:
  password:
    description:
      - The password of the repository. With O(state=present) one that opens it now; with O(state=only) the one whose key stays.
  record_dir:
    description:
      - The folder with the records of repositories, as written by M(holdfast.restic_r2.restic_repository). It gets a copy of the
        new key, and loses that of a removed one.
    type: path
    required: true
  new_password:
    description:
      - The password that is to open the repository, too, of 8 characters or more. It must not begin or end with white space.
      - When not set, O(password) is meant. Then nothing is changed, and RV(key_id) tells which key it opens.
    type: str
  state:
    description:
      - V(present) has a recorded key that O(new_password) opens.
      - V(only) removes every recorded key but the one that O(password) opens, in a window.
    type: str
    choices: [present, only]
    default: present
seealso:
  - module: holdfast.restic_r2.restic_repository
  - module: holdfast.restic_r2.restic_prune
"""

EXAMPLES = r"""
- name: A key for the new password, beside the one in use
  holdfast.restic_r2.restic_key:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    password: "{{ holdfast_password }}"
    new_password: "{{ holdfast_new_password }}"
    record_dir: /var/lib/holdfast/records

- name: No key but that of the new password, once the host works with it
  holdfast.restic_r2.restic_key:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    password: "{{ holdfast_new_password }}"
    record_dir: /var/lib/holdfast/records
    state: only
"""

RETURN = r"""
key_id:
  description: >-
    The full id of the key that the password opens; with O(state=present) that of O(new_password). Empty in check mode when that
    is still to be made.
  returned: always
  type: str
  sample: e2633363e7e69296e48c44cf85229a50264e9f64c67606d2a3eaf46058290a05
added:
  description: Whether a key was added, or in check mode would be.
  returned: always
  type: bool
removed:
  description: The ids of the keys that were removed, or in check mode would be. Also when the module fails.
  returned: always
  type: list
  elements: str
windows:
  description: The window that was open, if one was needed.
  returned: always
  type: list
  elements: dict
  contains:
    repository:
      description: The bucket, and the prefix if there is one.
      type: str
      sample: backup-web1
    prefixes:
      description: The parts that were unlocked.
      type: list
      elements: str
      sample: [keys/]
    holder:
      description: Who held it, as in the lock document and the journal.
      type: str
      sample: 4f1d2c3b5a697887
    opened:
      description: When it was opened, by Cloudflare's clock.
      type: str
    closed:
      description: When it was proved to be closed.
      type: str
    seconds:
      description: How long it was open.
      type: float
      sample: 0.8
    ended_by:
      description: Why it was closed.
      type: str
    in_force:
      description: Whether a probe has proved that the lock is in force again.
      type: bool
fences:
  description: The fences that kept the hosts out meanwhile, as in M(holdfast.restic_r2.restic_prune).
  returned: always
  type: list
  elements: dict
  contains:
    tokens:
      description: The ids of the tokens that were disabled.
      type: list
      elements: str
    disabled:
      description: When they were disabled, by Cloudflare's clock.
      type: str
    enabled:
      description: When they were enabled again.
      type: str
    seconds:
      description: How long the hosts could make no backups.
      type: float
    without:
      description: Why nothing kept the hosts out.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actions.repository_keys import ONLY, PRESENT, keys_for
from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, FENCE, HOST_KEYS, RESTIC, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import LONG, shown, shown_all

OPTIONS = {
    "record_dir": {"type": "path", "required": True},
    "new_password": {"type": "str", "no_log": True},
    "state": {"type": "str", "choices": [PRESENT, ONLY], "default": PRESENT},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={**CLOUDFLARE, **S3, **HOST_KEYS, **RESTIC, **FENCE, **OPTIONS}, supports_check_mode=True
    )
    keys = None
    try:
        keys = keys_for(Clients(module.params, hider(module)), module.check_mode)
        keys.run(module.params["state"], module.params["new_password"])
    except HoldfastError as error:
        outcome = keys.outcome if keys else {}
        module.fail_json(**shown_all({"msg": str(error), **outcome, **error.details}))
    for warning in keys.warnings:
        module.warn(shown(warning, LONG))
    module.exit_json(**shown_all(keys.outcome))


if __name__ == "__main__":
    main()
