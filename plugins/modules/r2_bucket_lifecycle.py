#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: r2_bucket_lifecycle
short_description: Manage lifecycle rules of an R2 bucket
version_added: 0.1.0
description:
  - Sees that uploads that were begun and never finished are cleaned away, and manages further rules that delete objects
    after some days.
  - Refuses a rule that would delete below a locked prefix. A lock holds such a deletion back only as long as it is in
    force, so it would strike in the middle of a maintenance window.
  - Uses the S3 API.
author: The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.full
  - holdfast.restic_r2.attributes.actiongroup_r2
requirements:
  - boto3 >= 1.36.0
options:
  bucket:
    description:
      - The bucket.
    type: str
    required: true
  abort_multipart_days:
    description:
      - After how many days an unfinished multipart upload is removed. The rule for it covers the whole bucket and has
        the id V(holdfast/abort-multipart).
    type: int
    default: 7
  rules:
    description:
      - Further rules that must exist, known by their id.
      - Rules that are not named here stay as they are, unless O(purge) is true.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: The id of the rule.
        type: str
        required: true
      prefix:
        description: The rule is for objects whose key begins with this. Empty is every object.
        type: str
        required: true
      expire_days:
        description: After how many days an object is deleted.
        type: int
        required: true
  purge:
    description:
      - Whether to remove all rules that are neither named in O(rules) nor the one for multipart uploads.
    type: bool
    default: false
  repository:
    description:
      - The prefix of a repository in the bucket, empty when the repository is the bucket. The prefixes of its
        lock set count as locked, also before the lock rules are set.
    type: str
notes:
  - With O(api_token) the lock rules of the bucket are read, but only when there is a rule that deletes. Without it,
    only what O(repository) covers is known to be locked; without either, a rule that deletes is refused.
seealso:
  - module: holdfast.restic_r2.r2_bucket_lock
"""

EXAMPLES = r"""
- name: Unfinished uploads are removed after two days
  holdfast.restic_r2.r2_bucket_lifecycle:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    abort_multipart_days: 2

- name: Exactly these rules, and nothing that deletes below the repository
  holdfast.restic_r2.r2_bucket_lifecycle:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    repository: ""
    rules:
      - id: reports
        prefix: reports/
        expire_days: 30
    purge: true
"""

RETURN = r"""
rules:
  description: All lifecycle rules of the bucket after the module has run, in the shape of the S3 API.
  returned: success
  type: list
  elements: dict
  sample:
    - ID: holdfast/abort-multipart
      Status: Enabled
      Prefix: ""
      AbortIncompleteMultipartUpload:
        DaysAfterInitiation: 7
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actions.ensure_lifecycle import ensure
from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider

RULE = {
    "id": {"type": "str", "required": True},
    "prefix": {"type": "str", "required": True},
    "expire_days": {"type": "int", "required": True},
}
OPTIONS = {
    "abort_multipart_days": {"type": "int", "default": 7},
    "rules": {"type": "list", "elements": "dict", "default": [], "options": RULE},
    "purge": {"type": "bool", "default": False},
    "repository": {"type": "str"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={**CLOUDFLARE, **S3, **OPTIONS, "bucket": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    try:
        clients = Clients(module.params, hider(module))
        outcome = ensure(clients, check_mode=module.check_mode, **{name: module.params[name] for name in OPTIONS})
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in outcome.warnings:
        module.warn(warning)
    diff = {"before": {"rules": outcome.before}, "after": {"rules": outcome.after}}
    module.exit_json(changed=outcome.changed, rules=outcome.after, diff=diff)


if __name__ == "__main__":
    main()
