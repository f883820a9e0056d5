# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The REST side: Cloudflare's envelope, its authentication, its limits and its routes."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Callable, Optional

from tests.stand_in.messages import Request, Response, json_response
from tests.stand_in.state import State
from tests.stand_in.tokens import Token

PREFIX = "/client/v4"


class RestError(Exception):
    """A refusal on the REST side."""

    def __init__(self, status: int, code: int, message: str, chain: Optional[list[dict[str, Any]]] = None) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, Any] = {"code": code, "message": message}
        if chain:
            self.error["error_chain"] = chain


def success(result: Any, info: Optional[dict[str, Any]] = None) -> Response:
    """Answer in the envelope."""
    document = {"success": True, "errors": [], "messages": [], "result": result}
    if info is not None:
        document["result_info"] = info
    return json_response(document)


def failure(error: RestError, **headers: str) -> Response:
    """Refuse in the envelope."""
    document = {"success": False, "errors": [error.error], "messages": [], "result": None}
    return json_response(document, error.status, **headers)


@dataclass
class Call:
    """One REST request with what its route has learned."""

    state: State
    request: Request
    token: Token
    values: dict[str, str]

    @property
    def jurisdiction(self) -> str:
        """The namespace of buckets that the request is about."""
        value = self.request.headers.get("cf-r2-jurisdiction", "default")
        if not value:
            raise RestError(500, 10001, "We encountered an internal error. Please try again.")
        return value

    def document(self) -> Any:
        """The JSON body."""
        try:
            return self.request.json()
        except json.JSONDecodeError:
            raise RestError(400, 10040, "The JSON you provided was not well formed.") from None

    def require(self, right: str) -> None:
        """Refuse a token without a right on the account."""
        if not self.token.allows(right, self.state.account_id):
            raise RestError(403, 10000, "Authentication error")


Handler = Callable[[Call], Response]
ROUTES: list[tuple[str, re.Pattern[str], Handler]] = []


def route(method: str, pattern: str) -> Callable[[Handler], Handler]:
    """Register a handler for paths like /accounts/{account}/r2/buckets/{bucket}."""
    expression = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern).replace("{rest*}", "(?P<rest>.+)")

    def register(handler: Handler) -> Handler:
        ROUTES.append((method, re.compile(expression), handler))
        return handler

    return register


class Limiter:
    """So many calls in a period; then a block of all calls."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._lock = threading.Lock()
        self._calls: deque[float] = deque()
        self._blocked_until = 0.0

    def refusal(self) -> Optional[Response]:
        """The refusal of a call that is too much, or None."""
        settings, now = self.state.settings, self.state.now()
        with self._lock:
            if now >= self._blocked_until:
                while self._calls and self._calls[0] <= now - settings.rate_period:
                    self._calls.popleft()
                self._calls.append(now)
                if len(self._calls) <= settings.rate_limit:
                    return None
                self._blocked_until = now + settings.block_seconds
                self._calls.clear()
            wait = max(1, round(self._blocked_until - now))
        return throttled(wait)

    def clear(self) -> None:
        """Lift the block and forget the calls."""
        with self._lock:
            self._calls.clear()
            self._blocked_until = 0.0


def throttled(wait: int) -> Response:
    """The refusal of a caller who asks too often."""
    error = RestError(429, 971, "Please wait and consider throttling your request speed")
    return failure(error, retry_after=str(wait))


class RestSide:
    """Answers REST requests."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.limiter = Limiter(state)

    def answer(self, request: Request, entry: dict[str, Any]) -> Response:
        """Answer one request; what is learned about it goes into its log entry."""
        refusal = self.limiter.refusal()
        if refusal:
            return refusal
        try:
            token = self._authenticate(request)
            entry["key_id"] = token.id
            return self._dispatch(request, token, entry)
        except RestError as error:
            return failure(error)

    def _authenticate(self, request: Request) -> Token:
        header = request.headers.get("authorization")
        if not header:
            raise RestError(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")
        kind, _space, value = header.partition(" ")
        if kind.lower() != "bearer" or not re.fullmatch(r"[A-Za-z0-9_-]{16,}", value):
            chain = [{"code": 6111, "message": "Invalid format for Authorization header"}]
            raise RestError(400, 6003, "Invalid request headers", chain)
        token = self.state.token_by_value(value)
        if token is None:
            raise RestError(401, 9109, "Invalid access token")
        verifying = request.path.endswith("/tokens/verify")
        if not verifying and not token.usable(self.state.now()):
            raise RestError(401, 9109, "Invalid access token")
        if not token.works_from(request.address):
            raise RestError(403, 9109, f"Cannot use the access token from location: {request.address}")
        return token

    def _dispatch(self, request: Request, token: Token, entry: dict[str, Any]) -> Response:
        path = request.path[len(PREFIX) :].rstrip("/")
        for method, pattern, handler in ROUTES:
            match = pattern.fullmatch(path) if method == request.method else None
            if match:
                values = match.groupdict()
                entry["bucket"] = values.get("bucket")
                if values.get("account", self.state.account_id) != self.state.account_id:
                    raise RestError(404, 7003, f"Could not route to {path}, perhaps your object identifier is invalid?")
                with self.state.lock:
                    return handler(Call(self.state, request, token, values))
        raise RestError(404, 7003, f"Could not route to {path}, perhaps your object identifier is invalid?")
