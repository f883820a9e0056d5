# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restic as a program and its repository through a view: commands, answers, limits, retention.

May import: `_common`, `_r2`. Callers use `Restic`, `View`, `serve`.

Private to holdfast.restic_r2; may change at any time.
"""
