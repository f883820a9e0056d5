#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: r2_bucket_lock
short_description: Manage the lock rules of a bucket of Cloudflare R2
version_added: 0.1.0
description:
  - A lock rule refuses every overwrite and delete of an object below its prefix. New objects can always be added. R2
    judges by the rules of the moment, so a rule that is disabled, shortened or removed frees its objects at once.
  - All rules of a bucket are one document without a version, read and written as a whole. This module reads it,
    changes the rules that it was asked for, and writes it back only when something differs. Then it reads again what
    the service has. If another writer changed the document at the same time, it plans again from the new one, and
    fails when that does not come to an end.
  - Rules that were not asked for are written back exactly as they were read.
  - In a bucket that several repositories share, it takes a mutex before it writes, so that no two writers change the lock
    document at the same time. For that it uses the S3 API and needs boto3. If another writer keeps the mutex, the module
    fails and has changed nothing.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.full
  - holdfast.restic_r2.attributes.actiongroup_r2
options:
  bucket:
    description:
      - The bucket whose rules are managed. It must exist.
    type: str
    required: true
  state:
    description:
      - V(present) adds the rules that are missing, and changes those that differ.
      - V(absent) removes the rules. Of O(rules), only the ids count.
      - V(exact) is V(present), and the bucket has no other rules. Where it has others, the module fails unless
        O(purge) allows to remove them.
    type: str
    choices: [present, absent, exact]
    default: present
  repository:
    description:
      - The prefix of a restic repository in the bucket, for example V(web1/), or an empty string when the repository
        is the whole bucket. It stands for the five rules that hold a repository, C(config), C(data/), C(index/),
        C(keys/) and C(snapshots/), all for ever, with ids that begin with C(holdfast/).
      - C(locks/) is never held, because restic writes and deletes its own lock files there. A rule that would hold
        it, from any writer, makes the module fail.
      - While maintenance of the repository is at work, that is while the lease of a window runs, the module fails
        rather than cut the window. A window whose lease has run out, or that has none, is closed.
    type: str
  rules:
    description:
      - Rules to manage, by id.
    type: list
    elements: dict
    suboptions:
      id:
        description:
          - The id of the rule in its bucket. Ids that begin with C(holdfast/) are those of O(repository).
        type: str
        required: true
      prefix:
        description:
          - The beginning of the keys that the rule holds. It is compared as text, so V(data) also holds
            C(database.sql); end it with a slash to mean a folder. An empty prefix holds the whole bucket, which
            O(allow_whole_bucket) must allow.
        type: str
        default: ''
      enabled:
        description:
          - Whether the rule is in force. A disabled rule stays on file and holds nothing.
        type: bool
        default: true
      retention:
        description:
          - How long the rule holds an object.
          - V(indefinite) until the rule is changed, V(age) for O(rules[].age) after the object was uploaded, V(date)
            until O(rules[].date).
        type: str
        choices: [indefinite, age, date]
        default: indefinite
      age:
        description:
          - How long after its upload an object is held, for example V(90d). A whole number above 0 with a unit out of
            V(s), V(h), V(d) and V(w); seconds without a unit. At most V(24855d).
        type: str
      date:
        description:
          - Until when objects are held, as V(2027-01-31), which is midnight in UTC, or as V(2027-01-31T12:00:00Z).
            Put it in quotes. It must not have passed when the rule is written.
        type: str
  purge:
    description:
      - With O(state=exact), remove all other rules, also those of other tools.
    type: bool
    default: false
  allow_whole_bucket:
    description:
      - Accept a rule with an empty prefix. It holds every object of the bucket, so nothing in it can be changed any
        more.
    type: bool
    default: false
seealso:
  - module: holdfast.restic_r2.r2_bucket_lock_info
  - module: holdfast.restic_r2.r2_bucket_relock
  - name: Bucket locks
    description: Cloudflare's documentation of lock rules.
    link: https://developers.cloudflare.com/r2/buckets/bucket-locks/
"""

EXAMPLES = r"""
- name: Hold the restic repository that fills a bucket
  holdfast.restic_r2.r2_bucket_lock:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    bucket: backup-web1
    repository: ''

- name: Hold one of several repositories in a shared bucket
  holdfast.restic_r2.r2_bucket_lock:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    bucket: backup-shared
    repository: web1/

- name: Keep logs for 90 days and exports until the end of 2099, beside all other rules of the bucket
  holdfast.restic_r2.r2_bucket_lock:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    bucket: archive
    rules:
      - id: logs
        prefix: logs/
        retention: age
        age: 90d
      - id: exports
        prefix: exports/
        retention: date
        date: '2099-12-31'

- name: Have these rules only, and remove all others
  holdfast.restic_r2.r2_bucket_lock:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    bucket: archive
    state: exact
    purge: true
    rules:
      - id: logs
        prefix: logs/

- name: Give up the protection of a repository
  holdfast.restic_r2.r2_bucket_lock:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    bucket: backup-shared
    repository: web2/
    state: absent
"""

RETURN = r"""
rules:
  description:
    - All rules of the bucket, those of others too, as they were read back after a change. In check mode, as they
      would be.
    - Dates are in UTC, and a rule without a prefix has an empty one.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The id of the rule.
      returned: always
      type: str
      sample: holdfast/data
    enabled:
      description: Whether the rule is in force.
      returned: always
      type: bool
      sample: true
    prefix:
      description: The beginning of the keys that the rule holds.
      returned: always
      type: str
      sample: data/
    condition:
      description: How long the rule holds an object, with C(type) being C(Indefinite), C(Age) or C(Date).
      returned: always
      type: dict
      sample:
        type: Indefinite
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.arguments import CLOUDFLARE, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._locks.change import change_rules, mutex_factory
from ..module_utils._locks.desired import desired_rules, plan
from ..module_utils._locks.rules import Rule, normalise, same
from ..module_utils._locks.store import cloudflare_client

RULE: dict[str, Any] = {
    "id": {"type": "str", "required": True},
    "prefix": {"type": "str", "default": ""},
    "enabled": {"type": "bool", "default": True},
    "retention": {"type": "str", "choices": ["indefinite", "age", "date"], "default": "indefinite"},
    "age": {"type": "str"},
    "date": {"type": "str"},
}

ARGUMENTS: dict[str, Any] = {
    **CLOUDFLARE,
    **S3,
    "bucket": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "exact"], "default": "present"},
    "repository": {"type": "str"},
    "rules": {
        "type": "list",
        "elements": "dict",
        "options": RULE,
        "required_if": [("retention", "age", ["age"]), ("retention", "date", ["date"])],
    },
    "purge": {"type": "bool", "default": False},
    "allow_whole_bucket": {"type": "bool", "default": False},
}


def run(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    desired = desired_rules(params)
    client = cloudflare_client(params)

    def change(current: list[Rule]) -> list[Rule]:
        return plan(
            current,
            desired,
            state=params["state"],
            now=client.server_time(),
            purge=params["purge"],
            allow_whole_bucket=params["allow_whole_bucket"],
        )

    may_empty = params["state"] == "absent" or params["purge"]
    mutex_for = mutex_factory(params, hider(module))
    write = not module.check_mode
    update = change_rules(client, params["bucket"], change, mutex_for, allow_empty=may_empty, write=write)
    before, after = normalise(update.before), normalise(update.after)
    shown = [{"rules": sorted(rules, key=lambda rule: str(rule["id"]))} for rules in (before, after)]
    return {
        "changed": update.written or not same(before, after),
        "rules": after,
        "diff": {"before": shown[0], "after": shown[1]},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_one_of=[("rules", "repository")],
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
