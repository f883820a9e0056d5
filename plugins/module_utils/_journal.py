# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One line per step where the operator finds it: the system log, and a file if one is named.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import os
import syslog
import time


class Journal:
    """Lines about one thing. Failing to log never fails the work."""

    def __init__(self, subject: str, path: str | None = None) -> None:
        self.subject = subject
        self.path = path
        syslog.openlog("holdfast", syslog.LOG_PID, syslog.LOG_DAEMON)

    def line(self, text: str, urgent: bool = False) -> None:
        """Write one line; what went wrong goes out as an error."""
        # Half a character, as an error of the API may hold, cannot be written.
        text = f"{self.subject}: {text}".encode("utf-8", "replace").decode().replace("\n", " ").replace("\0", " ")
        syslog.syslog(syslog.LOG_ERR if urgent else syslog.LOG_NOTICE, text)
        if self.path:
            self._append(text)

    def _append(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            descriptor = os.open(
                str(self.path),
                os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC,
                0o600,
            )
            try:
                os.write(
                    descriptor,
                    f"{stamp} holdfast[{os.getpid()}]: {text}\n".encode("utf-8", "replace"),
                )
            finally:
                os.close(descriptor)
        except (OSError, ValueError):
            pass  # a full disk is no reason to leave a window open
