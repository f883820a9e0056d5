#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restic_verify
short_description: Verify that a restic repository in R2 is locked, is the recorded one, and is fresh
version_added: 0.1.0
description:
  - Looks at everything about a repository that can be seen without changing anything, and tells in sentences what is
    wrong. The playbook C(holdfast.restic_r2.verify) runs it for every host.
  - The lock rules are those of the repository, and no window is open. The locks are in force, as
    M(holdfast.restic_r2.r2_lock_probe) proves. The bucket is not open to the public. The repository is the recorded one
    with the recorded keys. Every snapshot can be read, and the newest of each job was uploaded not too long ago.
  - Costs two calls of the API, and one more where O(access_key_id) is not given, so that a large fleet stays below the
    API's limit.
  - It does not read the stored data; M(holdfast.restic_r2.restic_read_through) does, and it looks when that was.
author: The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.host_keys
  - holdfast.restic_r2.restic
  - holdfast.restic_r2.restic.place
  - holdfast.restic_r2.jobs
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.info_module
  - holdfast.restic_r2.attributes.actiongroup_r2
requirements:
  - restic >= 0.14.0
  - boto3 >= 1.36.0
options:
  record_dir:
    description:
      - The folder in which M(holdfast.restic_r2.restic_repository) recorded the repository.
      - When not set, there is nothing that its id and its keys could be compared with.
    type: path
  max_age:
    description:
      - The hours that may have passed since the newest snapshot of each job was uploaded, by the clock of the service. Without
        O(jobs), since the newest of all.
    type: float
    default: 26
  expected_hosts:
    description:
      - The names of the host in its snapshots. Those of other hosts belong to none of its jobs. When empty, any will do.
    type: list
    elements: str
    default: []
  read_within:
    description:
      - How soon all stored data must have been read by M(holdfast.restic_r2.restic_read_through), for example V(90d), by what is
        remembered beside the record. A repository gets this time from the day on which it was recorded.
      - When not set, or without O(record_dir), this is not looked at.
    type: str
  drilled_within:
    description:
      - How long ago the last restore drill of each of O(jobs) that was well may be, for example V(30d), by what is remembered
        beside the record.
      - When not set, or without O(record_dir), this is not looked at.
    type: str
seealso:
  - module: holdfast.restic_r2.r2_bucket_lock_info
  - module: holdfast.restic_r2.r2_lock_probe
  - module: holdfast.restic_r2.restic_check
  - module: holdfast.restic_r2.restic_snapshot_info
"""

EXAMPLES = r"""
- name: Fail when anything is wrong with the backups of web1
  holdfast.restic_r2.restic_verify:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    password: "{{ holdfast_password }}"
    record_dir: /var/lib/holdfast
    jobs: "{{ backup_jobs | holdfast.restic_r2.jobs_to_judge }}"
  register: web1
  failed_when: web1 is failed or web1.findings | length > 0
"""

RETURN = r"""
findings:
  description: The problems, one sentence each. Empty when all is well.
  returned: success
  type: list
  elements: str
  sample: ["The newest snapshot was uploaded 50.2 hours ago, more than 26."]
codes:
  description: A fixed name for each of RV(findings), in their order.
  returned: success
  type: list
  elements: str
  sample: [stale]
window:
  description: The open window of the repository. V(null) when there is none.
  returned: success
  type: dict
  contains:
    parts:
      description: The unlocked parts.
      type: list
      elements: str
      sample: [data, index]
    lease:
      description: By when the window must be closed. V(null) when nothing says so.
      type: str
      sample: '2026-11-23T04:10:00Z'
    holder:
      description: The id of the run that opened the window.
      type: str
      sample: 9f86d081884c7d65
    state:
      description: V(live) while the lease runs, then V(overdue); V(orphaned) without one, V(implausible) with one too far away.
      type: str
      sample: live
prefixes:
  description:
    - For each prefix of the lock set what a probe found, V(locked), V(open), or V(missing) when no object lies below it.
      Empty when that could not be found out.
  returned: success
  type: dict
  sample: {"config": "locked", "data/": "locked", "index/": "locked", "keys/": "locked", "snapshots/": "locked"}
probed_with:
  description:
    - Whose keys R2 was asked with, V(host) or V(node). V(null) when it could not be found out.
  returned: success
  type: str
  sample: host
public:
  description: Whether the bucket is public through its C(r2.dev) address. V(null) when that is not known.
  returned: success
  type: bool
  sample: false
snapshots:
  description: How many snapshots there are. V(null) when that is not known.
  returned: success
  type: int
  sample: 24
newest:
  description: When the newest snapshot was uploaded, as the service says. V(null) when there is none, or it is not known.
  returned: success
  type: str
  sample: '2026-11-23T03:10:00Z'
age_hours:
  description: How many hours ago that was.
  returned: success
  type: float
  sample: 5.2
jobs:
  description: The snapshots of each of O(jobs). Empty when it is not known, or no jobs are.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the job.
      type: str
      sample: postgresql
    max_age:
      description: How many hours old its newest snapshot may be.
      type: float
      sample: 26
    snapshots:
      description: How many snapshots it has.
      type: int
      sample: 24
    newest:
      description: When the newest of them was uploaded. V(null) when there is none.
      type: str
      sample: '2026-11-23T03:10:00Z'
    age_hours:
      description: How many hours ago that was.
      type: float
      sample: 5.2
    bytes:
      description: How many bytes of files the newest claims to hold. V(null) where restic before 0.17 made it.
      type: int
      sample: 1048576
    oldest:
      description: When the oldest of them was uploaded. V(null) when there is none.
      type: str
      sample: '2026-08-30T03:10:00Z'
    days:
      description: On how many days the snapshots were uploaded.
      type: int
      sample: 22
    calendar:
      description:
        - These days in hexadecimal digits. The bit of value 2^N is set when a snapshot was uploaded N days ago by UTC, for the
          last 366 days.
      type: str
      sample: 8040201f
retired:
  description:
    - Histories that belong to none of O(jobs), the newest first, at most 50. The jobs of these were removed or renamed, or the
      host was. They have the figures of RV(jobs[]), from RV(jobs[].snapshots) on, too.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The host name in the snapshots.
      type: str
      sample: web1
    job:
      description: The job in their tag. V(null) when they have no such tag, or not exactly one.
      type: str
      sample: mysql
    paths:
      description: Their paths where there is no job, at most 5.
      type: list
      elements: str
      sample: []
time:
  description: When this was seen, by the clock of Cloudflare's API.
  returned: success
  type: str
  sample: '2026-11-23T08:22:00Z'
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actions.verify import verify
from ..module_utils._actions.verify_proofs import Proofs
from ..module_utils._audit.freshness import Expected
from ..module_utils._audit.options import expected_of_jobs
from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, HOST_KEYS, JOBS, RESTIC, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import shown_all

OPTIONS = {
    "record_dir": {"type": "path"},
    "max_age": {"type": "float", "default": 26},
    "expected_hosts": {"type": "list", "elements": "str", "default": []},
}
PROOFS = {"read_within": {"type": "str"}, "drilled_within": {"type": "str"}}


def main() -> None:
    spec = {**CLOUDFLARE, **S3, **HOST_KEYS, **RESTIC, **JOBS, **OPTIONS, **PROOFS}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    try:
        clients = Clients(module.params, hider(module))
        names = [job["name"] for job in module.params["jobs"] or ()]
        proofs = Proofs(**{name: module.params[name] for name in PROOFS}, jobs=names)
        found = verify(clients, module.params["record_dir"], Expected(**expected_of_jobs(module.params)), proofs)
    except HoldfastError as error:
        module.fail_json(**shown_all({"msg": str(error), **error.details}))
    module.exit_json(**shown_all(asdict(found)))


if __name__ == "__main__":
    main()
