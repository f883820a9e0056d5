#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: r2_bucket_info
short_description: List buckets of Cloudflare R2
version_added: 0.1.0
description:
  - Returns one bucket, or all buckets that the account has in one jurisdiction.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.info_module
  - holdfast.restic_r2.attributes.actiongroup_r2
options:
  name:
    description:
      - The bucket to look for. When not set, all buckets are returned, those of O(jurisdiction) only.
    type: str
  public_access:
    description:
      - Whether to find out if the bucket is public through its C(r2.dev) address. It costs one more call, and
        needs O(name).
    type: bool
    default: false
seealso:
  - module: holdfast.restic_r2.r2_bucket
"""

EXAMPLES = r"""
- name: All buckets of the account
  holdfast.restic_r2.r2_bucket_info:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
  register: account

- name: One bucket, and whether it is public
  holdfast.restic_r2.r2_bucket_info:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    name: backup-web1
    public_access: true
  register: web1

- name: Stop when it is
  ansible.builtin.assert:
    that: not web1.buckets[0].public_access
"""

RETURN = r"""
buckets:
  description: The buckets, as the API describes them. Empty when there is none.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the bucket.
      returned: always
      type: str
      sample: backup-web1
    creation_date:
      description: When the bucket was created.
      returned: always
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
      returned: O(public_access=true)
      type: bool
      sample: false
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.arguments import CLOUDFLARE
from ..module_utils._common.errors import HoldfastError
from ..module_utils._locks.store import cloudflare_client
from ..module_utils._r2.api import Cloudflare

ARGUMENTS: dict[str, Any] = {
    **CLOUDFLARE,
    "name": {"type": "str"},
    "public_access": {"type": "bool", "default": False},
}


def buckets(client: Cloudflare, name: str | None, public_access: bool) -> list[dict[str, Any]]:
    if not name:
        return client.buckets()
    bucket = client.bucket(name)
    if bucket is not None and public_access:
        bucket = {**bucket, "public_access": client.public_access(name)}
    return [] if bucket is None else [bucket]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if module.params["public_access"] and not module.params["name"]:
        module.fail_json(msg="public_access needs name: it is looked up for one bucket only.")
    try:
        found = buckets(cloudflare_client(module.params), module.params["name"], module.params["public_access"])
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(buckets=found)


if __name__ == "__main__":
    main()
