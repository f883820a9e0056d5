# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work on backed-up hosts: systemd units and credentials. Runs there, with Python's standard library alone.

May import: `_common`. Callers use functions of the host_* modules.

Private to holdfast.restic_r2; may change at any time.
"""
