#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: r2_bucket_lock_info
short_description: Show the lock rules and the open windows of a bucket of Cloudflare R2
version_added: 0.1.0
description:
  - Returns the lock rules of a bucket, the windows that are open for maintenance, and the mistakes in the document.
  - It costs one call.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.info_module
  - holdfast.restic_r2.attributes.actiongroup_r2
options:
  bucket:
    description:
      - The bucket whose rules are shown.
    type: str
    required: true
seealso:
  - module: holdfast.restic_r2.r2_bucket_lock
  - module: holdfast.restic_r2.r2_bucket_relock
"""

EXAMPLES = r"""
- name: Read the lock rules
  holdfast.restic_r2.r2_bucket_lock_info:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    bucket: backup-web1
  register: lock

- name: Stop when something is unlocked that should not be, or cannot be judged
  ansible.builtin.assert:
    that:
      - lock.windows | rejectattr('live') | length == 0
      - lock.problems | length == 0
"""

RETURN = r"""
rules:
  description: All rules of the bucket. Dates are in UTC, and a rule without a prefix has an empty one.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The id of the rule.
      returned: always
      type: str
      sample: holdfast/data
    enabled:
      description: Whether the rule is in force.
      returned: always
      type: bool
      sample: true
    prefix:
      description: The beginning of the keys that the rule holds.
      returned: always
      type: str
      sample: data/
    condition:
      description: How long the rule holds an object, with C(type) being C(Indefinite), C(Age) or C(Date).
      returned: always
      type: dict
      sample:
        type: Indefinite
windows:
  description: The open windows of the repositories in the bucket. Empty when everything is locked.
  returned: success
  type: list
  elements: dict
  contains:
    prefix:
      description: The prefix of the repository, empty when it is the bucket.
      returned: always
      type: str
      sample: web1/
    parts:
      description: The unlocked parts.
      returned: always
      type: list
      elements: str
      sample:
        - data
        - index
    lease:
      description: By when the window must be closed. Null when nothing says so.
      returned: always
      type: str
      sample: '2026-11-23T04:10:00Z'
    holder:
      description: The id of the run that opened the window.
      returned: always
      type: str
      sample: 9f86d081884c7d65
    live:
      description: Whether the lease still runs, by the clock of the service.
      returned: always
      type: bool
      sample: true
    overdue:
      description: Whether the lease has run out, or is further away than any that this collection writes.
      returned: always
      type: bool
      sample: false
    orphaned:
      description: Whether something is unlocked and there is no lease.
      returned: always
      type: bool
      sample: false
    problem:
      description:
        - Why the window cannot be judged. Null when it can be. Such a window is neither live nor overdue nor
          orphaned, and a person has to correct the rules.
      returned: always
      type: str
      sample: null
fences:
  description: Tokens of hosts that are disabled while their repository is maintained. Empty when none is.
  returned: success
  type: list
  elements: dict
  contains:
    prefix:
      description: The prefix of the repository, empty when it is the bucket.
      returned: always
      type: str
      sample: web1/
    tokens:
      description: The ids of the tokens behind it.
      returned: always
      type: list
      elements: str
      sample: [fedcba9876543210fedcba9876543210]
    lease:
      description: By when the token must be enabled again.
      returned: always
      type: str
      sample: '2026-11-23T04:10:00Z'
    holder:
      description: The id of the run that put up the fence.
      returned: always
      type: str
      sample: 9f86d081884c7d65
    overdue:
      description: Whether the lease has run out, so that the guard enables the token.
      returned: always
      type: bool
      sample: false
problems:
  description:
    - The mistakes in rules that this collection writes, or in the document as a whole, one sentence each. Rules
      with problems are left alone by all modules until a person has corrected them.
  returned: success
  type: list
  elements: str
  sample: []
server_time:
  description: The time of the service when it answered, by which leases are judged.
  returned: success
  type: str
  sample: '2026-11-23T04:00:00Z'
"""

from datetime import datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.arguments import CLOUDFLARE
from ..module_utils._common.dates import format_date
from ..module_utils._common.errors import HoldfastError
from ..module_utils._locks.fences import Fence, fences
from ..module_utils._locks.rules import normalise, problems
from ..module_utils._locks.store import cloudflare_client
from ..module_utils._locks.windows import Window, windows

ARGUMENTS: dict[str, Any] = {**CLOUDFLARE, "bucket": {"type": "str", "required": True}}


def shown(window: Window, now: datetime) -> dict[str, Any]:
    return {
        "prefix": window.prefix,
        "parts": list(window.parts),
        "lease": format_date(window.lease) if window.lease else None,
        "holder": window.holder,
        "live": window.live(now),
        "overdue": window.overdue(now),
        "orphaned": window.orphaned,
        "problem": window.problem,
    }


def shown_fence(fence: Fence, now: datetime) -> dict[str, Any]:
    return {
        "prefix": fence.prefix,
        "tokens": list(fence.tokens),
        "lease": format_date(fence.lease),
        "holder": fence.holder,
        "overdue": fence.overdue(now),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        client = cloudflare_client(module.params)
        rules = client.lock_rules(module.params["bucket"])
        now = client.server_time()
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(
        rules=normalise(rules),
        windows=[shown(window, now) for window in windows(rules)],
        fences=[shown_fence(fence, now) for fence in fences(rules)],
        problems=[problem.sentence for problem in problems(rules)],
        server_time=format_date(now.replace(microsecond=0)),
    )


if __name__ == "__main__":
    main()
