# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of modules: prune, restore, audit, verify, drill and so on. A module calls one function or class of one file.

Files whose names begin alike belong together: `drill` is called by the module, `drill_folder` and `drill_expect` by `drill`.

May import: every other package but `_hosts` and `_page`. Callers use one function or class for each module.

Private to holdfast.restic_r2; may change at any time.
"""
