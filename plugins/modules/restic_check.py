#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restic_check
short_description: Check a restic repository in R2 for damage
version_added: 0.1.0
description:
  - Checks that snapshots, trees, indexes and packs of a repository fit together, and with O(read_data) that all data
    can be read and has its checksum. Changes nothing.
  - Fails when the repository has errors; RV(errors) then lists them.
  - Takes no restic lock. That of C(restic check) is exclusive and would keep all backups out for as long as the check
    lasts, and a host that puts an object below C(locks/) could prevent the check.
  - A backup that ends while the check runs can therefore look like an error. When there are errors and the index
    changed meanwhile, the check is done once more.
author: The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.restic
  - holdfast.restic_r2.restic.place
  - holdfast.restic_r2.restic.recorded
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.info_module
  - holdfast.restic_r2.attributes.actiongroup_r2
requirements:
  - restic >= 0.14.0
options:
  read_data:
    description:
      - Whether to read and verify all data. R2 charges nothing for the traffic, but a request for each pack.
      - Without it, a pack of the right size and name but with other content is not noticed.
    type: bool
    default: false
  read_data_subset:
    description:
      - Read and verify a part of the data only. V(2/7) is the second of seven parts, V(10%) a random tenth, V(5G) so
        much at random.
    type: str
  seconds:
    description:
      - How many seconds all of it may take. Then restic is ended, and the module fails.
      - From 1 to 2678400, which are 31 days. Raise it where O(read_data) takes longer than a day, or have
        M(holdfast.restic_r2.restic_read_through) read a part each day.
    type: int
    default: 86400
"""

EXAMPLES = r"""
- name: The repository is sound
  holdfast.restic_r2.restic_check:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    password: "{{ holdfast_password }}"

- name: All of it can be read
  holdfast.restic_r2.restic_check:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    password: "{{ holdfast_password }}"
    read_data: true
"""

RETURN = r"""
ok:
  description: Whether no errors were found.
  returned: when the check came to its end
  type: bool
  sample: true
errors:
  description: The output of restic, line by line.
  returned: when the check came to its end
  type: list
  elements: str
  sample: []
"""

import re

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, RESTIC, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.process_signals import checked_seconds, ended_by_signals
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import shown_all

OPTIONS = {
    "record_dir": {"type": "path"},
    "read_data": {"type": "bool", "default": False},
    "read_data_subset": {"type": "str"},
    "seconds": {"type": "int", "default": 86400},
}
SUBSET = r"[1-9]\d*/[1-9]\d*|\d+(\.\d+)?%|[1-9]\d*[kKmMgGtT]?"


def main() -> None:
    module = AnsibleModule(argument_spec={**CLOUDFLARE, **S3, **RESTIC, **OPTIONS}, supports_check_mode=True)
    params = module.params
    subset = params["read_data_subset"]
    if subset and params["read_data"]:
        module.fail_json(msg="read_data reads everything already; set either read_data or read_data_subset.")
    if subset and not re.fullmatch(SUBSET, subset):
        module.fail_json(
            msg=f"read_data_subset must be a part (2/7), a percentage (10%) or a size (5G), and not {subset!r}."
        )
    try:
        seconds, clients = checked_seconds(params["seconds"]), Clients(params, hider(module))
        work = f"The check of {clients.name}"
        with ended_by_signals(work, lambda: "nothing is known of what it had not read.", seconds, "seconds"):
            restic = clients.open_repository()
            errors = restic.check(read_data=params["read_data"], read_data_subset=subset)
    except HoldfastError as error:
        module.fail_json(**shown_all({"msg": str(error), **error.details}))
    if errors:
        message = f"Repository {restic.repository.name} has errors, the first: {errors[0]}."
        module.fail_json(**shown_all({"msg": message, "ok": False, "errors": errors}))
    module.exit_json(changed=False, ok=True, errors=[])


if __name__ == "__main__":
    main()
