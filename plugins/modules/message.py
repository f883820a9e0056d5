#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: message
short_description: Tell people and services about a run
version_added: 0.1.0
description:
  - Sends a message about a run by the library Apprise, which knows mail, chats and pagers, and asks for the address of a
    heartbeat. The playbooks run it.
  - Fails where Apprise is missing or does not know an address. The playbooks find that out with O(state=start), before anything
    is done. A message that cannot be sent is no failure; it is kept in O(record_dir), and sent after the next run.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.attributes
attributes:
  check_mode:
    support: full
    details: Nothing is sent.
  diff_mode:
    support: N/A
    details: Nothing is changed that could be shown.
  idempotent:
    support: N/A
    details: Each message is another one.
requirements:
  - apprise, where O(urls) are given
options:
  record_dir:
    description:
      - The folder of the records, where messages wait that could not be sent.
    type: path
    required: true
  state:
    description:
      - Whether the run begins, was well, or failed.
    type: str
    choices: [start, ok, failed]
    required: true
  run:
    description:
      - The kind of run.
    type: str
    required: true
  run_id:
    description:
      - The id of the run. Made when not given.
    type: str
  urls:
    description:
      - Addresses as Apprise reads them. They hold passwords.
    type: list
    elements: str
    default: []
  heartbeat:
    description:
      - An address that is asked for by HTTP POST, with C(/start) behind it when a run begins and C(/fail) when it failed, and
        with the id of the run as C(rid). C(RUN) in it is replaced by O(run). The end of O(body) is sent along,
        and as its last line, at the end of a run, the exit status of C(ansible-playbook).
    type: str
  title:
    description:
      - The title of the message.
    type: str
    default: ''
  body:
    description:
      - The message.
    type: str
    default: ''
  send:
    description:
      - Whether there is a message. Without one, only those are sent that wait, and the heartbeat.
    type: bool
    default: true
seealso:
  - module: holdfast.restic_r2.journal
"""

EXAMPLES = r"""
- name: Tell by mail
  holdfast.restic_r2.message:
    record_dir: /var/lib/holdfast
    run: drill
    state: failed
    urls: ["mailtos://backup:{{ vault_mail_password }}@mail.example.com?to=ops@example.com"]
    title: The restore by hand failed
    body: See the ticket.
"""

RETURN = r"""
run_id:
  description: The id of the run.
  returned: success
  type: str
  sample: 2f1c9a1e-6c1b-4b61-9f59-0d6f3b0a7c11
sent:
  description: How many messages were sent.
  returned: success
  type: int
  sample: 1
kept:
  description: How many wait for the next run.
  returned: success
  type: int
  sample: 0
problems:
  description: The messages that could not be sent, in sentences.
  returned: success
  type: list
  elements: str
  sample: []
"""

import uuid
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.errors import HoldfastError
from ..module_utils._reports.messages import Outcome, deliver, heartbeat, refuse_unusable

SPEC = {
    "record_dir": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["start", "ok", "failed"], "required": True},
    "run": {"type": "str", "required": True},
    "run_id": {"type": "str"},
    "urls": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "heartbeat": {"type": "str", "no_log": True},
    "title": {"type": "str", "default": ""},
    "body": {"type": "str", "default": ""},
    "send": {"type": "bool", "default": True},
}
# How much of the end of a body goes with a heartbeat.
_TAIL = 10000


def told(params: dict[str, Any], run_id: str) -> Outcome:
    """Send what there is to send."""
    refuse_unusable(params["urls"])
    outcome = Outcome(0, 0, [])
    if params["state"] != "start":
        message = {"title": params["title"], "body": params["body"]} if params["send"] else None
        outcome = deliver(params["record_dir"], params["urls"], message)
    if params["heartbeat"]:
        body = params["body"][-_TAIL:]
        problem = heartbeat(params["heartbeat"], params["run"], run_id, params["state"], body)
        outcome.problems.extend([problem] if problem else [])
    return outcome


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    run_id = module.params["run_id"] or str(uuid.uuid4())
    try:
        if module.check_mode:
            refuse_unusable(module.params["urls"])
            module.exit_json(changed=False, run_id=run_id, sent=0, kept=0, problems=[])
        outcome = told(module.params, run_id)
    except HoldfastError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=outcome.sent > 0, run_id=run_id, sent=outcome.sent, kept=outcome.kept, problems=outcome.problems
    )


if __name__ == "__main__":
    main()
