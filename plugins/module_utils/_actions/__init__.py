# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of each module, one file for each: prune, restore, audit, verify, ensure_repository, and so on.

May import: all above. Callers use one function or class for each module.

Private to holdfast.restic_r2; may change at any time.
"""
