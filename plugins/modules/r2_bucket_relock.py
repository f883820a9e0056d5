#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: r2_bucket_relock
short_description: Close windows that have outlived their lease
version_added: 0.1.0
description:
  - The guard. Looks at the lock document of every bucket and enables the lock rules that a window left disabled, as
    soon as the window's lease is over or there is no lease at all.
  - It knows nothing but these documents, neither an inventory nor a state, so it can run anywhere, at any moment,
    beside running maintenance, and any number of times at once.
  - A window whose lease still runs belongs to a run that is at work; it is left alone unless O(force=true).
  - Whether a lease is over is judged by the clock of Cloudflare's API, never by that of this machine.
  - It also enables the API token of a host that a fence had disabled for the time of maintenance, once the fence's lease
    is over. For that, O(api_token) needs the permission C(Account API Tokens Write) too; without it, the module says so.
  - Rules that this collection did not write are never touched. A document that was edited into nonsense is reported and
    left alone, and so is a window of a repository whose rules make no sense; all others are still looked after.
  - Costs one call of the API per bucket when nothing is open, and two more for a bucket in which something has to be
    closed.
  - In a bucket that several repositories share, it takes a mutex before it closes a window, for which it uses the S3 API.
    If it cannot have the mutex within some seconds, because another writer keeps it, boto3 is missing or the S3 API is
    out of reach, it warns and closes the window without the mutex.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.cloudflare
  - holdfast.restic_r2.s3
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.full
  - holdfast.restic_r2.attributes.actiongroup_r2
options:
  buckets:
    description:
      - The buckets to look at.
      - When not set, all buckets of the account are looked at, in each of O(jurisdictions).
    type: list
    elements: str
  jurisdictions:
    description:
      - The jurisdictions in which all buckets are looked at.
      - When not set, all that are known, see O(jurisdiction). A jurisdiction that the API refuses, because the account does not
        have it, is told then (RV(not_looked_at)) and is no failure.
      - One that is named and not known is a failure, after the others were looked at.
    type: list
    elements: str
  force:
    description:
      - Also close windows whose lease still runs. Maintenance that is at work in such a window fails, and does no harm.
    type: bool
    default: false
  fail_when_closed:
    description:
      - Fail when a window had to be closed or a fence taken down, after that was done, so that an unattended
        schedule raises the alarm.
    type: bool
    default: false
  timeout:
    description:
      - How long to try against failures of the API, for all buckets together, in seconds.
      - The default outlasts the five minutes for which Cloudflare refuses every call after too many of them.
    type: int
    default: 900
  record_dir:
    description:
      - A folder in which the guard keeps its journal, see M(holdfast.restic_r2.journal). It gets a line for each window that was
        closed and each problem, and one a day when there is none; C(status.json) has the time of every look.
    type: path
  metrics_file:
    description:
      - A file that gets the state in O(record_dir) as metrics for Prometheus, see M(holdfast.restic_r2.journal).
    type: path
seealso:
  - module: holdfast.restic_r2.r2_bucket_lock_info
  - module: holdfast.restic_r2.restic_prune
"""

EXAMPLES = r"""
- name: Close all overdue windows of the account
  holdfast.restic_r2.r2_bucket_relock:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"

- name: Show open windows, and fail if one would have to be closed
  holdfast.restic_r2.r2_bucket_relock:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    fail_when_closed: true
  check_mode: true

- name: End the maintenance of one bucket at once
  holdfast.restic_r2.r2_bucket_relock:
    account_id: 0123456789abcdef0123456789abcdef
    api_token: "{{ vault_api_token }}"
    buckets:
      - backup-web1
    force: true
"""

RETURN = r"""
buckets:
  description:
    - The findings of each bucket, also when the module fails.
  returned: always, once the buckets are known
  type: list
  elements: dict
  contains:
    bucket:
      description: The bucket.
      type: str
      sample: backup-web1
    jurisdiction:
      description: The jurisdiction of the bucket.
      type: str
      sample: default
    line:
      description: All of it in one line for a person.
      type: str
      sample: "backup-web1: all rules are in force."
    closed:
      description: Windows that were closed, or in check mode would be.
      type: list
      elements: dict
      contains: &window
        prefix:
          description: The prefix of the repository, empty when the repository is the bucket.
          type: str
          sample: web1/
        parts:
          description: The parts of the repository that were not locked.
          type: list
          elements: str
          sample: [data, index]
        lease:
          description: The instant by which the window had to be closed; not there for an orphaned window.
          type: str
          sample: "2026-11-01T03:00:00Z"
        state:
          description:
            - V(overdue), V(orphaned) when there was no lease, or V(live).
            - V(implausible) when the lease is further away than any that this collection writes. A person or an attacker
              edited it; the window is closed like one whose lease is over.
          type: str
          sample: overdue
    live:
      description: Windows that were left alone because their lease still runs.
      type: list
      elements: dict
      contains: *window
    fences:
      description: Fences that were taken down, or in check mode would be.
      type: list
      elements: dict
      contains:
        prefix:
          description: The prefix of the repository, empty when the repository is the bucket.
          type: str
          sample: ""
        tokens:
          description: The ids of the tokens behind it.
          type: list
          elements: str
          sample: [fedcba9876543210fedcba9876543210]
        enabled:
          description: Those that were disabled and are enabled again.
          type: list
          elements: str
          sample: [fedcba9876543210fedcba9876543210]
        lease:
          description: The instant by which the fence had to be taken down.
          type: str
          sample: "2026-11-01T03:00:00Z"
    problems:
      description: Problems that a person has to solve, one sentence each.
      type: list
      elements: str
looked_at:
  description:
    - The jurisdictions that were looked at.
  returned: always, once the buckets are known
  type: list
  elements: str
  sample: [default, eu]
not_looked_at:
  description:
    - Jurisdictions that the API refused, and its answers.
  returned: always, once the buckets are known
  type: dict
  sample: {}
time:
  description: When this was seen, by the clock of Cloudflare's API. V(null) when it was not told.
  returned: always, once the buckets are known
  type: str
  sample: '2026-11-23T08:22:00Z'
closed:
  description:
    - How many windows were closed, or in check mode would be.
  returned: always, once the buckets are known
  type: int
  sample: 0
"""

import uuid
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.arguments import CLOUDFLARE, S3
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.redaction import hider
from ..module_utils._common.untrusted import shown_all
from ..module_utils._locks.change import mutex_factory
from ..module_utils._locks.rules import normalise
from ..module_utils._locks.store import LockStore, cloudflare_client, time_told
from ..module_utils._r2.places import jurisdictions
from ..module_utils._r2.rate_limit import shared_rate_limit
from ..module_utils._reports.guard_entries import guard_entries
from ..module_utils._reports.journal import RunJournal
from ..module_utils._reports.metrics import write_metrics
from ..module_utils._windows.guard import BucketResult, relock_all, sentence


def told(results: list[BucketResult]) -> dict[str, Any]:
    """The result of the module for all buckets."""
    closed = sum(len(result.closed) for result in results)
    touched = [result for result in results if result.closed or result.fences]
    diff = {
        "before": {result.bucket: normalise(result.before) for result in touched},
        "after": {result.bucket: normalise(result.after) for result in touched},
    }
    found = [result.returned() for result in results]
    return {"changed": bool(touched), "closed": closed, "buckets": found, "diff": diff}


def clients_of(params: Mapping[str, Any], names: list[str]) -> tuple[list[LockStore], list[BucketResult]]:
    """A client for each jurisdiction; a name that is none keeps the guard from no other that was named beside it."""
    clients: list[LockStore] = []
    failed: list[BucketResult] = []
    for name in names:
        try:
            clients.append(cloudflare_client(dict(params, jurisdiction=name)))
        except HoldfastError as error:
            if len(names) == 1 or not params["jurisdictions"]:
                raise
            failed.append(BucketResult("(all)", name, problems=[str(error)], failure=error))
    if not clients:
        raise HoldfastError(" ".join(dict.fromkeys(text for result in failed for text in result.problems)))
    return clients, failed


def guarded(module: AnsibleModule) -> tuple[list[BucketResult], dict[str, Any]]:
    """Runs the guard; returns the results of all buckets, and where it looked."""
    params = module.params
    names = list(params["jurisdictions"] or [params["jurisdiction"]])
    everywhere = not params["jurisdictions"] and params["buckets"] is None
    names += [name for name in jurisdictions() if everywhere and name not in names]
    unseen: dict[str, str] = {}
    clients, failed = clients_of(params, names)
    results = failed + relock_all(
        clients,
        params["buckets"],
        mutex_factory(params, hider(module)),
        force=params["force"],
        write=not module.check_mode,
        timeout=params["timeout"],
        unseen=unseen if everywhere else None,
    )
    looked_at = [client.jurisdiction for client in clients if client.jurisdiction not in unseen]
    return results, {"looked_at": looked_at, "not_looked_at": shown_all(unseen), "time": time_told(clients[0])}


def calls_left(params: Mapping[str, Any]) -> int | None:
    """How many calls of the API this machine may still make, as far as it knows."""
    limit = shared_rate_limit(params["api_url"], params["account_id"])
    return limit.left() if limit else None


def written_down(module: AnsibleModule, entries: list[dict[str, Any]]) -> str:
    """Write the journal and the metrics where they are asked for; why that failed, in a sentence."""
    folder, metrics_file = module.params["record_dir"], module.params["metrics_file"]
    if not folder or module.check_mode:
        return ""
    try:
        state = RunJournal(folder).append(entries)
        if metrics_file:
            write_metrics(metrics_file, state)
    except HoldfastError as error:
        return f"The guard has done its work, but it is not written down: {error}"
    return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            CLOUDFLARE,
            **S3,
            buckets={"type": "list", "elements": "str"},
            jurisdictions={"type": "list", "elements": "str"},
            force={"type": "bool", "default": False},
            fail_when_closed={"type": "bool", "default": False},
            timeout={"type": "int", "default": 900},
            record_dir={"type": "path"},
            metrics_file={"type": "path"},
        ),
        mutually_exclusive=[("buckets", "jurisdictions")],
        required_by={"metrics_file": "record_dir"},
        supports_check_mode=True,
    )
    try:
        results, places = guarded(module)
    except HoldfastError as error:
        unwritten = written_down(module, guard_entries([], str(error)))
        module.fail_json(msg=f"{error} {unwritten}".strip(), **error.details)
    for result in results:
        if result.alone:
            module.warn(f"Bucket {result.bucket} was written without the mutex: {result.alone}")
    returned = {**told(results), **places}
    message = sentence(results)
    if returned["changed"] and module.params["fail_when_closed"]:
        acted = [result for result in results if (result.closed or result.fences) and not result.problems]
        message = " ".join([result.line for result in acted] + [message])
    common = {"id": str(uuid.uuid4()), "at": returned["time"], "calls_left": calls_left(module.params)}
    unwritten = written_down(module, guard_entries(returned["buckets"], **common))
    message = f"{message} {unwritten}".strip()
    if message:
        module.fail_json(msg=message, **returned)
    module.exit_json(**returned)


if __name__ == "__main__":
    main()
