#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: r2_object
short_description: Remove objects that an attacker planted in a locked repository
version_added: 0.1.0
description:
  - For the day after a break-in. The attacker could add objects to the repository of a host that make restic fail or
    mislead it, and the lock keeps them there. This module removes the objects that you name, in a window over only those
    parts of the repository in which they are.
  - Objects that R2 stored before O(stored_since), C(config) and the recorded keys are never removed. When one of the
    named objects is one of these, nothing at all is removed. The time of storage is the server's, which no host can set.
  - The window is owned by a separate process, as in M(holdfast.restic_r2.restic_prune). Afterwards the bucket is listed
    again; the module fails when one of the named objects is still there or when anything else has vanished.
  - The host is kept out while anything is unlocked, by O(fence). With O(fence=never), it can delete genuine objects of its
    repository, too, in the parts that are unlocked.
  - What opens the data, C(config) and C(keys/), is unlocked in a window of its own, before that over the other parts.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.host_keys
  - holdfast.restic_r2.restic.place
  - holdfast.restic_r2.fence
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.actiongroup_r2
requirements:
  - boto3 >= 1.36.0
  - Python >= 3.11 on Linux
attributes:
  check_mode:
    support: full
    details: Tells which of the objects are there and would be removed. Nothing is unlocked.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  findings:
    description:
      - The ids of findings of the last M(holdfast.restic_r2.restic_audit) with the same O(record_dir), which has kept the keys of
        the objects that they are about. All these objects are removed. Those that are not there any more are no error.
      - Keys cannot be given here. A host chooses them, and a key in a variable would be evaluated as a template.
    type: list
    elements: str
  keys_file:
    description:
      - Instead of O(findings), a file on the node where this runs, with the keys of the objects in full, as a JSON list of
        texts. Write it with a program, for example C(jq), not with a template. It is refused where another user could have
        written it.
    type: path
  state:
    description:
      - The only state. It is here so that a task shows what it does.
    type: str
    choices: [absent]
    default: absent
  stored_since:
    description:
      - The earliest instant at which the attacker could have broken in, for example V(2026-11-24T03:00:00Z). When in doubt,
        the upload of the last snapshot that you trust.
    type: str
    required: true
  record_dir:
    description:
      - The folder with the records of repositories, as written by M(holdfast.restic_r2.restic_repository). The keys of the
        repository's record are never removed.
      - When not set, only O(stored_since) protects the repository's own key.
    type: path
seealso:
  - module: holdfast.restic_r2.restic_prune
  - module: holdfast.restic_r2.r2_bucket_unlock
"""

EXAMPLES = r"""
- name: Show the objects that would be removed
  holdfast.restic_r2.r2_object:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    bucket: backup-web1
    record_dir: /var/lib/holdfast/records
    findings: [4f0c2a9d1b77]
    state: absent
    stored_since: "2026-11-24T03:00:00Z"
  check_mode: true

- name: Remove it
  holdfast.restic_r2.r2_object:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    bucket: backup-web1
    findings: [4f0c2a9d1b77]
    state: absent
    stored_since: "2026-11-24T03:00:00Z"
    record_dir: /var/lib/holdfast/records
"""

RETURN = r"""
removed:
  description: The keys of the objects that were removed, or in check mode would be. Also when the module fails.
  returned: always
  type: list
  elements: str
  sample: [index/0000000000000000000000000000000000000000000000000000000000000000]
absent:
  description: Those of the named objects that were not there.
  returned: always
  type: list
  elements: str
windows:
  description: The windows that were open, if any was needed.
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
      sample: [index/]
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
  description: The fence that kept the hosts out meanwhile, as in M(holdfast.restic_r2.restic_prune).
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

from ..module_utils._actions.remove_objects import removal_for
from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, FENCE, HOST_KEYS, PLACE, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import LONG, shown, shown_all

OPTIONS = {
    **PLACE,
    "findings": {"type": "list", "elements": "str"},
    "keys_file": {"type": "path", "no_log": False},
    "state": {"type": "str", "choices": ["absent"], "default": "absent"},
    "stored_since": {"type": "str", "required": True},
    "record_dir": {"type": "path"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={**CLOUDFLARE, **S3, **HOST_KEYS, **FENCE, **OPTIONS},
        required_one_of=[("findings", "keys_file")],
        mutually_exclusive=[("findings", "keys_file")],
        required_by={"findings": ["record_dir"]},
        supports_check_mode=True,
    )
    removal = None
    try:
        removal = removal_for(Clients(module.params, hider(module)), module.check_mode)
        removal.run()
    except HoldfastError as error:
        outcome = removal.outcome if removal else {}
        module.fail_json(**shown_all({"msg": str(error), **outcome, **error.details}))
    for warning in removal.warnings:
        module.warn(shown(warning, LONG))
    module.exit_json(**shown_all(removal.outcome))


if __name__ == "__main__":
    main()
