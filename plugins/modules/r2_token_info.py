#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: r2_token_info
short_description: Learn the access key id that belongs to an API token
version_added: 0.1.0
description:
  - The S3 key pair of an API token follows from the token itself. The access key id is the id of the token, the secret
    access key is the SHA-256 of its value. This module asks Cloudflare for the id.
  - Ask once in a run and hand the answer to all modules that take O(holdfast.restic_r2.restic_prune#module:access_key_id);
    otherwise each of them asks for itself.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.info_module
  - holdfast.restic_r2.attributes.actiongroup_r2
seealso:
  - module: holdfast.restic_r2.r2_bucket_info
"""

EXAMPLES = r"""
- name: Ask once in a run
  holdfast.restic_r2.r2_token_info:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
  run_once: true
  register: token
"""

RETURN = r"""
access_key_id:
  description: The id of the token, which is the access key id of its S3 key pair.
  returned: success
  type: str
  sample: fedcba9876543210fedcba9876543210
account_id:
  description: The account that was asked.
  returned: success
  type: str
  sample: 0123456789abcdef0123456789abcdef
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.arguments import CLOUDFLARE
from ..module_utils._common.errors import HoldfastError
from ..module_utils._locks.store import cloudflare_client


def main() -> None:
    module = AnsibleModule(argument_spec=dict(CLOUDFLARE), supports_check_mode=True)
    try:
        access_key_id = cloudflare_client(module.params).token_id()
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(access_key_id=access_key_id, account_id=module.params["account_id"])


if __name__ == "__main__":
    main()
