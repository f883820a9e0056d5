# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests and answers as the parts of the stand-in see them, whatever the transport."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Callable, Optional
from urllib.parse import parse_qsl, unquote


class Cut(Exception):
    """The connection is to be cut without an answer."""


@dataclass
class Request:
    """One HTTP request; header names are lower case, the path is as it was sent, the address is the sender's.

    `in_flight` stands still between the judgement of its token and its effect, `judged_again` has the token judged twice.
    """

    method: str
    raw_path: str
    raw_query: str
    headers: dict[str, str]
    body: bytes
    address: str = "127.0.0.1"
    in_flight: Optional[Callable[[], None]] = None
    judged_again: bool = False

    @property
    def path(self) -> str:
        """The path with its percent escapes resolved."""
        return unquote(self.raw_path)

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; of repeated ones the last."""
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    def json(self) -> Any:
        """The body read as JSON; an empty body is None."""
        return json.loads(self.body) if self.body else None


@dataclass
class Response:
    """One HTTP answer; after one that is to be cut, the connection is."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: bool = False


def json_response(data: Any, status: int = 200, **headers: str) -> Response:
    """Answer with a JSON document."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, {"content-type": "application/json", **named}, json.dumps(data).encode())
