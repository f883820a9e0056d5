# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: aggregate
short_description: Show once a minute where a long run is
version_added: 0.1.0
description:
  - >-
    A maintenance or an audit of a big repository can take hours, and a module cannot print while it runs. This callback prints
    a line a minute for each of them, such as
    C(backup-web1: repacking, 34 %, 12.0 GiB of 35.0 GiB, about 20 minutes left).
  - It reads the files that the modules write beside the record of the repository. So it shows something where Ansible runs on
    the maintenance node, and nothing where C(holdfast_node) is another machine.
  - It changes nothing about how the modules run. Runs that began before the playbook are not shown.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
requirements:
  - To be enabled, with C(callbacks_enabled = holdfast.restic_r2.progress) in C(ansible.cfg) or with
    E(ANSIBLE_CALLBACKS_ENABLED).
options:
  record_dir:
    description:
      - The folder of records, the same as C(holdfast_record_dir).
    type: path
    default: ~/.local/share/holdfast
    env:
      - name: HOLDFAST_RECORD_DIR
    ini:
      - section: callback_holdfast_progress
        key: record_dir
  seconds:
    description:
      - How many seconds there are from one line to the next. With V(0), nothing is shown.
    type: int
    default: 60
    env:
      - name: HOLDFAST_PROGRESS_SECONDS
    ini:
      - section: callback_holdfast_progress
        key: seconds
"""

import sys
import threading
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Optional

from ansible.plugins.callback import CallbackBase

from ..module_utils._common.progress import all_places, lines

# How many runs are shown one by one.
_MOST = 20


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "holdfast.restic_r2.progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._over = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._began = datetime.now(timezone.utc)

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._began = datetime.now(timezone.utc).replace(microsecond=0)
        seconds = self.get_option("seconds")
        if seconds > 0:
            self._thread = threading.Thread(target=self._tell, args=(seconds,), name="progress", daemon=True)
            self._thread.start()

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _tell(self, seconds: int) -> None:
        """Print lines until the playbook ends. Ansible forks meanwhile: no lock is taken here but that of its display."""
        record_dir = self.get_option("record_dir")
        with suppress(OSError, ValueError):  # the reader of the output is gone
            while not self._over.wait(seconds):
                found = [place for place in all_places(record_dir) if place.began >= self._began]
                for text in lines(found, datetime.now(timezone.utc), _MOST):
                    self._display.display(text)
                if found:
                    # To a pipe, Ansible writes only when it has much.
                    sys.stdout.flush()
