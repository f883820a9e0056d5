#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: r2_bucket_unlock
short_description: Open a window by hand, for a bounded time
version_added: 0.1.0
description:
  - For work that maintenance does not do, such as removing a key or repairing a repository. Unlocks some parts of one
    repository, proves it, and leaves them unlocked when it ends.
  - At its lease, the window is closed by a process that this module leaves behind where it runs, or by the
    guard, M(holdfast.restic_r2.r2_bucket_relock). Where the machine or its container ends with the module,
    only the guard is left, so it should run on a schedule before this module is used.
  - To close it earlier, run M(holdfast.restic_r2.r2_bucket_relock) with O(holdfast.restic_r2.r2_bucket_relock#module:force=true).
  - While the window is open, every owner of S3 keys of the bucket can overwrite and delete the unlocked objects. Stop the
    backups of the host, and take its keys away if it may be compromised.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.restic.place
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.actiongroup_r2
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: none
    details: A repository with a window that is open already is refused.
options:
  parts:
    description:
      - The parts to unlock.
      - V(keys) to remove a key, V(snapshots) to forget, V(index) and V(data) to prune or repair, V(config) to migrate.
    type: list
    elements: str
    choices: [config, data, index, keys, snapshots]
    required: true
  reason:
    description:
      - Why, for the system log of the machine where this runs. The playbook unlock also writes it into the journal and its table.
    type: str
    required: true
  seconds:
    description:
      - For how long, at most. From 10 seconds to 4 hours.
    type: int
    default: 900
seealso:
  - module: holdfast.restic_r2.r2_bucket_relock
  - module: holdfast.restic_r2.restic_prune
"""

EXAMPLES = r"""
- name: Let an old key of web1 be removed
  holdfast.restic_r2.r2_bucket_unlock:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    bucket: backup-web1
    parts:
      - keys
    reason: Remove the key of an administrator who left
    seconds: 300

- name: Lock it again, once the key is removed
  holdfast.restic_r2.r2_bucket_relock:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    buckets:
      - backup-web1
    force: true
"""

RETURN = r"""
window:
  description:
    - The window that is open now.
  returned: when it was opened
  type: dict
  contains:
    repository:
      description: The repository, bucket and prefix.
      type: str
      sample: backup-web1
    prefixes:
      description: The unlocked parts.
      type: list
      elements: str
      sample: ["keys/"]
    opened:
      description: When it was opened, by the clock of Cloudflare's API.
      type: str
      sample: "2026-11-01T02:55:00Z"
    lease:
      description: When it is closed at the latest, by the same clock.
      type: str
      sample: "2026-11-01T03:00:00Z"
    holder:
      description: Whose window it is, as the lock document has it.
      type: str
      sample: 0f3c2a9d8b7e6f51
"""

from datetime import timedelta
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, PLACE, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import shown_all
from ..module_utils._locks.rules import PARTS
from ..module_utils._locks.windows import LONGEST_LEASE, open_window
from ..module_utils._windows.session import WindowSpec, leave_window_open
from ..module_utils._windows.spec import spec_of

SHORTEST = 10
LONGEST = int(LONGEST_LEASE.total_seconds())


def unlock(clients: Clients, *, write: bool) -> dict[str, Any]:
    """Open the window, or in check mode find out whether it could be opened; returns the report."""
    params = clients.params
    seconds = params["seconds"]
    if not SHORTEST <= seconds <= LONGEST:
        raise HoldfastError(
            f"A window of {seconds} seconds is not opened: between {SHORTEST} and {LONGEST} are allowed."
        )
    if not write:
        rules = clients.cloudflare.lock_rules(clients.bucket)
        lease = clients.cloudflare.server_time() + timedelta(seconds=seconds)
        open_window(rules, clients.prefix, params["parts"], lease=lease, holder="0" * 16)
        return {}
    spec = WindowSpec(
        parts=tuple(params["parts"]),
        **spec_of(clients),
        reason=params["reason"],
        lease_seconds=seconds,
        cap_seconds=seconds,
    )
    report = leave_window_open(spec)
    return {"window": {name: report[name] for name in ("repository", "prefixes", "opened", "lease", "holder")}}


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            CLOUDFLARE,
            **S3,
            **PLACE,
            parts={"type": "list", "elements": "str", "choices": list(PARTS), "required": True},
            reason={"type": "str", "required": True},
            seconds={"type": "int", "default": 900},
        ),
        supports_check_mode=True,
    )
    try:
        result = unlock(Clients(module.params, hide=hider(module)), write=not module.check_mode)
    except HoldfastError as error:
        module.fail_json(**shown_all({"msg": str(error), **error.details}))
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
