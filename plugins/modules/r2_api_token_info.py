#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: r2_api_token_info
short_description: List the API tokens that this collection made
version_added: 0.1.0
description:
  - Lists the account's API tokens whose name begins with C(holdfast/), to see which hosts have one, which buckets it reaches and
    when it ends. No value and no key is returned.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.info_module
  - holdfast.restic_r2.attributes.actiongroup_r2
options:
  api_token:
    description:
      - The value of an API token with the permission C(Account API Tokens Read) on the account.
      - When not set, the environment variable E(CLOUDFLARE_API_TOKEN) is used.
  name:
    description:
      - Only the tokens of this name, without C(holdfast/).
    type: str
seealso:
  - module: holdfast.restic_r2.r2_host_token
"""

EXAMPLES = r"""
- name: Which tokens are there
  holdfast.restic_r2.r2_api_token_info:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_token_maker }}"
  register: known
"""

RETURN = r"""
tokens:
  description: The tokens, without a value or key; C(access_key_id) is the id of the token.
  returned: success
  type: list
  elements: dict
  sample:
    - access_key_id: fedcba9876543210fedcba9876543210
      name: web1
      status: active
      policies:
        - effect: allow
          permission_groups: [Workers R2 Storage Bucket Item Write]
          resources: {com.cloudflare.edge.r2.bucket.0123456789abcdef0123456789abcdef_default_backup-web1: "*"}
      expires_on: null
      allowed_addresses: []
      denied_addresses: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.arguments import CLOUDFLARE
from ..module_utils._common.errors import HoldfastError
from ..module_utils._locks.store import cloudflare_client
from ..module_utils._tokens.api import Tokens
from ..module_utils._tokens.desired import full_name, is_ours, shown


def main() -> None:
    module = AnsibleModule(argument_spec=dict(CLOUDFLARE, name={"type": "str"}), supports_check_mode=True)
    name = module.params["name"]
    try:
        searched = full_name(name) if name else None
        found = [token for token in Tokens(cloudflare_client(module.params)).all() if is_ours(token)]
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    shown_tokens = [
        {"access_key_id": token.get("id"), **shown(token)} for token in found if searched in (None, token["name"])
    ]
    module.exit_json(tokens=shown_tokens)


if __name__ == "__main__":
    main()
