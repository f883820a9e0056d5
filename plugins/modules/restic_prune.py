#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restic_prune
short_description: Remove old snapshots from a locked restic repository in R2
version_added: 0.1.0
description:
  - Removes the snapshots that a retention policy does not keep, and the data that only they needed, from a repository
    that is held by bucket lock rules.
  - C(restic forget) and C(restic prune) run while everything is locked, in a view of the judged objects, which this module
    serves to restic. Added objects go into the bucket; deletes are only written down. Hosts go on backing up meanwhile.
  - The module checks the remaining objects in the view, together with later additions. Only then it lifts the locks, for the
    few requests that delete exactly the written-down objects, in C(snapshots/), C(index/) and C(data/) as far as
    something goes there. C(keys/) and C(config) are never unlocked.
  - This window is owned by a separate process, which closes it even if this module dies, and has a lease in
    the lock document by which any guard may close it (see M(holdfast.restic_r2.r2_bucket_relock)).
  - Nothing is unlocked unless the repository passes the checks listed under RV(findings), and unless there is something
    to remove.
  - Afterwards the module compares the vanished objects with the planned deletes and the new objects with its own
    additions, and proves that every prefix is locked.
  - If a backup that ended meanwhile needs an object that was to go, the module prepares again, three times at most.
author: The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.host_keys
  - holdfast.restic_r2.restic
  - holdfast.restic_r2.restic.place
  - holdfast.restic_r2.fence
  - holdfast.restic_r2.audit
  - holdfast.restic_r2.jobs
  - holdfast.restic_r2.retention
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.actiongroup_r2
requirements:
  - restic >= 0.19.0
  - boto3 >= 1.36.0
  - Python >= 3.11 on Linux
attributes:
  check_mode:
    support: full
    details: Prepares in the same way, with what restic adds in O(scratch_dir), see RV(predicted_by). Nothing is unlocked.
  diff_mode:
    support: full
    details: Shows the ids of the snapshots before and after.
  idempotent:
    support: full
    details: As long as no new snapshots arrive and no snapshot gets too old, a second run finds nothing to do.
options:
  window_seconds:
    description:
      - How long the window may be open at most. Then it is closed, also when something is left to delete.
        At most 86400.
    type: int
    default: 3600
  open_timeout:
    description:
      - How many seconds to try to open the window, and to repeat deletes that are refused, as they are until R2 no longer
        enforces the lock, before giving up.
    type: int
    default: 60
  log_path:
    description:
      - A file that gets a line for every step of a window. The system log gets these lines in any case, where there is one.
    type: path
seealso:
  - module: holdfast.restic_r2.r2_bucket_lock
  - module: holdfast.restic_r2.r2_bucket_relock
  - module: holdfast.restic_r2.restic_repository
notes:
  - Runs on the maintenance node. The API token must never reach a backed-up host.
  - Nothing that restic prints decides anything, so that any newer restic works the same.
"""

EXAMPLES = r"""
- name: Keep a week of days, five weeks and a year of months
  holdfast.restic_r2.restic_prune:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    password: "{{ holdfast_password }}"
    record_dir: /var/lib/holdfast/records
    keep_daily: 7
    keep_weekly: 5
    keep_monthly: 12

- name: Show what would be removed
  holdfast.restic_r2.restic_prune:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    password: "{{ holdfast_password }}"
    keep_within: 30d
  check_mode: true
"""

RETURN = r"""
removed:
  description: The snapshots that were removed. A failed module returns this and all other values too, as far as it got.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: The id of the snapshot.
      type: str
    time:
      description: The time that the snapshot claims.
      type: str
    uploaded:
      description: When R2 stored the snapshot.
      type: str
    job:
      description: The job that it is of, by its tag, or by its paths where it has none. V(null) when it is of none.
      type: str
    host:
      description: The host that the snapshot claims.
      type: str
    paths:
      description: The paths that the snapshot claims.
      type: list
      elements: str
kept:
  description: The snapshots that were kept, with the fields of RV(removed) and the reasons.
  returned: always
  type: list
  elements: dict
  contains:
    reasons:
      description:
        - Why it was kept, in restic's words, or V(grace), V(hold), V(protected), V(belongs to no job), or V(stored before what
          has to be accepted).
      type: list
      elements: str
      sample: [daily snapshot, weekly snapshot]
packs_removed:
  description: How many packs were deleted.
  returned: always
  type: int
bytes_removed:
  description: By how many bytes the data became smaller.
  returned: always
  type: int
packs_repacked:
  description: How many packs were rewritten because a part of them was not needed any more.
  returned: always
  type: int
bytes_repacked:
  description: The bytes in these packs, as exact as restic prints it.
  returned: always
  type: int
predicted_by:
  description:
    - In check mode, the source of the figures. V(preparation) is the same preparation as without check mode, with
      restic's additions in O(scratch_dir); half of the free space there may be used. V(dry_run) is restic's own dry run, whose
      figures are less exact, where that is not enough. V(null) without check mode.
  returned: always
  type: str
  sample: preparation
windows:
  description: The window that was open. Empty when there was none; never more than one.
  returned: always
  type: list
  elements: dict
  contains:
    repository:
      description: The bucket, and the prefix if there is one.
      type: str
      sample: backup-web1
    prefixes:
      description: The parts that were unlocked.
      type: list
      elements: str
      sample: [snapshots/, index/, data/]
    holder:
      description: Who held it, as in the lock document and the journal.
      type: str
      sample: 4f1d2c3b5a697887
    opened:
      description: When it was opened, by Cloudflare's clock.
      type: str
    closed:
      description: When it was proved to be closed.
      type: str
    seconds:
      description: How long it was open.
      type: float
      sample: 0.8
    ended_by:
      description: Why it was closed.
      type: str
    in_force:
      description: Whether a probe has proved that the lock is in force again.
      type: bool
fences:
  description:
    - Each time that the tokens which reach the repository were disabled while it was maintained, see O(fence). Also an entry
      where that was not done before something was removed. More than one when another restic began to work in the repository
      before the first fence was up.
  returned: always
  type: list
  elements: dict
  contains:
    tokens:
      description: The ids of the tokens. Empty when there was no fence.
      type: list
      elements: str
      sample: [fedcba9876543210fedcba9876543210]
    without:
      description: Why there was no fence. V(null) when there was one.
      type: str
    disabled:
      description: When it went up, by Cloudflare's clock.
      type: str
      sample: '2026-11-23T04:10:00Z'
    enabled:
      description: When the tokens were enabled again. V(null) when that failed; then the module fails, and says what to do.
      type: str
      sample: '2026-11-23T04:12:10Z'
    seconds:
      description: How long the hosts could make no backups.
      type: float
      sample: 130.2
time:
  description: When this ended, by the clock of Cloudflare's API. V(null) when that was not reached.
  returned: always
  type: str
  sample: '2026-11-23T04:12:11Z'
holds:
  description: Where nothing is removed for a time, see O(hold) and O(jobs[].hold). Empty before that was looked at.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The job; empty for the whole repository.
      type: str
      sample: postgresql
    until:
      description: Until when.
      type: str
      sample: '2027-02-01T00:00:00Z'
    reason:
      description: Why.
      type: str
      sample: we investigate
    snapshots:
      description: How many snapshots are kept by it.
      type: int
      sample: 24
signals:
  description:
    - Signs of ransomware that no person has accepted, see M(holdfast.restic_r2.restic_signals). Each is also a finding. Empty
      when nothing is remembered.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: The id by which the signal is accepted; that of its finding.
      type: str
      sample: 4f0c2a9d1b77
    code:
      description: A fixed name, the code of its finding.
      type: str
      sample: looks_encrypted
    job:
      description: The job, as the snapshot names it.
      type: str
    snapshot:
      description: The id of the snapshot in which it was seen.
      type: str
    stored:
      description: When R2 stored that snapshot. Nothing that was stored before it is removed.
      type: str
      sample: '2026-11-24T03:10:00Z'
    last_good:
      description: The id of the last snapshot before it into which was looked. V(null) when there is none.
      type: str
    last_good_stored:
      description: When that was stored.
      type: str
    evidence:
      description: The evidence, in a sentence.
      type: str
findings:
  description: Deviations from the expected state. When one of them has the severity V(block), the module fails.
  returned: always
  type: list
  elements: dict
  contains:
    code:
      description: A fixed name.
      type: str
      sample: duplicates
    severity:
      description: V(block) or V(warn).
      type: str
      sample: warn
    evidence:
      description: The evidence.
      type: str
    what_to_do:
      description: The advice to a person.
      type: str
    objects:
      description: The keys of the objects that it is about, to read, at most 100; empty when it is not about objects.
      type: list
      elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actions.prune import Maintenance, maintenance_for
from ..module_utils._audit.options import AUDIT
from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, FENCE, HOST_KEYS, RESTIC, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import LONG, shown, shown_all
from ..module_utils._restic.retention import COUNTED

OPTIONS = {
    **{f"keep_{word}": {"type": "int"} for word in COUNTED},
    "keep_within": {"type": "str"},
    **{f"keep_within_{word}": {"type": "str"} for word in COUNTED[1:]},
    "keep_tags": {"type": "list", "elements": "str"},
    "grace": {"type": "str", "default": "0"},
    "hold": {"type": "dict"},
    "retired_keep": {"type": "str"},
    "retention_time": {"type": "str", "choices": ["uploaded", "snapshot"], "default": "uploaded"},
    "max_remove": {"type": "str", "default": "95%"},
    "window_seconds": {"type": "int", "default": 3600},
    "open_timeout": {"type": "int", "default": 60},
    "log_path": {"type": "path"},
}
SPEC = {**CLOUDFLARE, **S3, **HOST_KEYS, **RESTIC, **FENCE, **AUDIT, **OPTIONS}


def finish(module: AnsibleModule, maintenance: Maintenance) -> dict[str, Any]:
    """Warnings and the diff."""
    outcome = maintenance.outcome
    for warning in maintenance.warnings:
        module.warn(shown(warning, LONG))
    kept, removed = ([snapshot["id"] for snapshot in outcome[name]] for name in ("kept", "removed"))
    outcome["diff"] = {"before": {"snapshots": sorted(kept + removed)}, "after": {"snapshots": sorted(kept)}}
    return shown_all(outcome)


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    maintenance = None
    try:
        clients = Clients(module.params, hider(module))
        maintenance = maintenance_for(clients, dry_run=module.check_mode)
        maintenance.run()
    except HoldfastError as error:
        outcome = finish(module, maintenance) if maintenance else {}
        module.fail_json(msg=str(error), **{**outcome, **error.details})
    module.exit_json(**finish(module, maintenance))


if __name__ == "__main__":
    main()
