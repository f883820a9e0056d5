# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    PLACE = r"""
options:
  bucket:
    description:
      - The bucket that holds the repository.
    type: str
    required: true
  prefix:
    description:
      - The prefix of the repository in a shared bucket, for example V(web1/). Empty when the repository is the bucket.
    type: str
    default: ''
"""

    DOCUMENTATION = r"""
options:
  password:
    description:
      - The password of the repository.
      - When not set, the environment variable E(RESTIC_PASSWORD) is used.
    type: str
    required: true
  key_id:
    description:
      - The full id of the repository's key, 64 hexadecimal digits, as M(holdfast.restic_r2.restic_repository) recorded it.
      - With it, restic opens that key and looks at no other, so a planted key object cannot stop it.
    type: str
  repository_id:
    description:
      - The id that the repository must have, as M(holdfast.restic_r2.restic_repository) recorded it.
        A repository with another id is refused.
    type: str
  restic_path:
    description:
      - The restic program, a name on the search path or a full path.
    type: str
    default: restic
  cache_dir:
    description:
      - Where restic keeps its cache. When not set, restic's own default is used.
    type: path
"""

    RECORDED = r"""
options:
  record_dir:
    description:
      - The folder in which M(holdfast.restic_r2.restic_repository) recorded the repository. Then it is opened by the recorded
        key, and no other key in the bucket counts; it must have the recorded id.
      - When not set, and O(key_id) is not, restic tries the keys that are there, one after the other.
    type: path
"""

    NOTED = r"""
options:
  noted_in:
    description:
      - For a task that works on another machine than the maintenance node. The folder of the records where Ansible
        runs, in which M(holdfast.restic_r2.run_elsewhere) has noted that the task begins; there it is noted how far it is.
      - The other machine does not learn it. The module is given Ansible's temporary folder in its place, writes a file there as
        long as it runs, and the action plugin reads that. Where this cannot be done, the note stays as it is.
    type: path
"""
