# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A loopback fake of AWX's REST API (awx/api, version 24.6.1), as far as the modules of awx.awx talk to it here.

It keeps objects, refuses what AWX refuses and this project could get wrong, and runs nothing.
"""
