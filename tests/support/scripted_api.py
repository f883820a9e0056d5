# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An API on loopback that answers what a test wrote down, in order, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """One answer; a body that is no text is sent as JSON, and cut closes the connection instead of answering."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


def success(result: Any, **more: Any) -> Answer:
    return Answer({"success": True, "errors": [], "messages": [], "result": result, **more})


def failure(status: int, code: int, message: str = "said the API", **headers: str) -> Answer:
    errors = [{"code": code, "message": message}]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer({"success": False, "errors": errors, "messages": [], "result": None}, status, named)


class ScriptedApi:
    """Context manager: a server that gives its answers in order and fails a test that asks for more.

    Attributes:
        asked: What came in: method, path, headers (names in lower case) and body.
    """

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = {"method": self.command, "path": self.path, "headers": headers}
                api.asked.append({**asked, "body": json.loads(body) if body else None})
                answer = api.answers.pop(0) if api.answers else failure(418, 1, "this was not in the script")
                if answer.cut:
                    self.close_connection = True
                    return
                text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
                self.send_response_only(answer.status)
                for name, value in {"Content-Length": str(len(text.encode())), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _handle

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/client/v4"

    def __enter__(self) -> ScriptedApi:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def calls(self) -> list[str]:
        """Method and path of what came in, without the part that all have in common."""
        return [f"{one['method']} {one['path'].removeprefix('/client/v4')}" for one in self.asked]
