#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: r2_temporary_credentials
short_description: Sign temporary S3 credentials for one host
version_added: 0.1.0
description:
  - This module is experimental, as the C(refresh) playbook that uses it. R2's service was never asked with such credentials, see
    C(docs/live-r2.md). Give hosts API tokens (M(holdfast.restic_r2.r2_host_token)) where you can.
  - An account can have 500 API tokens. Where there are more hosts, each can have credentials that end by themselves, signed
    with the secret of one parent token. They reach the objects of one bucket, or of one prefix in it, which a token cannot
    be limited to.
  - They are calculated where this module runs; R2 is not asked. R2 refuses them when they have ended, and when the parent is
    disabled, rolled or removed.
  - Within O(refresh_seconds) the same credentials come out, so that a second run changes nothing on the host. Run the
    C(refresh) playbook at least as often.
  - The time is that of this machine. A clock that is wrong makes credentials that are refused.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.info_module
  - holdfast.restic_r2.attributes.actiongroup_r2
options:
  access_key_id:
    description:
      - The access key id of the parent. When not set, it is looked up with O(api_token), at the price of one API call.
  secret_access_key:
    description:
      - The secret access key of the parent, which must be able to write objects in the bucket. When not set, it is derived
        from O(api_token).
      - A parent of its own, which reaches objects only, is the better one. It can be disabled without stopping maintenance.
  session_token:
    description:
      - Not supported. Temporary credentials cannot be the parent of others.
  bucket:
    description:
      - The bucket.
    type: str
    required: true
  prefix:
    description:
      - The prefix of the repository in a shared bucket. The credentials reach only the objects below it. Empty for the
        whole bucket.
    type: str
    default: ''
  permission:
    description:
      - The permitted operations on objects.
    type: str
    choices: [read_write, read_only]
    default: read_write
  record_dir:
    description:
      - The folder of the records. A host that was frozen, which means that there is a file C(frozen) beside its record, gets
        no credentials.
    type: path
  valid_seconds:
    description:
      - For how long they are valid, from 900 seconds to 7 days.
      - It must be longer than O(refresh_seconds) and the longest backup together. A job of systemd keeps the credentials
        that it began with.
    type: int
    default: 604800
  refresh_seconds:
    description:
      - How often they change. At most half of O(valid_seconds).
    type: int
    default: 86400
seealso:
  - module: holdfast.restic_r2.r2_host_token
"""

EXAMPLES = r"""
- name: Sign credentials for a host in a shared bucket
  holdfast.restic_r2.r2_temporary_credentials:
    account_id: 0123456789abcdef0123456789abcdef
    access_key_id: "{{ vault_parent.access_key_id }}"
    secret_access_key: "{{ vault_parent.secret_access_key }}"
    bucket: backups
    prefix: web1/
  register: credentials
  no_log: true
"""

RETURN = r"""
access_key_id:
  description: The access key id, which is that of the parent.
  returned: success
  type: str
  sample: fedcba9876543210fedcba9876543210
secret_access_key:
  description: The secret access key. Register the result with C(no_log=true).
  returned: success
  type: str
session_token:
  description: The session token, for C(aws_session_token) in a credentials file.
  returned: success
  type: str
expires:
  description: When they end.
  returned: success
  type: str
  sample: "2026-11-30T00:00:00Z"
"""

import time
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, S3
from ..module_utils._common.dates import format_date
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._r2.s3 import endpoint
from ..module_utils._r2.temporary_credentials import SCOPES, Credentials, Parent, TemporaryError, period_of, sign
from ..module_utils._tokens.key_file import refuse_frozen


def made(clients: Clients, now: float) -> Credentials:
    """The credentials that the parameters ask for."""
    params = clients.params
    refuse_frozen(params["record_dir"], clients.bucket, clients.prefix)
    period = period_of(now, params["valid_seconds"], params["refresh_seconds"])
    if not params["account_id"]:
        raise TemporaryError("account_id is missing: set it, or the environment variable CLOUDFLARE_ACCOUNT_ID.")
    if params["session_token"]:
        raise TemporaryError("Temporary credentials cannot be the parent of others: leave out session_token.")
    key_id, secret, _token = clients.keys
    parent = Parent(params["account_id"], key_id, secret)
    return sign(parent, endpoint(params), clients.bucket, clients.prefix, params["permission"], period)


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            CLOUDFLARE,
            **S3,
            bucket={"type": "str", "required": True},
            prefix={"type": "str", "default": ""},
            record_dir={"type": "path"},
            permission={"type": "str", "choices": list(SCOPES), "default": "read_write"},
            valid_seconds={"type": "int", "default": 604800},
            refresh_seconds={"type": "int", "default": 86400},
        ),
        supports_check_mode=True,
    )
    try:
        found = made(Clients(module.params, hide=hider(module)), time.time())
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(
        access_key_id=found.access_key_id,
        secret_access_key=found.secret_access_key,
        session_token=found.session_token,
        expires=format_date(datetime.fromtimestamp(found.expires, tz=timezone.utc)),
    )


if __name__ == "__main__":
    main()
