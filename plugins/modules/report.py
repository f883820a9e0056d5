#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Make a page that shows which hosts are protected, and evidence of a period
version_added: 0.1.0
description:
  - Makes a page of HTML from the journal and the state on the maintenance node. It shows which hosts are protected and since when
    that is known, and for each host and job what stands between it and a restore. There is also a page for each host, and
    C(report.json) with the same facts.
  - The page needs no script, and asks no other host for anything. No host is contacted to make it.
  - A host of which nothing was heard for O(silence) hours is unknown, whatever was known of it before.
  - The role P(holdfast.restic_r2.report#role) hands over its own O(templates) and the hosts of the inventory.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
    details: The page is written each time, because it says when it was made. It has changed when it says something else.
requirements:
  - Jinja2 in the Python that runs this module, which every machine with ansible-core has
options:
  report_dir:
    description:
      - The folder of the page, which is made when it is not there. Files of other names in it stay as they are.
    type: path
    required: true
  record_dir:
    description:
      - The folder of records, in which the journal is.
    type: path
    default: ~/.local/share/holdfast
  hosts:
    description:
      - The hosts that are to be protected. One that the state does not know is unknown.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name of the host.
        type: str
        required: true
      bucket:
        description: The bucket of its repository.
        type: str
        required: true
      prefix:
        description: The prefix of its repository in a shared bucket.
        type: str
        default: ''
      jobs:
        description: The names of its jobs.
        type: list
        elements: str
        default: []
      max_age:
        description: After how many hours a newest snapshot is too old, where the state says nothing of it.
        type: float
        default: 26
  templates:
    description:
      - The templates of the pages by their names, those of P(holdfast.restic_r2.report#role).
    type: dict
    required: true
  price:
    description:
      - The cost of storing a gigabyte (10^9 bytes) for a month, in US dollars.
    type: float
    default: 0.015
  silence:
    description:
      - After how many hours without a look at it a host is unknown. After as many hours a page says in a banner that it is old.
    type: float
    default: 48
  mode:
    description:
      - The permissions of the files, in octal digits. A folder that is made can be entered by those who can read the files.
    type: str
    default: '0640'
  evidence:
    description:
      - A period of which evidence is written too, into the folder C(evidence) of O(report_dir). A year (V(2026)), a month
        (V(2026-03)), a day, or the first and the last day (V(2026-03-01/2026-03-15)).
      - Files that are there and say the same stay as they are.
    type: str
  evidence_key:
    description:
      - The file of an SSH key on the node that the evidence is signed with, a private one without a passphrase, or a public
        one whose private key an agent holds. Not signed when not set.
    type: path
seealso:
  - module: holdfast.restic_r2.journal_info
  - module: holdfast.restic_r2.restic_verify
"""

EXAMPLES = r"""
- name: Make the page
  holdfast.restic_r2.report:
    report_dir: /srv/www/backups
    record_dir: /var/lib/holdfast/records
    hosts:
      - name: web1
        bucket: backup-web1
        jobs: [system]
    templates: "{{ page_templates }}"
"""

RETURN = r"""
path:
  description: The page of all hosts.
  returned: success
  type: str
  sample: /srv/www/backups/index.html
protected:
  description: How many hosts are protected, whether or not there is something to look at.
  returned: success
  type: int
  sample: 3
total:
  description: How many hosts there are.
  returned: success
  type: int
  sample: 4
unwell:
  description: Hosts that are not in the best state, the worst first, at most 100.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the host.
      type: str
    state:
      description: V(danger), V(unknown) or V(attention).
      type: str
    text:
      description: Why.
      type: str
  sample:
    - name: web1
      state: unknown
      text: Nothing was ever heard of it.
evidence:
  description: The files of evidence. Empty without O(evidence).
  returned: success
  type: dict
  contains:
    html:
      description: The page.
      type: str
    data:
      description: The same as JSON.
      type: str
    signatures:
      description: The signatures, one for each of them.
      type: list
      elements: str
  sample:
    html: /srv/www/backups/evidence/2026-03.html
    data: /srv/www/backups/evidence/2026-03.json
    signatures: []
"""

import re

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actions.evidence_files import Proof, write_evidence
from ..module_utils._actions.report import PageRequest, write_report
from ..module_utils._common.errors import HoldfastError

_HOST = {
    "name": {"type": "str", "required": True},
    "bucket": {"type": "str", "required": True},
    "prefix": {"type": "str", "default": ""},
    "jobs": {"type": "list", "elements": "str", "default": []},
    "max_age": {"type": "float", "default": 26},
}
_MOST = 100


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "report_dir": {"type": "path", "required": True},
            "record_dir": {"type": "path", "default": "~/.local/share/holdfast"},
            "hosts": {"type": "list", "elements": "dict", "required": True, "options": _HOST},
            "templates": {"type": "dict", "required": True},
            "price": {"type": "float", "default": 0.015},
            "silence": {"type": "float", "default": 48},
            "mode": {"type": "str", "default": "0640"},
            "evidence": {"type": "str"},
            "evidence_key": {"type": "path", "no_log": False},
        },
        supports_check_mode=True,
        # The system log is no place for templates.
        no_log=True,
    )
    given = dict(module.params)
    if not re.fullmatch(r"0?[0-7]{3}", given["mode"]):
        module.fail_json(msg=f"mode is {given['mode']!r}: write octal digits in quotes, as in '0640'.")
    given["mode"] = int(given["mode"], 8)
    period, key = given.pop("evidence"), given.pop("evidence_key")
    try:
        request = PageRequest(**given)
        # A period that is none is told before anything is written.
        proof = _evidence(request, period, key or "", module.check_mode) if period else None
        written = write_report(request, check=module.check_mode)
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(
        changed=written.changed or (proof is not None and proof.changed),
        path=written.path,
        protected=written.data["protected"],
        total=written.data["hosts_total"],
        unwell=written.unwell[:_MOST],
        evidence={"html": proof.html, "data": proof.data, "signatures": proof.signatures} if proof else {},
    )


def _evidence(request: PageRequest, period: str, key: str, check: bool) -> Proof:
    return write_evidence(
        request.record_dir, request.report_dir, period, request.templates, key=key, mode=request.mode, check=check
    )


if __name__ == "__main__":
    main()
