# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fake over HTTP: lists in pages, objects, lists of associated objects, surveys, project updates."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.awx.fake import rules
from tests.awx.fake.kinds import KINDS, UNIFIED
from tests.awx.fake.store import Store

# AWX has 25; with fewer, the modules turn pages here too.
PAGE = 3


class NotFound(Exception):
    """There is nothing below this path."""


class FakeAwx(ThreadingHTTPServer):
    """An AWX on a loopback port that takes one token. Use it in a `with`.

    Args:
        project: The folder that projects are a checkout of.
    """

    daemon_threads = True
    token = "oauth-token-of-the-fake"

    def __init__(self, project: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = Store(project)
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    @property
    def environment(self) -> dict[str, str]:
        """What the modules of awx.awx read."""
        return {"CONTROLLER_HOST": f"http://127.0.0.1:{self.server_port}", "CONTROLLER_OAUTH_TOKEN": self.token}

    def __enter__(self) -> FakeAwx:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        """Status and JSON for one request."""
        parts = urlsplit(target)
        api, version, kind, *rest = parts.path.strip("/").split("/")
        if (api, version) != ("api", "v2") or (kind not in KINDS and kind not in (UNIFIED, "project_updates")):
            raise NotFound
        if kind == "project_updates":
            return 200, {"id": int(rest[0]), "status": "successful", "finished": "now", "failed": False}
        if not rest:
            return self._collection(method, kind, dict(parse_qsl(parts.query)), body)
        number = int(rest[0])
        if number not in self.store.objects[kind]:
            raise NotFound
        if len(rest) == 1:
            return self._item(method, kind, number, body)
        return self._related(method, kind, number, rest[1], dict(parse_qsl(parts.query)), body)

    def _collection(self, method: str, kind: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if method == "POST":
            item = self.store.create(kind, body)
            told = self.store.shown(kind, item)
            if kind == "projects":
                # Saving a project starts its first update.
                told["summary_fields"] = {"current_update": {"id": item["id"]}}
            return 201, told
        page = int(query.pop("page", 1))
        return 200, self._page(f"/api/v2/{kind}/", query, page, self.store.find(kind, query), kind)

    def _page(
        self, path: str, query: dict[str, str], page: int, found: list[dict[str, Any]], kind: str
    ) -> dict[str, Any]:
        more = "&".join([f"page={page + 1}", *(f"{name}={value}" for name, value in query.items())])
        return {
            "count": len(found),
            "next": f"{path}?{more}" if len(found) > page * PAGE else None,
            "results": [self.store.shown(kind, item) for item in found[(page - 1) * PAGE : page * PAGE]],
        }

    def _item(self, method: str, kind: str, number: int, body: Any) -> tuple[int, Any]:
        if method == "PATCH":
            self.store.update(kind, number, body)
        elif method == "DELETE":
            del self.store.objects[kind][number]
            return 204, None
        return 200, self.store.shown(kind, self.store.objects[kind][number])

    def _related(
        self, method: str, kind: str, number: int, name: str, query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        if kind == "job_templates" and name == "survey_spec":
            if method == "POST":
                rules.survey(body)
                self.store.surveys[number] = body
            return 200, self.store.surveys.get(number, {})
        if name not in KINDS[kind].lists:
            raise NotFound
        if method == "POST":
            self.store.associate(kind, number, name, int(body["id"]), bool(body.get("disassociate")))
            return 204, None
        other = KINDS[kind].lists[name]
        found = [self.store.objects[other][found] for found in self.store.associated(kind, number, name)]
        return 200, self._page(f"/api/v2/{kind}/{number}/{name}/", {}, int(query.get("page", 1)), found, other)


class Handler(BaseHTTPRequestHandler):
    """Reads a request, asks the fake, writes the answer."""

    server: FakeAwx
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null") if length else None
        with self.server.lock:
            self.server.requests.append((self.command, self.path))
            if self.headers.get("Authorization") != f"Bearer {self.server.token}":
                status, answer = 401, {"detail": "Authentication credentials were not provided."}
            else:
                try:
                    status, answer = self.server.answer(self.command, self.path, body)
                except rules.Refusal as refusal:
                    status, answer = 400, refusal.answer
                except NotFound:
                    status, answer = 404, {"detail": "Not found."}
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-API-Product-Name", "AWX")
        self.send_header("X-API-Product-Version", "24.6.1")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _handle
