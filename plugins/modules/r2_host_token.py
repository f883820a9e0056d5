#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: r2_host_token
short_description: Keep the API token of a host, with its S3 key pair on the maintenance node
version_added: 0.1.0
description:
  - Manages the API token of one host, for as long as the host lives. It makes the token, keeps the S3 key pair in a
    file that only its owner can read, and replaces token and pair in steps between which both work.
  - The file is C(host_keys.json) beside the record of the repository. No secret is returned.
  - A host that was frozen, which means that there is a file C(frozen) beside its record, gets no token. The C(recover)
    playbook makes that file and removes it.
  - A run that dies at any point can be repeated. If a pair was lost before it was in the file, its token gets another
    value, so that the pair is worth nothing.
  - The role P(holdfast.restic_r2.repository#role) and the C(rotate) playbook run it.
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
    support: full
options:
  api_token:
    description:
      - The value of an API token with the permission C(Account API Tokens Write) on the account.
      - When not set, the environment variable E(CLOUDFLARE_API_TOKEN) is used.
  name:
    description:
      - The name of the token without C(holdfast/), up to 80 characters.
    type: str
    required: true
  record_dir:
    description:
      - The folder of the records, as M(holdfast.restic_r2.restic_repository) has it.
    type: path
    required: true
  bucket:
    description:
      - The bucket whose objects the token reaches.
    type: str
    required: true
  prefix:
    description:
      - The prefix of the host's repository in a shared bucket. It tells only where the file is, because a token cannot be
        limited to a prefix.
    type: str
    default: ''
  state:
    description:
      - V(present) has a token with its pair in the file. A token that was disabled by hand stays so.
      - V(staged) has another one beside it, with its pair in C(host_keys.next.json). Both work.
      - V(unstaged) removes that other one and its pair again, unless it has taken over. Only for a rotation that has failed
        before the host used the pair.
      - V(promoted) lets the pair of the other one take over, and the token of before end after O(former_seconds).
      - V(absent) removes all tokens of the host, and the files.
    type: str
    choices: [present, staged, unstaged, promoted, absent]
    default: present
  former_seconds:
    description:
      - For how long the token of before still works, in seconds. A backup that is running keeps the keys that it began
        with, so this should be longer than the longest backup.
      - V(0) removes it at once, for when it may have been stolen.
    type: int
    default: 43200
  known_tokens:
    description:
      - The names of all tokens that M(holdfast.restic_r2.r2_api_token_info) has listed, or of those that begin with O(name).
        With many hosts, that spares each of them a listing of the tokens of all.
      - Only O(state=present) goes by it, and only when O(name) is not among them.
    type: list
    elements: str
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
seealso:
  - module: holdfast.restic_r2.r2_api_token_info
"""

EXAMPLES = r"""
- name: Have a token for a host
  holdfast.restic_r2.r2_host_token:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_token_maker }}"
    name: backup-web1
    bucket: backup-web1
    record_dir: /var/lib/holdfast/records

- name: Make the next one
  holdfast.restic_r2.r2_host_token:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_token_maker }}"
    name: backup-web1
    bucket: backup-web1
    record_dir: /var/lib/holdfast/records
    state: staged

- name: Let it take over, once the host has it and has proved that it works
  holdfast.restic_r2.r2_host_token:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_token_maker }}"
    name: backup-web1
    bucket: backup-web1
    record_dir: /var/lib/holdfast/records
    state: promoted
"""

RETURN = r"""
access_key_id:
  description: The id of the token, which is its access key id. With O(state=staged), that of the next one.
  returned: when it is known
  type: str
  sample: fedcba9876543210fedcba9876543210
keys_file:
  description: The file that holds its pair.
  returned: always
  type: str
  sample: /var/lib/holdfast/records/backup-web1/host_keys.json
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.arguments import CLOUDFLARE
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._locks.store import cloudflare_client
from ..module_utils._tokens.rotation import HostToken

ARGUMENTS: dict[str, Any] = {
    **CLOUDFLARE,
    "name": {"type": "str", "required": True},
    "bucket": {"type": "str", "required": True},
    "expires_on": {"type": "str"},
    "allowed_addresses": {"type": "list", "elements": "str"},
    "record_dir": {"type": "path", "required": True},
    "prefix": {"type": "str", "default": ""},
    "state": {
        "type": "str",
        "choices": ["present", "staged", "unstaged", "promoted", "absent"],
        "default": "present",
    },
    "former_seconds": {"type": "int", "default": 43200},
    "known_tokens": {"type": "list", "elements": "str", "no_log": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    write, hide = not module.check_mode, hider(module)
    state = module.params["state"]
    try:
        host = HostToken(cloudflare_client(module.params), module.params, write=write, hide=hide)
        act = {
            "present": host.present,
            "staged": host.stage,
            "unstaged": host.unstage,
            "promoted": host.promote,
            "absent": host.absent,
        }
        key_id = act[state]()
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    except OSError as error:
        module.fail_json(msg=f"{error.filename} cannot be changed: {error.strerror}.")
    # A rotation that was interrupted late is finished by the next one, and then there is no next pair.
    staged = state == "staged" and host.next_file.read() is not None
    result = {"access_key_id": key_id} if key_id else {}
    path = host.next_file.path if staged else host.file.path
    module.exit_json(changed=host.changed, keys_file=path, diff={"before": host.before, "after": host.after}, **result)


if __name__ == "__main__":
    main()
