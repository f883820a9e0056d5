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
  - Asks with the host's own keys where they are known, given or kept in O(record_dir), else with the node's.
  - The lock document says what should be, this module what is.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.restic.place
  - holdfast.restic_r2.host_keys
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.info_module
  - holdfast.restic_r2.attributes.actiongroup_r2
options:
  record_dir:
    description:
      - The folder of the records, in which M(holdfast.restic_r2.r2_host_token) keeps the keys of the host.
    type: path
  wait:
    description:
      - For how many seconds to ask again when a lock is not in force, or R2 does not take the host's keys. Rules take effect
        at once or a little later, and new keys may take a minute.
    type: int
    default: 0
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

- name: Can web1 itself overwrite or delete anything
  holdfast.restic_r2.r2_lock_probe:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    bucket: backup-web1
    record_dir: /var/lib/holdfast/records
    wait: 60
  register: probe
  failed_when: not probe.locked
"""

RETURN = r"""
prefixes:
  description:
    - For each prefix of the lock set the state, V(locked), V(open), or V(missing) when no object lies below it.
  returned: success
  type: dict
  sample: {"config": "locked", "data/": "locked", "index/": "locked", "keys/": "locked", "snapshots/": "locked"}
locked:
  description:
    - Whether no prefix is open and C(config) and C(keys/), which every repository has, are locked.
  returned: success
  type: bool
probed_with:
  description: Whose keys R2 was asked with in the end, V(host) or V(node).
  returned: success
  type: str
  sample: host
msg:
  description: The problem, in a sentence.
  returned: when RV(locked) is false
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, HOST_KEYS, PLACE, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import shown_all
from ..module_utils._locks.probe import in_force

ARGUMENTS: dict[str, Any] = {
    **CLOUDFLARE,
    **S3,
    **HOST_KEYS,
    **PLACE,
    "record_dir": {"type": "path"},
    "wait": {"type": "int", "default": 0},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        clients = Clients(module.params, hide=hider(module))
        probe = clients.lock_probe
        found = probe.wait(module.params["wait"])
    except HoldfastError as error:
        module.fail_json(**shown_all({"msg": str(error), **error.details}))
    result = {"prefixes": found, "locked": in_force(found), "probed_with": probe.asked_by}
    if not result["locked"]:
        states = ", ".join(f"{prefix} {state}" for prefix, state in found.items())
        result["msg"] = (
            f"The locks of {clients.bucket}/{clients.prefix} are not in force: {states}. Look at the "
            "rules, and do not back up into it until they are."
        )
    module.exit_json(**shown_all(result))


if __name__ == "__main__":
    main()
