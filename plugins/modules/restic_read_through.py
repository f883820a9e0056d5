#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restic_read_through
short_description: Read the stored data of a restic repository in R2 through, part by part
version_added: 0.1.0
description:
  - Reads stored data and proves that it is what it claims to be, as M(holdfast.restic_r2.restic_check) does, but in each run only
    the parts that are due, so that all of it is read within O(read_within). The playbook C(holdfast.restic_r2.check)
    runs it for every host.
  - A repository is read in 8 to 256 parts of some gigabytes, by the first byte of the packs' ids (C(restic check
    --read-data-subset n/t)). When a part was read is remembered in the file C(reading) beside the record, by the clock of the
    service. A pack that was stored later counts as not read.
  - Everything is due again after three quarters of O(read_within). The data that waits longest comes first, so that runs that
    did not take place, or were interrupted, are made up for. The first round is spread over that time, and begins with
    another part for each repository, so that a fleet is not read in one night.
  - Fails when a pack is damaged, or when not one of the parts that are due could be read in the time.
    M(holdfast.restic_r2.restic_verify) tells of damaged packs until the part was read again and is whole.
  - Changes nothing in the bucket, and takes no restic lock, so that backups go on.
author: The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.restic
  - holdfast.restic_r2.restic.place
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.actiongroup_r2
requirements:
  - restic >= 0.18.0
  - boto3 >= 1.36.0
attributes:
  check_mode:
    support: full
    details: Tells in RV(left) which parts are due, and reads none.
  diff_mode:
    support: none
    details: There is nothing to show.
  idempotent:
    support: partial
    details: A second run reads what has become due since.
options:
  record_dir:
    description:
      - The folder in which M(holdfast.restic_r2.restic_repository) recorded the repository. The module remembers there which
        data was read.
    type: path
    required: true
  read_within:
    description:
      - How soon everything that is stored must have been read, in years, months, days and hours. A day or more.
      - Have the module run at least every eighth part of it, and better every day.
    type: str
    default: 90d
  seconds:
    description:
      - How many seconds one run may take. No part is begun after them, and one that is being read is given up.
    type: int
    default: 14400
  limit_download:
    description:
      - The most to download, in KiB per second. 0 sets no limit.
    type: int
    default: 0
seealso:
  - module: holdfast.restic_r2.restic_check
  - module: holdfast.restic_r2.restic_verify
"""

EXAMPLES = r"""
- name: Read what is due of the repository of web1
  holdfast.restic_r2.restic_read_through:
    account_id: "{{ holdfast_account_id }}"
    api_token: "{{ holdfast_api_token }}"
    bucket: backup-web1
    password: "{{ holdfast_password }}"
    record_dir: /var/lib/holdfast
    read_within: 30d
"""

RETURN = r"""
read:
  description: The parts that were read and are whole, as C(--read-data-subset) takes them.
  returned: when the repository could be opened
  type: list
  elements: str
  sample: [3/8]
left:
  description: The parts that are due and were not read.
  returned: when the repository could be opened
  type: list
  elements: str
  sample: []
packs:
  description: How many packs were read.
  returned: when the repository could be opened
  type: int
  sample: 132
bytes:
  description: How many bytes they have.
  returned: when the repository could be opened
  type: int
  sample: 2214592512
seconds:
  description: How long it took.
  returned: when the repository could be opened
  type: float
  sample: 61.5
oldest:
  description:
    - All that was stored before this instant was read at it, or later. While RV(complete) is V(false), when the reading began.
  returned: success
  type: str
  sample: '2026-10-02T03:10:00Z'
share:
  description: Which share of all was read within O(read_within), from 0 to 1.
  returned: when the repository could be opened
  type: float
  sample: 1.0
time:
  description: When this was, by the clock of the service.
  returned: success
  type: str
  sample: '2026-11-27T01:10:00Z'
complete:
  description: Whether everything was read at least once.
  returned: when the repository could be opened
  type: bool
  sample: true
damaged:
  description: The ids of the packs that are damaged.
  returned: when the repository could be opened
  type: list
  elements: str
  sample: []
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actions.read_through import How, Reader
from ..module_utils._clients import Clients
from ..module_utils._common.arguments import CLOUDFLARE, RESTIC, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import shown_all

OPTIONS = {
    "record_dir": {"type": "path", "required": True},
    "read_within": {"type": "str", "default": "90d"},
    "seconds": {"type": "int", "default": 14400},
    "limit_download": {"type": "int", "default": 0},
}


def main() -> None:
    module = AnsibleModule(argument_spec={**CLOUDFLARE, **S3, **RESTIC, **OPTIONS}, supports_check_mode=True)
    params = module.params
    how = How(params["read_within"], params["seconds"], params["limit_download"], module.check_mode)
    reader = None
    try:
        if how.seconds < 1 or how.limit_download < 0:
            raise HoldfastError("seconds must be 1 or more, and limit_download 0 or more.")
        reader = Reader(Clients(params, hider(module)), params["record_dir"], how)
        reader.run()
    except HoldfastError as error:
        found = asdict(reader.outcome) if reader else {}
        module.fail_json(**shown_all({**found, "msg": str(error), **error.details}))
    module.exit_json(**shown_all(asdict(reader.outcome)))


if __name__ == "__main__":
    main()
