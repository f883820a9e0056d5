#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_elsewhere
short_description: Note on the maintenance node that a restore or a drill works on another machine
version_added: 0.1.0
description:
  - A restore onto a host and a drill on another machine write nothing on the maintenance node. This note takes the place of the
    file with which other runs tell where they are, so that the page shows them, and M(holdfast.restic_r2.restic_verify) finds
    one that has not ended in time. How far it is, is added by the action plugins of M(holdfast.restic_r2.restic_restore) and
    M(holdfast.restic_r2.restic_drill).
  - A note that cannot be written is no failure. The playbooks run it.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: There is nothing to show.
  idempotent:
    support: none
    details: Each run is another one.
options:
  record_dir:
    description:
      - The folder of the records.
    type: path
    required: true
  bucket:
    description:
      - The bucket that holds the repository.
    type: str
    required: true
  prefix:
    description:
      - Its prefix in a shared bucket.
    type: str
    default: ''
  run:
    description:
      - The kind of run.
    type: str
    choices: [restore, drill]
    required: true
  machine:
    description:
      - Where it works.
    type: str
    required: true
  seconds:
    description:
      - How long it may take.
    type: int
    default: 3600
  state:
    description:
      - Whether it begins or has ended.
    type: str
    choices: [begins, ended]
    required: true
seealso:
  - module: holdfast.restic_r2.restic_restore
  - module: holdfast.restic_r2.restic_drill
"""

EXAMPLES = r"""
- name: Note that a restore begins
  holdfast.restic_r2.run_elsewhere:
    record_dir: /var/lib/holdfast
    bucket: backup-web1
    run: restore
    machine: web1
    state: begins
"""

RETURN = r"""
noted:
  description: Whether the note was written, or removed.
  returned: success
  type: bool
  sample: true
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.progress_elsewhere import RUNS, begins, ends, place_elsewhere
from ..module_utils._common.record import folder
from ..module_utils._locks.rules import normalise_prefix
from ..module_utils._r2.places import checked_bucket

SPEC = {
    "record_dir": {"type": "path", "required": True},
    "bucket": {"type": "str", "required": True},
    "prefix": {"type": "str", "default": ""},
    "run": {"type": "str", "choices": list(RUNS), "required": True},
    "machine": {"type": "str", "required": True},
    "seconds": {"type": "int", "default": 3600},
    "state": {"type": "str", "choices": ["begins", "ended"], "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    params = module.params
    try:
        bucket, prefix = checked_bucket(params["bucket"]), normalise_prefix(params["prefix"])
    except HoldfastError as error:
        module.fail_json(msg=str(error))
    if module.check_mode:
        module.exit_json(changed=True, noted=False)
    now = datetime.now(timezone.utc).replace(microsecond=0)
    repository = f"{bucket}/{prefix}".rstrip("/")
    place = place_elsewhere(params["run"], repository, params["machine"], params["seconds"], now)
    path = folder(params["record_dir"], bucket, prefix)
    noted = begins(path, place) if params["state"] == "begins" else ends(path, place)
    module.exit_json(changed=noted, noted=noted)


if __name__ == "__main__":
    main()
