#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: r2_bucket
short_description: Manage a bucket of Cloudflare R2
version_added: 0.1.0
description:
  - Creates, changes and deletes a bucket of Cloudflare R2, and keeps its public address switched off.
  - A bucket that is not empty is never deleted.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.actiongroup_r2
attributes:
  check_mode:
    support: full
    details: Whether a bucket is empty is only known when it is deleted, so check mode does not see that refusal coming.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - The name of the bucket, 3 to 63 lower-case letters, digits and hyphens.
    type: str
    required: true
  state:
    description:
      - V(present) creates the bucket if it is not there, and changes what differs.
      - V(absent) deletes it. R2 refuses this while it holds an object, also one that a lock rule holds.
    type: str
    choices: [present, absent]
    default: present
  location_hint:
    description:
      - Where R2 should keep the bucket. By itself, R2 creates it near the node that asks for it. Set this when that
        is far from the backed-up hosts.
      - R2 takes it as a hint, and only when a bucket name is used for the first time. It never changes a bucket that is
        there, so a bucket elsewhere is not reported as a difference; see RV(bucket.location).
    type: str
    choices: [apac, eeur, enam, oc, weur, wnam]
  storage_class:
    description:
      - The storage class of objects that are uploaded without one, which is what restic does. When not set, a bucket
        that is there keeps its class, and R2 chooses V(Standard) for a new one.
      - V(InfrequentAccess) stores cheaper, but charges for reading and for at least 30 days of each object. It does not
        suit a repository that is pruned often.
    type: str
    choices: [Standard, InfrequentAccess]
  public_access:
    description:
      - Whether the bucket is public through its C(r2.dev) address. Leave it off for backups.
    type: bool
    default: false
  known_buckets:
    description:
      - Buckets that are known to be there, as RV(holdfast.restic_r2.r2_bucket_info#module:buckets) returned them
        earlier in the same run. A bucket that is among them is not looked up again, which spares one call for each
        host of a fleet.
      - A bucket that is not among them is created; nothing is lost when it is there after all.
    type: list
    elements: dict
  record_dir:
    description:
      - The folder that holds the records of all repositories, as in M(holdfast.restic_r2.restic_repository).
      - When it holds the record of a repository in this bucket and the bucket is not there, the module fails and does not
        create it. A bucket that has vanished is an alarm.
    type: path
seealso:
  - module: holdfast.restic_r2.r2_bucket_info
  - module: holdfast.restic_r2.r2_bucket_lock
  - module: holdfast.restic_r2.r2_bucket_lifecycle
"""

EXAMPLES = r"""
- name: A bucket for the backups of one host, in western Europe
  holdfast.restic_r2.r2_bucket:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    name: backup-web1
    location_hint: weur

- name: A bucket whose data stays in the European Union
  holdfast.restic_r2.r2_bucket:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    name: backup-web2
    jurisdiction: eu

- name: Ask once for all buckets of the account
  holdfast.restic_r2.r2_bucket_info:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
  run_once: true
  register: known

- name: One call per host instead of two
  holdfast.restic_r2.r2_bucket:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    name: backup-web1
    known_buckets: "{{ known.buckets }}"

- name: Delete a bucket that is empty
  holdfast.restic_r2.r2_bucket:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    name: backup-web1
    state: absent
"""

RETURN = r"""
bucket:
  description:
    - The bucket as the API describes it. In check mode, a bucket that would be created has only the known fields.
  returned: success and O(state=present)
  type: dict
  contains:
    name:
      description: The name of the bucket.
      returned: always
      type: str
      sample: backup-web1
    creation_date:
      description: When the bucket was created.
      returned: when the bucket is there
      type: str
      sample: '2026-11-23T04:00:00.000Z'
    location:
      description: Where the bucket is. The API writes it in capitals.
      returned: when the API tells
      type: str
      sample: WEUR
    jurisdiction:
      description: The jurisdiction of the bucket.
      returned: when the API tells
      type: str
      sample: default
    storage_class:
      description: The storage class of objects that are uploaded without one.
      returned: when the API tells
      type: str
      sample: Standard
public_access:
  description: Whether the bucket is public through its C(r2.dev) address.
  returned: success and O(state=present)
  type: bool
  sample: false
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.arguments import CLOUDFLARE
from ..module_utils._common.errors import HoldfastError
from ..module_utils._locks.store import cloudflare_client
from ..module_utils._r2.bucket import absent, present

ARGUMENTS: dict[str, Any] = {
    **CLOUDFLARE,
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "location_hint": {"type": "str", "choices": ["apac", "eeur", "enam", "oc", "weur", "wnam"]},
    "storage_class": {"type": "str", "choices": ["Standard", "InfrequentAccess"]},
    "public_access": {"type": "bool", "default": False},
    "known_buckets": {"type": "list", "elements": "dict"},
    "record_dir": {"type": "path"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    ensure = present if module.params["state"] == "present" else absent
    try:
        before, after = ensure(cloudflare_client(module.params), module.params, write=not module.check_mode)
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    result: dict[str, Any] = {"changed": before != after, "diff": {"before": before, "after": after}}
    if after:
        result["public_access"] = after["public_access"]
        result["bucket"] = {key: value for key, value in after.items() if key != "public_access"}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
