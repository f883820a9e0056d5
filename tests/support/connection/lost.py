# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection to this machine that is lost when Ansible wants to run what LOST_AT names, and does not come back."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: lost
short_description: A connection that is lost
description: For tests.
version_added: 0.1.0
author: nobody (!UNKNOWN)
extends_documentation_fragment: [connection_pipelining]
"""


class Connection(Local):
    transport = "lost"

    def exec_command(self, cmd: str, *args: Any, **kwargs: Any) -> Any:
        self._look(cmd)
        return super().exec_command(cmd, *args, **kwargs)

    def put_file(self, in_path: str, out_path: str) -> None:
        self._look(out_path)
        super().put_file(in_path, out_path)

    def _look(self, text: str) -> None:
        # Each task has a process of its own.
        mark = os.environ["LOST_MARK"]
        if os.environ["LOST_AT"] in text:
            open(mark, "w", encoding="utf-8").close()
        if os.path.exists(mark):
            raise AnsibleConnectionFailure("the connection was lost")
