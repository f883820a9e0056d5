# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service that hears whether jobs ran."""

from __future__ import annotations

import http.server
import threading

from tests.support.hosts import BED_ADDRESS

SECRET = "secret-6f2c"


class Heartbeat:
    """A service that hears pings, as the hosts reach it."""

    def __init__(self) -> None:
        heard = self.heard = list[str]()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                heard.append(self.path)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Stay silent."""

        self.server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        # As it stands in an inventory.
        self.address = f"http://{BED_ADDRESS}:{self.server.server_address[1]}/{SECRET}/{{{{ inventory_hostname }}}}-JOB"

    def told(self, host: str, job: str) -> list[str]:
        """What was told of a job, in order: /start, /fail, or nothing more than the address for a success."""
        address = f"/{SECRET}/{host}-{job}"
        return [path.removeprefix(address) for path in self.heard if path.startswith(address)]
