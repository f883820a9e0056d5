# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""API tokens of hosts and their keys: desired tokens, the API, the file of keys, rotation.

May import: `_common`, `_r2`, `_locks`. Callers use `Tokens`, `HostToken`.

Private to holdfast.restic_r2; may change at any time.
"""
