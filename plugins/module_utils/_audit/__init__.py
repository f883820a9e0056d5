# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Safety checks of what a host wrote: listing, index, contents, snapshots, the baseline; and the auditor, which runs them.

May import: `_common`, `_r2`, `_locks`, `_tokens`, `_restic`, `_clients`. Callers use `Auditor`, `Finding`.

Private to holdfast.restic_r2; may change at any time.
"""
