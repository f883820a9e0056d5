# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Code that every other package may use: errors, dates, clocks, the system log, checked texts, private files and records.

May import: nothing of the collection. Callers use `HoldfastError`, `shown`, `write_private`, `Record`.

Private to holdfast.restic_r2; may change at any time.
"""
