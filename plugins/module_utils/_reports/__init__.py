# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal of runs, the state of all repositories that follows from it, metrics and messages.

May import: `_common`. Callers use `RunJournal`, `cleaned`, `take`.

Private to holdfast.restic_r2; may change at any time.
"""
