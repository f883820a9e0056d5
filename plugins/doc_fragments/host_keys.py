# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  host_access_key_id:
    description:
      - The access key id of the host's own key pair, when it is not kept in O(record_dir) by
        M(holdfast.restic_r2.r2_host_token).
      - Locks are probed with the host's own keys where they are known, because the lock must hold against these. When R2
        does not accept them, such as while the host's token is disabled, or when they are not known, the node's keys are
        used; a lock holds against all keys alike.
    type: str
  host_secret_access_key:
    description:
      - The secret access key that belongs to it.
    type: str
  host_session_token:
    description:
      - The session token, when the host has temporary credentials.
    type: str
"""
