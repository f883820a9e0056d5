#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restic_restore
short_description: Restore a snapshot from a restic repository in R2
version_added: 0.1.0
description:
  - Restores a snapshot, or parts of it, into a folder, and reads every restored file again to compare it with what the
    repository says.
  - Runs wherever restic is, on the maintenance node or on a backed-up host, and needs no boto3.
  - A snapshot is what a host has written, and restic restores it as it is. So before anything is written, its list of entries
    is judged, restic can write nothing but the target, and entries that could give rights to a user are left out.
  - Takes no restic lock, so that a restore also succeeds with keys that can only read, and when a host has filled
    C(locks/).
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
  - restic >= 0.14.0
  - restic >= 0.17.0, with O(overwrite) and a folder that is not empty, and with several O(jobs)
  - Linux >= 5.12, with O(confinement=auto)
attributes:
  check_mode:
    support: full
    details:
      - With restic older than 0.17, which has no dry run for this, only the snapshot and the target are looked at.
      - A restore over existing files does not foresee changes of owner, mode or time alone.
  diff_mode:
    support: none
    details: The content of files is not shown.
  idempotent:
    support: partial
    details:
      - Without O(overwrite), a second run fails, for the target is not empty any more.
      - With O(overwrite), a second run changes nothing as long as the snapshot is the same; V(latest) can mean another.
options:
  jobs:
    description:
      - With V(latest), the newest snapshot of each of these jobs of the role P(holdfast.restic_r2.backup#role), over one
        another, the newest last. A snapshot is that of the job in its tag, which is C(job:) and the name; one without such a
        tag is that of the job whose O(jobs[].paths) it has, no more and no fewer.
      - With an empty list, all snapshots must be of the same job or paths, or nothing is restored.
      - When not set, V(latest) is the newest of all snapshots that fit, of any job.
    type: list
    elements: dict
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
  snapshot:
    description:
      - The snapshot, V(latest) or the id or at least 8 digits of its beginning.
      - V(latest) is the one with the latest time that a host claimed. After a compromise, choose by the time of upload,
        which M(holdfast.restic_r2.restic_snapshot_info) shows, and name the id.
    type: str
    default: latest
  paths:
    description:
      - With V(latest), only snapshots that include all of these paths.
    type: list
    elements: str
    default: []
  target:
    description:
      - The folder to restore into, an absolute path. It is made with mode 0700 when it does not exist.
      - Paths of the snapshot are kept below it, so C(/etc/hosts) becomes C(<target>/etc/hosts). Nothing outside of it
        is written, but for restic's own cache.
      - It is refused when it, or a folder above it, belongs to another user than root and the module's, or can be written
        by others (above it, a sticky bit will do), when a link is on the way, and when others can enter it. Mount what is
        restored from there with C(nosuid,nodev) if you can.
    type: path
    required: true
  roots:
    description:
      - The folders below which O(target) must be. Any folder will do when there are none.
    type: list
    elements: path
    default: []
  confinement:
    description:
      - With V(auto), restic runs where nothing but O(target) and its own cache can be written, no devices can be opened, and
        nothing of the network but the repository is reached (in namespaces of its own), and with the system calls of backup jobs
        alone. A machine that cannot do this is refused. So is the target C(/).
      - With V(none), restic can write everything that its user can. The entries of a snapshot are judged all the same.
    type: str
    choices: [auto, none]
    default: auto
  special:
    description:
      - Whether devices, setuid and setgid bits of files, file capabilities, and attributes of the system (C(trusted.*) and
        C(security.*), such as labels of SELinux) are restored too, as for a machine that shall boot from the target.
      - The target may be open to others then.
    type: bool
    default: false
  include:
    description:
      - Restore only these files and folders, absolute paths as the snapshot has them. They are taken as they are, with any
        characters. One that is not there is a failure.
    type: list
    elements: str
    default: []
  include_patterns:
    description:
      - Restore only what fits one of these patterns of restic, or is in O(include).
    type: list
    elements: str
    default: []
  exclude:
    description:
      - Do not restore what fits one of these patterns of restic.
    type: list
    elements: str
    default: []
  overwrite:
    description:
      - Whether to restore into a folder that is not empty. Files of the same name get the content of the snapshot, others stay.
      - What is right already is not downloaded again, so that a restore that broke off goes on where it was.
    type: bool
    default: false
  seconds:
    description:
      - How many seconds all of it may take, the look at the list of entries and the comparison afterwards, too. Then restic is
        ended, and the module fails. What was restored until then stays, and another run with O(overwrite) goes on from there.
      - From 1 to 2678400, which are 31 days. Raise it for a restore that takes longer than a day, as that of several terabytes
        does. 1 TB at 20 MB per second takes 14 hours, and reading it again for the comparison the time that the disk needs.
    type: int
    default: 86400
notes:
  - Entries that restic itself never writes (the same name twice in a folder, names that lead elsewhere or are too long, unknown
    types) are left out, and the others are restored. A snapshot with more than 1000 such entries, or that cannot be listed to
    its end, is not restored.
  - When no entry fits the included and excluded patterns, the module fails.
  - Attributes of the system can be left out by restic >= 0.18.0 only; an older one fails at them.
  - Long runs of zeros are restored as holes of sparse files (restic >= 0.17.0).
  - Owners are restored by number, and only when the module runs as root.
"""

EXAMPLES = r"""
- name: The newest backup of web1, beside the living files
  holdfast.restic_r2.restic_restore:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    password: "{{ holdfast_password }}"
    target: /var/lib/holdfast/restores/web1

- name: One folder of an older one, over an earlier restore, to be copied into its place after a look at it
  holdfast.restic_r2.restic_restore:
    s3_endpoint: "{{ holdfast_s3_endpoint }}"
    access_key_id: "{{ web1_access_key_id }}"
    secret_access_key: "{{ web1_secret_access_key }}"
    bucket: backup-web1
    password: "{{ holdfast_password }}"
    snapshot: "{{ chosen_snapshot }}"
    include: [/etc/nginx]
    target: /var/lib/holdfast/restores/web1
    overwrite: true
"""

RETURN = r"""
snapshot:
  description: The snapshot that was restored; of several, the newest.
  returned: success
  type: dict
  sample:
    id: 181aba75fdcf1fcd1702e1cd494a659bea075d4b02ea2f23bbdc21649532950f
    time: "2026-11-23T05:38:27.227057191Z"
    hostname: web1
    paths: [/srv]
snapshots:
  description: All snapshots that were restored, in this order.
  returned: success
  type: list
  elements: dict
  sample:
    - id: 181aba75fdcf1fcd1702e1cd494a659bea075d4b02ea2f23bbdc21649532950f
      time: "2026-11-23T05:38:27.227057191Z"
      hostname: web1
      paths: [/srv]
target:
  description: The folder that was restored into.
  returned: success
  type: str
  sample: /var/lib/holdfast/restores/web1
left_out:
  description:
    - The entries of the whole snapshot that were not restored (V(name), V(twice), V(long), V(device), V(type)) or restored
      without their rights (V(setuid), V(setgid), V(capability)). Paths are cut at 1000 characters, and bytes that are
      not UTF-8 replaced.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Its path in the snapshot.
      type: str
    why:
      description: Why it was left out.
      type: str
  sample:
    - path: /usr/bin/passwd
      why: setuid
files:
  description: How many files, folders and links were restored. Over existing files, folders and links always count.
  returned: success, but not in check mode with restic older than 0.17
  type: int
  sample: 5
bytes:
  description: How many bytes of content were written.
  returned: success, but not in check mode with restic older than 0.17
  type: int
  sample: 300002
verified:
  description: Whether the restored files were read again and are equal to the snapshot.
  returned: success
  type: bool
  sample: true
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actions.restore import How, Selection, restore
from ..module_utils._actions.restore_target import inspect
from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, RESTIC, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.process_signals import checked_seconds, ended_by_signals
from ..module_utils._common.progress import beside_record
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import LONG, shown, shown_all
from ..module_utils._restic.confinement import require

SELECTION = {
    "snapshot": {"type": "str", "default": "latest"},
    "paths": {"type": "list", "elements": "str", "default": []},
    "include": {"type": "list", "elements": "str", "default": []},
    "include_patterns": {"type": "list", "elements": "str", "default": []},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "jobs": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "paths": {"type": "list", "elements": "str", "required": True},
        },
    },
}
TARGET = {
    "special": {"type": "bool", "default": False},
    "target": {"type": "path", "required": True},
    "roots": {"type": "list", "elements": "path", "default": []},
    "overwrite": {"type": "bool", "default": False},
    "confinement": {"type": "str", "choices": ["auto", "none"], "default": "auto"},
    "seconds": {"type": "int", "default": 86400},
}
LIMIT = "seconds (holdfast_restore_seconds)"
PLACES = {"record_dir": {"type": "path"}, "noted_in": {"type": "path"}}


def restored(module: AnsibleModule) -> dict[str, Any]:
    """The result. Target and machine are judged before anything is asked for."""
    params = module.params
    seconds = checked_seconds(params["seconds"])
    confined = params["confinement"] == "auto"
    selection = Selection(**{name: params[name] for name in SELECTION})
    target = inspect(params["target"], params["roots"], overwrite=params["overwrite"], special=params["special"])
    clients = Clients(params, hider(module))
    progress = beside_record(params["record_dir"], clients.bucket, clients.prefix, "restore", inside=params["noted_in"])
    how = How(special=params["special"], confined=confined, check_mode=module.check_mode, progress=progress)
    if confined:
        require(target.path, special=how.special)
    end = f"{target.path} has what was restored until then, and another run with overwrite goes on from there."
    work = f"The restore of {clients.name}"
    with progress.told(), ended_by_signals(work, lambda: end, seconds, LIMIT):
        return restore(clients.open_repository(), selection, target, how)


def main() -> None:
    module = AnsibleModule(
        argument_spec={**CLOUDFLARE, **S3, **RESTIC, **SELECTION, **TARGET, **PLACES}, supports_check_mode=True
    )
    try:
        result = restored(module)
    except HoldfastError as error:
        module.fail_json(**shown_all({"msg": str(error), **error.details}))
    for warning in result.pop("warnings"):
        module.warn(shown(warning, LONG))
    module.exit_json(**shown_all(result))


if __name__ == "__main__":
    main()
