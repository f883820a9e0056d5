#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restic_repository
short_description: Make and record a restic repository in R2
version_added: 0.1.0
description:
  - Initialises the repository if, and only if, there is none and none was ever recorded.
  - Records the ids of the repository and of its key, and copies the objects C(config) and C(keys/<id>) into the record.
    With these two and the password all data can be decrypted, also when the bucket's other keys and indexes are damaged.
  - A repository that is recorded but gone, or that has another id than the recorded one, is an alarm. The module fails,
    changes nothing, and never initialises it again.
  - Of two runs that make the same repository at once, one makes it; the other one fails, and leaves nothing in the bucket. For
    that, restic makes it in a temporary folder, and the module stores its two objects where there are none.
  - A repository without a record is recorded as it is, unless another record in O(record_dir) has its id.
  - Run it before the lock rules are set. It also works under a lock, but what a broken run leaves behind cannot be
    deleted there.
author: The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.restic
  - holdfast.restic_r2.restic.place
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.full
  - holdfast.restic_r2.attributes.actiongroup_r2
requirements:
  - boto3 >= 1.36.0
  - restic >= 0.14.0
options:
  record_dir:
    description:
      - The folder that holds the records of all repositories, one folder each, C(<bucket>/<prefix>). Keep it on the
        maintenance node, where no backed-up host can write, and keep a copy of it elsewhere.
      - When not set, nothing is recorded, and only O(repository_id) protects against a replaced repository.
    type: path
notes:
  - When O(record_dir) holds a record, its key id is used to open the repository, so O(key_id) need not be set.
  - Keys that are not recorded, and a C(config) object that is not the recorded one, give a warning.
seealso:
  - module: holdfast.restic_r2.r2_bucket_lock
"""

EXAMPLES = r"""
- name: The repository of web1 exists and is recorded
  holdfast.restic_r2.restic_repository:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    password: "{{ holdfast_password }}"
    record_dir: "{{ holdfast_record_dir }}"
  delegate_to: localhost

- name: The same, in a bucket that several hosts share
  holdfast.restic_r2.restic_repository:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-shared
    prefix: web1/
    password: "{{ holdfast_password }}"
    record_dir: "{{ holdfast_record_dir }}"
  delegate_to: localhost
"""

RETURN = r"""
created:
  description: Whether the repository was made, or would be made in check mode.
  returned: success
  type: bool
  sample: true
repository_id:
  description: The id of the repository. Empty in check mode when the repository does not exist yet.
  returned: success
  type: str
  sample: 28dd99d14822a82f40988d865757a24e49c481506052582056a65969e5f908c5
key_id:
  description: The full id of the key that the password opens. Empty in check mode when there is no repository yet.
  returned: success
  type: str
  sample: e2633363e7e69296e48c44cf85229a50264e9f64c67606d2a3eaf46058290a05
record:
  description: The folder of the record, empty when O(record_dir) is not set.
  returned: success
  type: str
  sample: /var/lib/holdfast/backup-web1
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actions.ensure_repository import ensure
from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, RESTIC, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import LONG, shown, shown_all


def main() -> None:
    module = AnsibleModule(
        argument_spec={**CLOUDFLARE, **S3, **RESTIC, "record_dir": {"type": "path"}}, supports_check_mode=True
    )
    try:
        clients = Clients(module.params, hider(module))
        outcome = ensure(clients, record_dir=module.params["record_dir"], check_mode=module.check_mode)
    except HoldfastError as error:
        module.fail_json(**shown_all({"msg": str(error), **error.details}))
    for warning in outcome.warnings:
        module.warn(shown(warning, LONG))
    module.exit_json(**shown_all(outcome.result()))


if __name__ == "__main__":
    main()
