#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: r2_api_token
short_description: Create, change, roll and remove the API token of one bucket
version_added: 0.1.0
description:
  - An account API token that reaches the objects of one bucket and nothing else, for the host whose backups are in that
    bucket. It can neither change locks nor see other buckets.
  - Its S3 key pair follows from it. The access key id is the id of the token, the secret access key is the SHA-256 of its
    value. Both are returned when the token is new or was rolled, and cannot be learned later. The value of the token is
    never returned, because it is not needed.
  - A token is recognised by its name, to which this module prepends C(holdfast/). Tokens with other names are never
    touched. When two tokens have the name, nothing is changed.
  - When the answer to the creation is lost, the account's tokens are listed. A token that was made all the same is rolled
    and taken, so that none is left behind.
  - To give a host a token, keep its pair and replace it safely, use M(holdfast.restic_r2.r2_host_token) instead, which
    does all that by means of this.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.actiongroup_r2
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Never holds a secret.
  idempotent:
    support: partial
    details: With O(roll=true), every run gives the token another value.
options:
  api_token:
    description:
      - The value of an API token with the permission C(Account API Tokens Write) on the account.
      - Its owner can make a token for anything. It belongs on the maintenance node only.
      - When not set, the environment variable E(CLOUDFLARE_API_TOKEN) is used.
  name:
    description:
      - The name of the token without C(holdfast/), for example that of the host.
    type: str
    required: true
  state:
    description:
      - V(present) makes the token as described, and leaves it disabled when it was disabled.
      - V(enabled) is the same, and enables it.
      - V(disabled) disables a token that is there, and changes nothing else. Its keys are refused until it is enabled.
      - V(absent) removes it, and with it its keys and all temporary credentials below it.
    type: str
    choices: [present, enabled, disabled, absent]
    default: present
  bucket:
    description:
      - The bucket whose objects the token reaches. Required unless O(state) is V(disabled) or V(absent).
    type: str
  permission:
    description:
      - The permission on objects. restic needs V(read_write) for backups. Locked objects it cannot delete all the same.
    type: str
    choices: [read_write, read_only]
    default: read_write
  expires_on:
    description:
      - When the token ends, for example V(2027-01-31T00:00:00Z). Backups fail from then on, so rotate it before.
      - When not set, an expiry that is there stays; empty removes it.
    type: str
  allowed_addresses:
    description:
      - Source addresses from which the token works, as addresses or networks, for example V(192.0.2.0/24).
      - When not set, the addresses stay as they are; an empty list removes them, so that it works from everywhere.
      - Cloudflare does not say whether this holds for S3 requests too. Try it before you rely on it.
    type: list
    elements: str
  denied_addresses:
    description:
      - Source addresses from which the token does not work; else as O(allowed_addresses).
    type: list
    elements: str
  roll:
    description:
      - Give a token that is there another value. The old keys end at once, the access key id stays.
    type: bool
    default: false
seealso:
  - module: holdfast.restic_r2.r2_api_token_info
  - module: holdfast.restic_r2.r2_host_token
"""

EXAMPLES = r"""
- name: Create a token for a host, and keep its keys out of the output
  holdfast.restic_r2.r2_api_token:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_token_maker }}"
    name: web1
    bucket: backup-web1
    expires_on: "2099-01-31T00:00:00Z"
    allowed_addresses:
      - 192.0.2.0/24
  register: token
  no_log: true

- name: Give it other keys, because the old ones were seen
  holdfast.restic_r2.r2_api_token:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_token_maker }}"
    name: web1
    bucket: backup-web1
    roll: true
  register: token
  no_log: true

- name: Freeze a host that was broken into
  holdfast.restic_r2.r2_api_token:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_token_maker }}"
    name: web1
    state: disabled

- name: Remove the token of a host that is gone
  holdfast.restic_r2.r2_api_token:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_token_maker }}"
    name: web1
    state: absent
"""

RETURN = r"""
token:
  description:
    - The token. In check mode, a token that would be created as far as it is known.
  returned: success, unless O(state=absent)
  type: dict
  contains: &token
    name:
      description: The name without C(holdfast/).
      type: str
      sample: web1
    status:
      description: V(active), V(disabled) or V(expired).
      type: str
      sample: active
    policies:
      description: What it may do, with the names of the permission groups.
      type: list
      elements: dict
      sample:
        - effect: allow
          permission_groups: [Workers R2 Storage Bucket Item Write]
          resources: {com.cloudflare.edge.r2.bucket.0123456789abcdef0123456789abcdef_default_backup-web1: "*"}
    expires_on:
      description: When it ends; null for never.
      type: str
      sample: "2027-01-31T00:00:00Z"
    allowed_addresses:
      description: From where alone it works; empty for everywhere.
      type: list
      elements: str
      sample: [192.0.2.0/24]
    denied_addresses:
      description: From where it does not work.
      type: list
      elements: str
      sample: []
access_key_id:
  description: The id of the token, which is the access key id of its S3 key pair.
  returned: when the token is there
  type: str
  sample: fedcba9876543210fedcba9876543210
secret_access_key:
  description: The secret access key. Register the result with C(no_log=true).
  returned: when the token was created or rolled
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.arguments import CLOUDFLARE, TOKEN
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._locks.store import cloudflare_client
from ..module_utils._tokens.api import Tokens
from ..module_utils._tokens.desired import shown
from ..module_utils._tokens.ensure import ensure, wish_of

ARGUMENTS: dict[str, Any] = {
    **CLOUDFLARE,
    **TOKEN,
    "state": {"type": "str", "choices": ["present", "enabled", "disabled", "absent"], "default": "present"},
    "roll": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", "present", ["bucket"]), ("state", "enabled", ["bucket"])],
        supports_check_mode=True,
    )
    params = module.params
    try:
        client = cloudflare_client(params)
        wish = wish_of(params, client.account_id)
        write, hide = not module.check_mode, hider(module)
        done = ensure(Tokens(client), wish, params["state"], roll=params["roll"], write=write, hide=hide)
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    found = {
        "token": shown(done.after),
        "access_key_id": done.access_key_id,
        "secret_access_key": done.secret,
    }
    diff = {"before": shown(done.before), "after": shown(done.after)}
    module.exit_json(changed=done.changed, diff=diff, **{name: value for name, value in found.items() if value})


if __name__ == "__main__":
    main()
