#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: r2_lock_probe
short_description: Prove that the locks of a repository are in force
version_added: 0.1.0
description:
  - Takes one object below each locked prefix of a repository and tries to overwrite it on a condition that cannot hold.
    Where the lock is in force, R2 refuses with the lock's own error; where it is not, the condition fails. Either way
    nothing changes.
  - The lock document says what should be, this module what is.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.info_module
  - holdfast.restic_r2.attributes.actiongroup_r2
options:
  bucket:
    description:
      - The bucket that holds the repository.
    type: str
    required: true
  prefix:
    description:
      - The prefix of the repository in a shared bucket. Empty when the repository is the bucket.
    type: str
    default: ''
seealso:
  - module: holdfast.restic_r2.r2_bucket_lock_info
  - module: holdfast.restic_r2.restic_verify
"""

EXAMPLES = r"""
- name: Are the locks of web1 in force
  holdfast.restic_r2.r2_lock_probe:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    bucket: backup-web1
  register: probe
  failed_when: not probe.locked
"""

RETURN = r"""
prefixes:
  description:
    - For each prefix of the lock set what was found, V(locked), V(open), or V(missing) when no object lies below it.
  returned: success
  type: dict
  sample: {"config": "locked", "data/": "locked", "index/": "locked", "keys/": "locked", "snapshots/": "locked"}
locked:
  description:
    - Whether no prefix is open and C(config) and C(keys/), which every repository has, are locked.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.restic_r2.plugins.module_utils._arguments import CLOUDFLARE, S3
from ansible_collections.holdfast.restic_r2.plugins.module_utils._clients import Clients
from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._prober import in_force, probe_all


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            CLOUDFLARE, **S3, bucket={"type": "str", "required": True}, prefix={"type": "str", "default": ""}
        ),
        supports_check_mode=True,
    )
    try:
        clients = Clients(module.params, hide=module.no_log_values.add)
        found = probe_all(clients.s3, clients.prefix)
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(prefixes=found, locked=in_force(found))


if __name__ == "__main__":
    main()
