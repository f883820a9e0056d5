# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  lock_wait:
    description:
      - How many seconds to wait for other restic processes in the repository, such as a backup, to end, when everything is
        prepared. Nothing is unlocked meanwhile. A backup that takes longer goes on after that, and is not harmed.
      - It then waits as long at most for another run to end whose fence is on this repository or holds the same tokens.
    type: int
    default: 600
  fence:
    description:
      - Whether the token of the host is disabled while something of its repository is deleted, so that nothing is open to the
        host meanwhile, neither what the window opens nor restic's own lock objects. Its backups fail for that time, so that the
        module first waits for one that is running.
      - It holds for every token that may write in the bucket, in every stage of a rotation, and in a bucket that
        several repositories share, for those of all their hosts. These are the tokens that
        M(holdfast.restic_r2.r2_host_token) makes, and the one whose keys O(host_access_key_id) names. Where a token of
        another origin reaches the bucket too, nothing is unlocked.
      - With V(auto), nothing is unlocked where hosts cannot be kept out, because O(fence_api_token) lacks the permission
        C(Account API Tokens Write), because a host has temporary credentials, the node's own keys, or keys of a token that
        is not the account's. The message says which it is.
      - V(never) does without a fence. Then a host can delete what is unlocked of its own repository while a window is open.
      - A token that was disabled before stays disabled. A token behind a fence is enabled in the end, even if a person has
        disabled it meanwhile; to shut a host out for good, remove its token, as the freeze of the recover playbook does.
      - When the machine dies meanwhile, M(holdfast.restic_r2.r2_bucket_relock) enables the tokens after an hour.
    type: str
    choices: [auto, never]
    default: auto
  fence_seconds:
    description:
      - How many seconds to wait between the disabling of the tokens and the first window. Cloudflare says that it may take up
        to a minute until all of R2 knows of it; that one place refuses the keys tells nothing of the others.
      - Meanwhile the module checks again what it deletes. The host makes no backups for so long, and for the seconds that the
        last look at the repository and the window take.
    type: int
    default: 60
  fence_api_token:
    description:
      - The value of the API token that disables and enables the hosts', with the permission C(Account API Tokens Write).
        O(api_token) when not set.
    type: str
"""
