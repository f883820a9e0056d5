# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module of the same name, on another machine with a word of how far it is."""

from __future__ import annotations

from ..plugin_utils._followed import Followed


class ActionModule(Followed):
    RUN = "drill"
