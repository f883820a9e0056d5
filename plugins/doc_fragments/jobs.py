# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  jobs:
    description:
      - The jobs of the host, as in the setting C(backup_jobs) of the role P(holdfast.restic_r2.backup#role). Then every job is
        judged for itself. When empty, nothing is known of them.
      - A snapshot is that of the job in its tag, which is C(job:) and the name. One without such a tag is that of the job
        which has its paths. With several such tags, or with one that no job writes, it is of no job. So is one of a host that
        is not among O(expected_hosts), if these are set.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the job.
        type: str
        required: true
      paths:
        description: The paths of its snapshots. The output of a command is C(/) and the name of its file.
        type: list
        elements: str
        required: true
      max_age:
        description: How many hours old its newest snapshot may be. O(max_age) when not set.
        type: float
      retention:
        description:
          - The retention of the job, with the names of the options C(keep_last) to C(keep_tags) of
            M(holdfast.restic_r2.restic_prune), in the place of these options. Other modules take no notice of it.
        type: dict
      hold:
        description:
          - Removes none of its snapshots for a time, as the option C(hold) of M(holdfast.restic_r2.restic_prune) does for the
            whole repository. Other modules take no notice of it.
        type: dict
"""
