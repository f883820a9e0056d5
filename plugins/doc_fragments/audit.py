# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  record_dir:
    description:
      - The folder with the records of repositories, as written by M(holdfast.restic_r2.restic_repository). Keys and
        configuration of the repository must be exactly those of its record.
      - Beside the record is the I(baseline), the list of the objects that were last verified. None of
        them may have gone or changed, and only newer objects are read. The first baseline is made by reading everything.
      - When not set, only O(repository_id) is compared, if set, and nothing is remembered.
    type: path
  expected_hosts:
    description:
      - The names of the hosts that back up into the repository. Snapshots of others are a finding.
      - When empty, the hosts of the baseline are expected.
    type: list
    elements: str
    default: []
  expected_paths:
    description:
      - The paths that are backed up, each as it is in snapshots. Others are a finding.
      - When empty, the paths of the baseline are expected.
    type: list
    elements: str
    default: []
  max_age:
    description:
      - How many hours old the newest snapshot of each job may be (see O(jobs)), by its upload; without jobs, the newest of
        all. An older one is a finding. When not set, any age will do.
      - A snapshot whose time does not fit its upload does not count.
    type: float
  protected_snapshots:
    description:
      - Snapshots that are never removed, each with at least eight digits of its id. One that is not in the repository is a
        finding, and nothing is removed until that is corrected.
    type: list
    elements: str
    default: []
  longest_backup:
    description:
      - How many hours a backup may take. A snapshot claims when its backup began; one that was uploaded before, or longer
        than this after, is taken for forged unless it is in the baseline.
      - Raise it for a first backup that takes days.
    type: float
    default: 48.0
  first_read_limit:
    description:
      - Up to how many GiB of data are read unasked when there is no baseline yet. With more, a baseline must be made with
        M(holdfast.restic_r2.restic_audit).
    type: int
    default: 10
  scratch_dir:
    description:
      - Where new packs are put for a moment, to look at them without the index of the bucket. They are encrypted as in the
        bucket, and removed at once. At least 1 GiB should be free there.
      - In check mode, M(holdfast.restic_r2.restic_prune) also puts there what restic would add.
      - When not set, the usual place for temporary files.
    type: path
  time_limit:
    description:
      - How many seconds the module may take. Then it ends as after a signal, closes its window and fails, so that a slow or
        hostile repository does not hold up the others.
      - From 60 to 2678400, which are 31 days. Raise it where preparing takes longer, as it does once for a repository of many
        terabytes.
    type: int
    default: 43200
  signals:
    description:
      - From when on a change between two snapshots of a job looks like ransomware. The defaults are what the measurements in
        C(bench/signals.py) leave no false alarm with. All but O(signals.seconds) are shares, from 0 to 1.
      - It is looked for where there is a baseline, in each new snapshot once, against the last one of its job. The signal is
        kept beside the record until a person accepts it with M(holdfast.restic_r2.restic_signals).
    type: dict
    default: {}
    suboptions:
      share:
        description: The share of the files of before that were replaced, together with O(signals.lost).
        type: float
        default: 0.05
      lost:
        description: The share of what was replaced that came back in a form that cannot be compressed any more.
        type: float
        default: 0.4
      partly_share:
        description: As O(signals.share), together with O(signals.partly_lost), where only a part of each file may be encrypted.
        type: float
        default: 0.5
      partly_lost:
        description: As O(signals.lost), there.
        type: float
        default: 0.12
      few_share:
        description:
          - In a job of fewer than 50 files, such as dumps and disks of virtual machines, the share of the bytes that were
            replaced, together with O(signals.lost).
        type: float
        default: 0.2
      remaining:
        description: The share of the files that must remain; a job that has fewer has shrunk.
        type: float
        default: 0.25
      ending:
        description: The share of the files of before whose names gained the same ending.
        type: float
        default: 0.05
      quiet:
        description:
          - The share of the files of before that may have changed or vanished, by what the snapshots say of themselves and the
            sizes of new packs, for nothing to be looked into. Changes add up until there was a look.
        type: float
        default: 0.045
      seconds:
        description:
          - How many seconds the search may take, from 10 to 86400. The snapshots that are left are told as V(not_looked_at),
            are held like a signal, and are looked at the next time.
        type: int
        default: 900
"""
