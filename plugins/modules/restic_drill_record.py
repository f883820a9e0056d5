#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restic_drill_record
short_description: Say which job of a host is drilled next, and remember what came of a restore drill
version_added: 0.1.0
description:
  - The maintenance node remembers beside the record of a repository, in the file C(drills), when which job was drilled, and what
    came of it. M(holdfast.restic_r2.restic_verify) tells when that is too long ago.
author: The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.actiongroup_r2
attributes:
  check_mode:
    support: full
    details: With O(result), tells what would be remembered.
  diff_mode:
    support: none
    details: There is nothing to show.
  idempotent:
    support: none
    details: Each drill is another one.
options:
  bucket:
    description: The bucket that holds the repository.
    type: str
    required: true
  prefix:
    description: The prefix of the repository in a shared bucket.
    type: str
    default: ''
  record_dir:
    description: The folder in which M(holdfast.restic_r2.restic_repository) recorded the repository.
    type: path
    required: true
  jobs:
    description: The names of the jobs of the host.
    type: list
    elements: str
    required: true
  asked:
    description: The jobs of which one is drilled. When empty, one of all.
    type: list
    elements: str
    default: []
  job:
    description: The job that was drilled, with O(result).
    type: str
  result:
    description: What M(holdfast.restic_r2.restic_drill) returned. Without it, the module only says which job comes next.
    type: dict
"""

EXAMPLES = r"""
- name: Choose the job to drill
  holdfast.restic_r2.restic_drill_record:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    record_dir: /var/lib/holdfast
    jobs: [system, postgresql]
  register: planned
"""

RETURN = r"""
job:
  description: The job whose last drill is the longest ago, or that was drilled.
  returned: success
  type: str
  sample: postgresql
time:
  description: The time of the service.
  returned: success
  type: str
  sample: '2026-11-27T03:10:00Z'
key_id:
  description: The recorded key of the repository.
  returned: success
  type: str
  sample: 181aba75fdcf1fcd1702e1cd494a659bea075d4b02ea2f23bbdc21649532950f
repository_id:
  description: The recorded id of the repository.
  returned: success
  type: str
  sample: 881aba75fdcf1fcd1702e1cd494a659bea075d4b02ea2f23bbdc21649532950f
drills:
  description: The remembered drills, by job.
  returned: success
  type: dict
  sample: {}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actions.drill_record import keep, load_drills, next_job, time_of
from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.record import folder, load, no_record
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import shown_all

OPTIONS = {
    "bucket": {"type": "str", "required": True},
    "prefix": {"type": "str", "default": ""},
    "record_dir": {"type": "path", "required": True},
    "jobs": {"type": "list", "elements": "str", "required": True},
    "asked": {"type": "list", "elements": "str", "default": []},
    "job": {"type": "str"},
    "result": {"type": "dict"},
}


def told(module: AnsibleModule) -> dict[str, Any]:
    """The result of the module."""
    params = module.params
    clients = Clients(params, hider(module))
    path = folder(params["record_dir"], clients.bucket, clients.prefix)
    record = load(path)
    if record is None:
        raise no_record(params["record_dir"], clients.bucket, clients.prefix)
    clients.cloudflare.lock_rules(clients.bucket)
    time = time_of(clients.cloudflare.server_time())
    common = {"time": time, "key_id": record.key_id, "repository_id": record.repository_id}
    if params["result"] is None:
        drills = load_drills(path)
        return {**common, "changed": False, "job": next_job(drills, params["jobs"], params["asked"]), "drills": drills}
    if not module.check_mode:
        keep(path, params["job"], time, params["result"], params["jobs"])
    return {**common, "changed": True, "job": params["job"], "drills": load_drills(path)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={**CLOUDFLARE, **OPTIONS}, required_by={"result": "job"}, supports_check_mode=True
    )
    try:
        result = told(module)
    except HoldfastError as error:
        module.fail_json(**shown_all({"msg": str(error), **error.details}))
    module.exit_json(**shown_all(result))


if __name__ == "__main__":
    main()
