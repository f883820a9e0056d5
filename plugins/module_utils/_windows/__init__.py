# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The moments in which something is unlocked: window, keeper, fence, and the guard that closes windows that were left open.

May import: `_common`, `_r2`, `_locks`, `_tokens`, `_restic`, `_clients`. Callers use `WindowSession`, `relock`, `fence_for`.

Private to holdfast.restic_r2; may change at any time.
"""
