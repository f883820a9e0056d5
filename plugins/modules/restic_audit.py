#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restic_audit
short_description: Find out whether a locked restic repository in R2 was tampered with
version_added: 0.1.0
description:
  - Looks at everything in a repository that a backed-up host could have written, and compares it with an earlier
    look. These are the safety checks that M(holdfast.restic_r2.restic_prune) makes before it opens a window.
  - Under a lock a host can only add. But added objects can make a later prune delete genuine data, push genuine
    snapshots out of a retention policy, or make restic fail. Each of these is a finding here. See RV(findings[].code).
  - The module remembers the verified objects in a I(baseline), a file beside the record of the repository. Later it reads
    only the objects that are new since then; it reads new packs whole, and compares them with the index.
  - Writes nothing into the bucket. Writes the baseline when O(baseline) says so and nothing blocks.
  - Fails when a finding has the severity V(block). It returns everything else all the same.
author: The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.host_keys
  - holdfast.restic_r2.restic
  - holdfast.restic_r2.restic.place
  - holdfast.restic_r2.audit
  - holdfast.restic_r2.jobs
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.actiongroup_r2
requirements:
  - boto3 >= 1.36.0
  - restic >= 0.18.0
attributes:
  check_mode:
    support: full
    details: Reads and judges the same, and does not write the baseline.
  diff_mode:
    support: full
    details: Shows how much the baseline holds before and after.
  idempotent:
    support: full
    details: As long as nothing is added to the repository.
options:
  baseline:
    description:
      - How to use the baseline.
      - V(compare) only compares with it.
      - V(update) also writes the verified objects into it, when no finding blocks. When there is none yet, it is made, if no
        more than O(first_read_limit) has to be read.
      - V(rebuild) reads all data, as C(restic check --read-data) does, and makes a new one of the objects that are
        there now. The old one is ignored, and every snapshot that is there is accepted. Do this after the baseline was
        lost, or after you changed something yourself, and only when you know that the repository is right.
    type: str
    choices: [compare, update, rebuild]
    default: compare
seealso:
  - module: holdfast.restic_r2.restic_prune
  - module: holdfast.restic_r2.restic_check
  - module: holdfast.restic_r2.restic_repository
notes:
  - Runs on the maintenance node, where no backed-up host can write the baseline.
"""

EXAMPLES = r"""
- name: See that it was not tampered with, and remember the verified objects
  holdfast.restic_r2.restic_audit:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    password: "{{ holdfast_password }}"
    record_dir: /var/lib/holdfast/records
    baseline: update
    max_age: 26

- name: The baseline was lost; read everything and begin anew
  holdfast.restic_r2.restic_audit:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    password: "{{ holdfast_password }}"
    record_dir: /var/lib/holdfast/records
    baseline: rebuild
"""

RETURN = r"""
findings:
  description: Deviations from the expected state.
  returned: always
  type: list
  elements: dict
  contains:
    code:
      description:
        - A fixed name.
        - 'Locks: V(lock_document), V(lock_set), V(window_open), V(window_left_open), V(not_enforced), V(foreign_rule),
          V(lock_not_indefinite).'
        - 'Identity: V(repository_id), V(foreign_key), V(key_gone), V(content_changed).'
        - 'Objects: V(misplaced_object), V(unexpected_object), V(index_unreadable), V(index_contradicts), V(pack_missing),
          V(bogus_pack), V(index_claims_known_blobs), V(unreferenced_packs), V(unfinished_uploads), V(not_sound),
          V(unused).'
        - 'Snapshots: V(no_snapshots), V(snapshots_unreadable), V(missing_tree), V(claimed_time), V(unexpected_host),
          V(unexpected_paths), V(stale).'
        - 'Baseline: V(snapshots_gone), V(snapshot_replaced), V(index_gone), V(packs_gone), V(pack_replaced),
          V(baseline_missing), V(baseline_damaged), V(maintenance_pending).'
        - 'Ransomware: V(looks_encrypted), V(common_ending), V(note_files), V(files_vanished), V(no_files), V(not_looked_at),
          V(signals_lost), V(signals_damaged), V(signals_not_weighed).'
        - 'In M(holdfast.restic_r2.restic_prune) also: V(duplicates), V(too_many_removals), V(repository_locked), V(lost),
          V(replaced), V(leftovers).'
      type: str
      sample: bogus_pack
    severity:
      description: With V(block), no window opens; with V(warn), a person should look at it.
      type: str
      sample: block
    evidence:
      description: The evidence.
      type: str
    what_to_do:
      description: The advice to a person.
      type: str
    objects:
      description:
        - The keys of the objects that it is about, at most 100; empty when it is not about objects. Characters that
          steer a terminal or begin a template are written as escapes, so that these are for reading only.
      type: list
      elements: str
    id:
      description:
        - The name of the finding for M(holdfast.restic_r2.r2_object), if it is about objects. With O(record_dir), their exact
          keys are kept beside the record, except in check mode.
      type: str
      sample: 4f0c2a9d1b77
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
blocked:
  description: Whether a finding has the severity V(block).
  returned: always
  type: bool
baseline:
  description: The contents of the baseline in numbers, whether it was written or not. Empty when there is none.
  returned: always
  type: dict
  contains:
    snapshots:
      description: How many snapshots.
      type: int
    indexes:
      description: How many index objects.
      type: int
    packs:
      description: How many packs.
      type: int
    bytes:
      description: The size of the packs.
      type: int
read:
  description: The amount of data that was read.
  returned: always
  type: dict
  contains:
    packs:
      description: How many packs.
      type: int
    indexes:
      description: How many index objects.
      type: int
    bytes:
      description: The size of both.
      type: int
    requests:
      description: How many S3 requests the module made itself. restic makes a few more.
      type: int
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actions.audit import audit_for, verdict
from ..module_utils._audit.options import AUDIT
from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, HOST_KEYS, RESTIC, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import shown_all

BASELINE = {"type": "str", "choices": ["compare", "update", "rebuild"], "default": "compare"}


def main() -> None:
    spec = {**CLOUDFLARE, **S3, **HOST_KEYS, **RESTIC, **AUDIT, "baseline": BASELINE}
    needed = [("baseline", mode, ["record_dir"]) for mode in ("update", "rebuild")]
    module = AnsibleModule(argument_spec=spec, required_if=needed, supports_check_mode=True)
    audit = None
    try:
        audit = audit_for(Clients(module.params, hider(module)), module.check_mode)
        audit.run()
    except HoldfastError as error:
        outcome = audit.outcome if audit else {}
        module.fail_json(**shown_all({"msg": str(error), **outcome, **error.details}))
    outcome = audit.outcome
    problem = verdict(outcome["findings"], audit.auditor.name)
    if problem:
        module.fail_json(**shown_all({"msg": problem, **outcome}))
    module.exit_json(**shown_all(outcome))


if __name__ == "__main__":
    main()
