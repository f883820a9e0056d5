# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  keep_last:
    description:
      - How many of the newest snapshots to keep. V(-1) means all, here and in the other options with numbers.
      - The policy applies to the history of each job by itself (see O(jobs)), with any paths, with the results of
        C(restic forget). Snapshots without the tag of a job, of which O(jobs) has no job with their paths, are a history for
        each host and paths.
        At least one of the options O(keep_last) to O(keep_tags) must be set, and the policy must keep at least one
        snapshot of every history.
    type: int
  keep_hourly:
    description: For how many of the last hours with a snapshot to keep the newest.
    type: int
  keep_daily:
    description: For how many of the last days with a snapshot to keep the newest.
    type: int
  keep_weekly:
    description: For how many of the last weeks with a snapshot to keep the newest.
    type: int
  keep_monthly:
    description: For how many of the last months with a snapshot to keep the newest.
    type: int
  keep_yearly:
    description: For how many of the last years with a snapshot to keep the newest.
    type: int
  keep_within:
    description:
      - Keep all snapshots made within this time before the newest one, for example V(1y5m7d2h).
    type: str
  keep_within_hourly:
    description: Keep the newest of each hour within this time before the newest snapshot.
    type: str
  keep_within_daily:
    description: Keep the newest of each day within this time before the newest snapshot.
    type: str
  keep_within_weekly:
    description: Keep the newest of each week within this time before the newest snapshot.
    type: str
  keep_within_monthly:
    description: Keep the newest of each month within this time before the newest snapshot.
    type: str
  keep_within_yearly:
    description: Keep the newest of each year within this time before the newest snapshot.
    type: str
  keep_tags:
    description:
      - Keep snapshots with this tag, or with all tags of a list that is separated by commas. A host chooses its tags itself.
    type: list
    elements: str
  grace:
    description: Also keep all snapshots that R2 stored within this time, like V(7d). The role repository sets V(7d).
    type: str
    default: '0'
  hold:
    description:
      - Removes nothing of the repository until a date, for example during an investigation. Data that no snapshot needs stays,
        too, and the run succeeds. A finding says so; another one says, once, that a hold has ended.
      - A dictionary with C(until), a date to whose end it lasts or a time, by UTC and by Cloudflare's clock, and with C(reason).
    type: dict
  retired_keep:
    description:
      - When O(jobs) is set, histories that belong to none of these jobs (one that was removed or renamed, or another host
        name) are kept for ever.
      - With a length of time, like V(1y), such a history goes as a whole that long after R2 stored its newest snapshot, but not
        before each of O(jobs) has a snapshot.
    type: str
  retention_time:
    description:
      - V(uploaded) decides by the time at which R2 stored the snapshot, in UTC. The server sets it and the lock protects
        it, so a host cannot push old snapshots out of the policy by snapshots with invented times.
      - V(snapshot) decides by the time that the snapshot claims, as restic does. Use it after snapshots were copied from
        elsewhere, for their upload times say nothing, and only when the host is trusted.
    type: str
    choices: [uploaded, snapshot]
    default: uploaded
  max_remove:
    description:
      - How many snapshots may be removed at once, as a number or as a percentage of all. With more to remove, the module
        fails and changes nothing.
      - Protects from a slip in the policy. With hourly backups, the first maintenance and every rare one removes nearly
        all snapshots and needs V(100%).
    type: str
    default: 95%
"""
