#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restic_drill
short_description: Try a restore from a restic repository in R2, prove it, and remove it
version_added: 0.1.0
description:
  - Restores the newest snapshot of a job, by the time at which the service stored it, into a folder of its own, as
    M(holdfast.restic_r2.restic_restore) does, and confined like there. C(restic restore --verify) reads every restored file again
    and compares it with the hashes in the repository.
  - Then looks at the files (O(expect)), and runs a command on them (O(command)). The command sees the programs of the machine
    (C(/usr)), the restored tree, and a folder to work in. It has no network, no secrets and no rights; as root it runs as
    C(nobody). It, and all that it starts, ends with its time or with the drill.
  - The folder is removed, however the drill ends. The next drill removes the folder of a killed one.
  - A snapshot with more than O(bytes) is sampled, by O(seed). With O(expect) or O(command) it is refused instead.
  - Runs on the maintenance node, or on a machine that is named for drills. Never have it run on a host that is backed up.
  - With O(record_dir), it writes beside the record where it is as long as it runs. Only the maintenance node has records.
author: The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.restic
  - holdfast.restic_r2.restic.place
  - holdfast.restic_r2.restic.recorded
  - holdfast.restic_r2.restic.noted
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.actiongroup_r2
requirements:
  - restic >= 0.18.0
  - boto3 >= 1.36.0
  - Linux >= 5.12
attributes:
  check_mode:
    support: full
    details: Finds the snapshot and sums it up, and restores nothing.
  diff_mode:
    support: none
    details: The content of files is not shown.
  idempotent:
    support: none
    details: Each run is a drill.
options:
  job:
    description: The name of the job, one of O(jobs).
    type: str
    required: true
  jobs:
    description: All jobs of the host; by them it is known which snapshot is of which job.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name of the job.
        type: str
        required: true
      paths:
        description: The paths that it backs up; of a command, the name of its output, after a slash.
        type: list
        elements: str
        required: true
  hosts:
    description: The names of the host in its snapshots. When empty, any will do.
    type: list
    elements: str
    default: []
  folder:
    description:
      - The folder below which each drill has one. It is made with mode 0700, and must be this user's and closed to others.
    type: path
    required: true
  time:
    description: The time of the service, by which the ages in O(expect) are measured.
    type: str
    required: true
  bytes:
    description: How many bytes are restored at most.
    type: int
    default: 1073741824
  seconds:
    description: How many seconds the drill may take, with its command.
    type: int
    default: 3600
  memory:
    description: How many bytes of memory each process of O(command) may use.
    type: int
    default: 2147483648
  seed:
    description: The seed that chooses the files of a sample. When not set, it is O(time).
    type: str
  command:
    description:
      - The command that must succeed on the restored tree, as words. It begins in the tree, C(/restored) (E(HOLDFAST_TREE)), and
        can write there and in C(/tmp), but run nothing from there.
    type: list
    elements: str
    default: []
  expect:
    description: Files that the restored tree must hold.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: A pattern for paths of files, as the snapshot has them. C(*) stands for any text, slashes too.
        type: str
        required: true
      count:
        description: How many files must fit at least.
        type: int
        default: 1
      size:
        description: How many bytes they must have together at least.
        type: int
        default: 0
      max_age:
        description: How old the newest of them may be, in years, months, days and hours.
        type: str
      dated:
        description:
          - A regular expression that finds the date in the first or last MiB of a file, in its first group where it has one, as
            in V(Dump completed on ([-0-9]+ [:0-9]+\)). Without it, the times count at which the files were changed, as the host
            says.
        type: str
seealso:
  - module: holdfast.restic_r2.restic_restore
  - module: holdfast.restic_r2.restic_drill_record
"""

EXAMPLES = r"""
- name: Try to restore what the job postgresql backed up
  holdfast.restic_r2.restic_drill:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    password: "{{ holdfast_password }}"
    job: postgresql
    jobs:
      - name: postgresql
        paths: [/all.sql]
    folder: /var/lib/holdfast/drills
    time: "{{ planned.time }}"
    expect:
      - path: /all.sql
        size: 1000
"""

RETURN = r"""
ok:
  description: Whether the restore was proved, and everything was there that was expected.
  returned: when the repository could be opened
  type: bool
  sample: true
job:
  description: The job.
  returned: when the repository could be opened
  type: str
  sample: postgresql
snapshot:
  description: The snapshot that was restored.
  returned: when there is one
  type: str
  sample: 181aba75fdcf1fcd1702e1cd494a659bea075d4b02ea2f23bbdc21649532950f
stored:
  description: When the service stored it.
  returned: when there is one
  type: str
  sample: '2026-11-27T03:10:00Z'
sample:
  description: Whether only a sample of it was restored.
  returned: when there is one
  type: bool
  sample: false
files:
  description: How many files, folders and links were restored.
  returned: when the repository could be opened
  type: int
  sample: 1
bytes:
  description: How many bytes of content were restored.
  returned: when the repository could be opened
  type: int
  sample: 1048576
seconds:
  description: How long the restore took, with its proof.
  returned: when the repository could be opened
  type: float
  sample: 2.5
bytes_per_second:
  description: How many bytes that are in a second.
  returned: when something was restored
  type: int
  sample: 419430
all_files:
  description: How many files the snapshot lists.
  returned: when there is one
  type: int
  sample: 1
all_bytes:
  description: How many bytes they have.
  returned: when there is one
  type: int
  sample: 1048576
all_seconds:
  description: How long a restore of the whole snapshot would take at that speed.
  returned: when all of it was restored, or a sample of at least 64 MiB
  type: int
  sample: 3
proved_by:
  description: The command that compared the restored files with the repository.
  returned: when something was restored
  type: str
  sample: restic restore --verify
command:
  description: The end of the command.
  returned: when there was one
  type: dict
  contains:
    status:
      description: Its exit status; V(null) when it was ended.
      type: int
    seconds:
      description: How long it ran.
      type: float
    said:
      description: The end of what it said.
      type: str
  sample:
    status: 0
    seconds: 3.1
    said: "4711 rows"
problems:
  description: The problems, in sentences.
  returned: when the repository could be opened
  type: list
  elements: str
  sample: []
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actions.drill import Driller, DrillError, Plan
from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, RESTIC, S3
from ..module_utils._common.dates import parse_date
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.progress import beside_record
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import LONG, shown, shown_all

JOB = {"name": {"type": "str", "required": True}, "paths": {"type": "list", "elements": "str", "required": True}}
EXPECT = {
    "path": {"type": "str", "required": True},
    "count": {"type": "int", "default": 1},
    "size": {"type": "int", "default": 0},
    "max_age": {"type": "str"},
    "dated": {"type": "str"},
}
PLAN = {
    "job": {"type": "str", "required": True},
    "jobs": {"type": "list", "elements": "dict", "required": True, "options": JOB},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "folder": {"type": "path", "required": True},
    "time": {"type": "str", "required": True},
    "bytes": {"type": "int", "default": 1 << 30},
    "seconds": {"type": "int", "default": 3600},
    "memory": {"type": "int", "default": 2 << 30},
    "seed": {"type": "str"},
    "command": {"type": "list", "elements": "str", "default": []},
    "expect": {"type": "list", "elements": "dict", "default": [], "options": EXPECT},
}
PLACES = {"record_dir": {"type": "path"}, "noted_in": {"type": "path"}}


def plan_from(module: AnsibleModule) -> Plan:
    given = {name: module.params[name] for name in PLAN}
    time = parse_date(given["time"])
    if time is None:
        raise DrillError(f"time is {given['time']!r}, which is no time.")
    if not any(job["name"] == given["job"] for job in given["jobs"]):
        raise DrillError(f"The job {given['job']} is none of jobs.")
    if min(given["bytes"], given["seconds"], given["memory"]) < 1:
        raise DrillError("bytes, seconds and memory must be 1 or more.")
    return Plan(**{**given, "time": time, "seed": given["seed"] or given["time"]})


def _told(module: AnsibleModule, driller: Driller) -> dict[str, Any]:
    """The result; its warnings go their own way."""
    found = asdict(driller.outcome)
    for warning in found.pop("warnings"):
        module.warn(shown(warning, LONG))
    return found


def main() -> None:
    module = AnsibleModule(argument_spec={**CLOUDFLARE, **S3, **RESTIC, **PLAN, **PLACES}, supports_check_mode=True)
    driller = None
    try:
        clients, plan = Clients(module.params, hider(module)), plan_from(module)
        records, inside = module.params["record_dir"], module.params["noted_in"]
        progress = beside_record(records, clients.bucket, clients.prefix, "drill", still=plan.seconds, inside=inside)
        driller = Driller(clients, plan, progress)
        driller.run(module.check_mode)
    except HoldfastError as error:
        found = _told(module, driller) if driller else {}
        module.fail_json(**shown_all({**found, "msg": str(error), **error.details}))
    module.exit_json(**shown_all(_told(module, driller)))


if __name__ == "__main__":
    main()
