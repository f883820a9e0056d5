# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lock rules: their plans, their changes under a mutex, the `LockStore`, and probes; windows and fences as such rules.

May import: `_common`, `_r2`. Callers use `LockStore`, `cloudflare_client`, `change_rules`.

Private to holdfast.restic_r2; may change at any time.
"""
