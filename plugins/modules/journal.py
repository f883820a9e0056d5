#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: journal
short_description: Write down what runs did, and what is so now
version_added: 0.1.0
description:
  - Adds lines to the journal of the maintenance node, and brings C(status.json) up to date. Both are in the records' folder.
    The playbooks of this collection run it at their end.
  - The journal has one line of JSON for each repository and run, each with the hash of the line before it, in one file a year.
    C(docs/status.md) describes both files.
  - Texts are bounded, and what could steer a reader of them is written as an escape. Other fields are left out.
  - Any number of runs may write at the same time.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.attributes
attributes:
  check_mode:
    support: full
    details: Nothing is written.
  diff_mode:
    support: N/A
    details: Lines are only added.
  idempotent:
    support: N/A
    details: Each run is another one.
options:
  record_dir:
    description:
      - The folder of the records.
    type: path
    required: true
  entries:
    description:
      - What happened, one for each repository, with the fields that C(docs/status.md) names. C(run) and C(result) must be there.
    type: list
    elements: dict
    default: []
  metrics_file:
    description:
      - A file that gets the state as metrics for Prometheus, in one step, readable for all users. Its folder has to be there. The
        textfile collector of node_exporter reads files whose names end in C(.prom).
    type: path
seealso:
  - module: holdfast.restic_r2.journal_info
"""

EXAMPLES = r"""
- name: Write down a restore test that was done by hand
  holdfast.restic_r2.journal:
    record_dir: /var/lib/holdfast
    entries:
      - run: drill
        result: ok
        host: web1
        bucket: backup-web1
        text: Restored /srv to a spare machine, and the shop worked.
"""

RETURN = r"""
lines:
  description: How many lines the journal has.
  returned: success, and not in check mode
  type: int
  sample: 120
hash:
  description: The hash of its last line.
  returned: success, and not in check mode
  type: str
  sample: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.errors import HoldfastError
from ..module_utils._reports.entries import cleaned
from ..module_utils._reports.journal import RunJournal
from ..module_utils._reports.metrics import write_metrics


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "record_dir": {"type": "path", "required": True},
            "entries": {"type": "list", "elements": "dict", "default": []},
            "metrics_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    entries = module.params["entries"]
    try:
        if module.check_mode:
            for entry in entries:
                cleaned(entry)
            module.exit_json(changed=bool(entries))
        state = RunJournal(module.params["record_dir"]).append(entries)
        if module.params["metrics_file"]:
            write_metrics(module.params["metrics_file"], state)
    except (HoldfastError, ValueError) as error:
        module.fail_json(msg=str(error))
    end = state["journal"]
    module.exit_json(changed=bool(entries), lines=end["lines"], hash=end["hash"])


if __name__ == "__main__":
    main()
