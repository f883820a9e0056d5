# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page that a person looks at: its fields for each host, the rules by which a host is well, and its HTML.

May import: `_common`. Callers use `Fleet` with `Host`, `judged`, `pages`, `as_data`.

Private to holdfast.restic_r2; may change at any time.
"""
