#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restic_signals
short_description: Show what looks like ransomware in a restic repository, and accept it
version_added: 0.1.0
description:
  - Shows the signals that M(holdfast.restic_r2.restic_audit) and M(holdfast.restic_r2.restic_prune) have kept beside the record
    of a repository, and accepts those that a person knows to be no danger.
  - As long as a signal is not accepted, M(holdfast.restic_r2.restic_prune) removes no snapshot that was stored before it,
    whatever the retention says.
  - Reads and writes a file on the maintenance node alone. Neither the bucket nor the host is contacted, and nothing that a host
    does can accept a signal.
author: The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.attributes
attributes:
  check_mode:
    support: full
    details: Tells what would be accepted.
  diff_mode:
    support: none
    details: The file beside the record says who accepted which signal.
  idempotent:
    support: full
options:
  bucket:
    description:
      - The bucket that holds the repository.
    type: str
    required: true
  prefix:
    description:
      - The prefix of the repository in a shared bucket. Empty when the repository is the bucket.
    type: str
    default: ''
  record_dir:
    description:
      - The folder with the records of repositories.
    type: path
    required: true
  accept:
    description:
      - The ids of the signals to accept, as RV(signals[].id) shows them. One that is accepted already is no error.
    type: list
    elements: str
    default: []
  accepted_by:
    description:
      - The person who accepts them. It is kept with them. Needed together with O(accept).
    type: str
  reason:
    description:
      - Why they are no danger. It is kept with them. Needed together with O(accept).
    type: str
seealso:
  - module: holdfast.restic_r2.restic_audit
  - module: holdfast.restic_r2.restic_prune
notes:
  - Runs on the maintenance node, where no backed-up host can write.
"""

EXAMPLES = r"""
- name: See what looks like ransomware
  holdfast.restic_r2.restic_signals:
    bucket: backup-web1
    record_dir: /var/lib/holdfast/records
  register: web1

- name: Accept it, and let the retention go on
  holdfast.restic_r2.restic_signals:
    bucket: backup-web1
    record_dir: /var/lib/holdfast/records
    accept:
      - 4f0c2a9d1b77
    accepted_by: Ada
    reason: All photos were compressed anew on 24 November.
"""

RETURN = r"""
signals:
  description: The signals that no person has accepted.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The id by which the signal is accepted.
      type: str
      sample: 4f0c2a9d1b77
    code:
      description:
        - A fixed name, V(looks_encrypted), V(common_ending), V(note_files), V(files_vanished), V(no_files),
          V(not_looked_at) for snapshots that could not be looked at, or V(signals_lost) where the file of signals is gone.
      type: str
      sample: looks_encrypted
    job:
      description: The job that the snapshot names, or the paths and the host of one that names none.
      type: str
      sample: system
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
      sample: '2026-11-23T03:10:00Z'
    evidence:
      description: The evidence, in a sentence.
      type: str
accepted:
  description: The ids of the signals that this run has accepted.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actions.accept_signals import signals_of
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.untrusted import shown_all


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "bucket": {"type": "str", "required": True},
            "prefix": {"type": "str", "default": ""},
            "record_dir": {"type": "path", "required": True},
            "accept": {"type": "list", "elements": "str", "default": []},
            "accepted_by": {"type": "str"},
            "reason": {"type": "str"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        found = signals_of(
            params["record_dir"],
            params["bucket"],
            params["prefix"],
            params["accept"],
            params["accepted_by"],
            params["reason"],
            not module.check_mode,
        )
    except HoldfastError as error:
        module.fail_json(**shown_all({"msg": str(error), **error.details}))
    module.exit_json(**shown_all({"changed": found.changed, "signals": found.open, "accepted": found.accepted}))


if __name__ == "__main__":
    main()
