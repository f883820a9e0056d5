#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restic_snapshot_info
short_description: List the snapshots of a restic repository in R2
version_added: 0.1.0
description:
  - Lists all snapshots of a repository.
  - Fails when the repository holds a snapshot object that cannot be read, unless O(unreadable) says otherwise. restic itself
    only skips it, which would hide a damaged or planted object.
author: The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.restic
  - holdfast.restic_r2.restic.place
  - holdfast.restic_r2.restic.recorded
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.info_module
  - holdfast.restic_r2.attributes.actiongroup_r2
requirements:
  - restic >= 0.14.0
  - boto3 >= 1.36.0, with O(upload_times) only
options:
  upload_times:
    description:
      - Whether to add the time at which each snapshot was uploaded. The service sets it, and a lock protects it, so the
        host could not choose it.
    type: bool
    default: false
  unreadable:
    description:
      - How to treat a snapshot object that cannot be read. V(fail) fails. V(tell) warns, and lists the
        others, for those who want to restore one of them.
    type: str
    choices: [fail, tell]
    default: fail
notes:
  - Everything about a snapshot but RV(snapshots[].uploaded) was written by the backed-up host, and is no more to be
    trusted than the host.
"""

EXAMPLES = r"""
- name: The snapshots of a repository, with the times of their upload
  holdfast.restic_r2.restic_snapshot_info:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    password: "{{ holdfast_password }}"
    upload_times: true
  register: found
"""

RETURN = r"""
snapshots:
  description: The snapshots, oldest first by their claimed time.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The full id.
      type: str
    short_id:
      description: The first 8 digits of the id.
      type: str
    time:
      description: When the backup began, as the host claimed.
      type: str
    hostname:
      description: The host, as it called itself.
      type: str
    paths:
      description: The paths that were backed up.
      type: list
      elements: str
    tags:
      description: The tags.
      type: list
      elements: str
    summary:
      description: The figures of restic, such as C(total_bytes_processed), where restic >= 0.17 made the snapshot.
      returned: when the snapshot has one
      type: dict
    uploaded:
      description: When the object was stored, as the service says. V(null) when the object is gone meanwhile.
      returned: when O(upload_times) is true
      type: str
  sample:
    - id: 181aba75fdcf1fcd1702e1cd494a659bea075d4b02ea2f23bbdc21649532950f
      short_id: 181aba75
      time: "2026-11-23T05:38:27.227057191Z"
      hostname: web1
      paths: [/srv]
      tags: []
      uploaded: "2026-11-23T05:38:28Z"
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actions.list_snapshots import listed
from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, RESTIC, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import LONG, shown, shown_all

OPTIONS = {
    "upload_times": {"type": "bool", "default": False},
    "unreadable": {"type": "str", "choices": ["fail", "tell"], "default": "fail"},
}

SPEC = {**CLOUDFLARE, **S3, **RESTIC, **OPTIONS, "record_dir": {"type": "path"}}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        clients = Clients(module.params, hider(module))
        snapshots, ignored = listed(clients, **{name: module.params[name] for name in OPTIONS})
    except HoldfastError as error:
        module.fail_json(**shown_all({"msg": str(error), **error.details}))
    for line in ignored:
        module.warn(shown(f"restic cannot read a snapshot: {line}", LONG))
    module.exit_json(changed=False, snapshots=shown_all(snapshots))


if __name__ == "__main__":
    main()
