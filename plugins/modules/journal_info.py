#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: journal_info
short_description: Check the journal of the maintenance node
version_added: 0.1.0
description:
  - Reads the journal that M(holdfast.restic_r2.journal) writes, and says where its chain of hashes is broken. There, a
    process has changed, removed or inserted a line.
  - A line that a crash has cut is told apart. The next run notes it, and the chain goes on.
  - A user who can write in the folder of the records can write the whole journal anew. Keep RV(hash) elsewhere to
    notice that, too.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.info_module
options:
  record_dir:
    description:
      - The folder of the records.
    type: path
    required: true
seealso:
  - module: holdfast.restic_r2.journal
"""

EXAMPLES = r"""
- name: Fail when the journal was changed
  holdfast.restic_r2.journal_info:
    record_dir: /var/lib/holdfast
  register: journal
  failed_when: journal is failed or journal.broken | length > 0
"""

RETURN = r"""
files:
  description: The files of the journal, the oldest first.
  returned: success
  type: list
  elements: str
  sample: [journal-2026.jsonl]
lines:
  description: How many lines they have.
  returned: success
  type: int
  sample: 120
hash:
  description: The hash of the last line.
  returned: success
  type: str
  sample: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
broken:
  description: Where the chain is broken, at most 20 places. Empty when all is well.
  returned: success
  type: list
  elements: str
  sample: [journal-2026.jsonl line 17 does not hold the hash of the line before it.]
torn:
  description: Which lines a crash has cut, at most 20.
  returned: success
  type: list
  elements: str
  sample: []
unnoted:
  description: Whether the last line is one of them, so that no line tells of it yet.
  returned: success
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.errors import HoldfastError
from ..module_utils._reports.journal import RunJournal


def main() -> None:
    module = AnsibleModule(argument_spec={"record_dir": {"type": "path", "required": True}}, supports_check_mode=True)
    try:
        found = RunJournal(module.params["record_dir"]).check()
    except HoldfastError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **found.told())


if __name__ == "__main__":
    main()
