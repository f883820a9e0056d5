# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The routes below /_stand_in/: what a test sets and asks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Callable

from tests.stand_in import ledger
from tests.stand_in.faults import Faults
from tests.stand_in.locks import parse_instant
from tests.stand_in.messages import Request, Response, json_response
from tests.stand_in.objects import set_uploaded_at, uploaded_at
from tests.stand_in.request_log import RequestLog
from tests.stand_in.rest import Limiter
from tests.stand_in.state import State
from tests.stand_in.tokens import policies_for

PREFIX = "/_stand_in/"


class Admin:
    """Answers what no R2 would."""

    def __init__(self, state: State, log: RequestLog, faults: Faults, limiter: Limiter) -> None:
        self.state, self.log, self.faults, self.limiter = state, log, faults, limiter
        self.clear_time = 0.0

    def answer(self, request: Request) -> Response:
        """Call the method of that name with the JSON body as arguments."""
        name = request.path[len(PREFIX) :]
        handler: Callable[..., Any] = getattr(self, f"do_{name}", self._unknown)
        try:
            return json_response(handler(**(request.json() or {})))
        except (ValueError, TypeError, KeyError) as error:
            return json_response({"error": f"{name}: {error!r}"}, 400)

    def _unknown(self, **_values: Any) -> Any:
        raise ValueError("there is no such route")

    def do_settings(self, **values: Any) -> Any:
        """Change settings; tell all."""
        return self.state.settings.update(values)

    def do_fault(self, **values: Any) -> Any:
        """Set a fault."""
        self.faults.add(values)

    def do_clear_faults(self) -> Any:
        """Take all faults away, and a block by the rate limit with them."""
        self.faults.clear()
        self.limiter.clear()

    def do_requests(self, since: int = 0) -> Any:
        """The request log."""
        return self.log.since(since)

    def do_wait(self, wanted: dict[str, Any], since: int, arrived: bool, seconds: float) -> Any:
        """Wait for a request."""
        return self.log.wait(wanted, since, arrived, seconds)

    def do_ledger(self) -> Any:
        """The exposure ledger."""
        with self.state.lock:
            return ledger.ledger(self.state, self.clear_time)

    def do_clear_log(self) -> Any:
        """Forget requests, past exposures and destructive requests."""
        self.log.clear()
        with self.state.lock:
            self.clear_time = self.state.now()
            self.state.destructive.clear()
            self.state.storage.clear_destruction()

    def do_set_upload_time(self, bucket: str, key: str, time: str, jurisdiction: str = "default") -> Any:
        """Change when an object was stored."""
        with self.state.lock:
            found = self.state.objects.find(jurisdiction, bucket, key)
            if found is None:
                raise KeyError(key)
            set_uploaded_at(found, parse_instant(time))
            self.state.storage.write_object(jurisdiction, bucket, key, found)

    def do_copy_bucket(self, source: str, target: str, jurisdiction: str = "default") -> None:
        """Put every object of a bucket into another, with the time at which it was stored; lock rules do not matter."""
        with self.state.lock:
            for key in self.state.objects.keys(jurisdiction, source):
                found = self.state.objects.find(jurisdiction, source, key)
                assert found is not None
                copy = self.state.objects.backend(jurisdiction).put_object(target, key, found.value)
                copy.set_metadata(found.metadata)
                set_uploaded_at(copy, uploaded_at(found))
                self.state.storage.write_object(jurisdiction, target, key, copy)

    def do_create_token(self, name: str, bucket: Any, write: bool, jurisdiction: str = "default") -> Any:
        """Make a token for one bucket, or for R2 as a whole."""
        with self.state.lock:
            token = self.state.add_token(name, policies_for(self.state.account_id, bucket, write, jurisdiction))
            self.state.save()
        return {
            "id": token.id,
            "value": token.value,
            "access_key_id": token.id,
            "secret_access_key": token.secret_access_key,
        }

    def do_objects(self, bucket: str, jurisdiction: str = "default") -> Any:
        """The keys of a bucket."""
        with self.state.lock:
            return self.state.objects.keys(jurisdiction, bucket)

    def do_rules(self, bucket: str, jurisdiction: str = "default") -> Any:
        """The lock rules of a bucket as they are written down."""
        with self.state.lock:
            return self.state.buckets[jurisdiction, bucket].locks.rules or []

    def do_state(self) -> Any:
        """Buckets, and what of them is in force now."""
        with self.state.lock:
            now = self.state.now()
            return {
                "now": now,
                "buckets": [
                    {**bucket.shown(), "in_force": [asdict(entry) for entry in bucket.locks.history if entry.at(now)]}
                    for bucket in self.state.buckets.values()
                ],
            }
