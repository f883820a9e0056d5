# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way of every request: log, faults, latency, then the side that answers it."""

from __future__ import annotations

import importlib
import time
from functools import partial
from typing import Any, Optional

from tests.stand_in import admin, rest
from tests.stand_in.faults import Fault, Faults
from tests.stand_in.messages import Cut, Request, Response
from tests.stand_in.operations import operation_of, split_path
from tests.stand_in.request_log import RequestLog
from tests.stand_in.s3 import S3Side
from tests.stand_in.s3_errors import S3Error, error_response
from tests.stand_in.state import State

# No request is held for longer, whoever forgot it.
HELD = 900.0
ROUTE_MODULES = ("rest_buckets", "rest_objects", "rest_temporary", "rest_tokens")
for _name in ROUTE_MODULES:
    importlib.import_module(f"tests.stand_in.{_name}")


class App:
    """Everything behind the port."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.log = RequestLog()
        self.faults = Faults()
        self.rest = rest.RestSide(state)
        self.s3 = S3Side(state)
        self.admin = admin.Admin(state, self.log, self.faults, self.rest.limiter)

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        if request.path.startswith(admin.PREFIX):
            return self.admin.answer(request)
        entry = self._entry(request)
        status = 0
        try:
            response = self._with_fault(request, entry, self.faults.pick(request, entry["kind"]))
            status = response.status
            return response
        finally:
            self.log.finish(entry, status, self.state.now())

    def _entry(self, request: Request) -> dict[str, Any]:
        values: dict[str, Any] = {
            "time": self.state.now(),
            "method": request.method,
            "path": request.path,
            "query": request.raw_query,
            "agent": request.headers.get("user-agent", ""),
        }
        if request.path.startswith(rest.PREFIX + "/"):
            return self.log.arrive(kind="rest", bucket=None, key=None, **values)
        bucket, key = split_path(request.path)
        kind = operation_of(request, bucket, key)
        return self.log.arrive(kind=kind, bucket=bucket or None, key=key or None, **values)

    def _with_fault(self, request: Request, entry: dict[str, Any], fault: Optional[Fault]) -> Response:
        pause = self.state.settings.latency + (fault.delay if fault else 0.0)
        if pause:
            time.sleep(pause)
        if fault is None:
            return self._plain(request, entry)
        if fault.held:
            fault.cleared.wait(HELD)
        if fault.cut == "before":
            raise Cut
        if fault.status and not fault.applied:
            return _faulty(request, fault)
        if fault.in_flight:
            request.in_flight = partial(self._hold, entry, fault)
            request.judged_again = fault.in_flight == "twice"
        response = self._plain(request, entry)
        if fault.cut == "after":
            raise Cut
        if fault.cut == "half":
            response.headers.setdefault("content-length", str(len(response.body)))
            response.body = response.body[: len(response.body) // 2]
            response.cut = True
        return _faulty(request, fault) if fault.status else response

    def _hold(self, entry: dict[str, Any], fault: Fault) -> None:
        """Stand still between what judges a request and what it does."""
        self.log.change(entry, in_flight=True)
        fault.cleared.wait(HELD)

    def _plain(self, request: Request, entry: dict[str, Any]) -> Response:
        if entry["kind"] == "rest":
            return self.rest.answer(request, entry)
        return self.s3.answer(request, entry["kind"], entry)


def _faulty(request: Request, fault: Fault) -> Response:
    status = fault.status or 500
    if fault.body is not None:
        response = Response(status, {"content-type": "text/html"}, fault.body.encode())
    elif request.path.startswith(rest.PREFIX + "/"):
        code = fault.code if fault.code is not None else (971 if status == 429 else 10001)
        response = rest.failure(rest.RestError(status, code, "We encountered an internal error. Please try again."))
    else:
        code = str(fault.code or {429: "TooManyRequests", 503: "ServiceUnavailable"}.get(status, "InternalError"))
        response = error_response(S3Error(code, status=status))
    if fault.retry_after is not None:
        response.headers["retry-after"] = str(fault.retry_after)
    return response
